//! Names and identities: parsed once at the border, valid ever after.
//!
//! Everything that arrives from a person, a certificate or the wire as text
//! becomes one of these types or is refused. Nothing here does I/O.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name, in bytes: one DNS label (RFC 1035 §2.3.4), because
/// device and service names become host labels.
pub const NAME_MAX: usize = 63;

/// The longest domain, in bytes (RFC 1035 §2.3.4, without the final dot).
pub const DOMAIN_MAX: usize = 253;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {reason}, {what}={text:?}")]
pub struct InvalidName {
    what: &'static str,
    reason: &'static str,
    /// The refused text, cut to [`NAME_MAX`] characters.
    text: String,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, reason: &'static str, text: &str) -> Self {
        Self {
            what,
            reason,
            text: text.chars().take(NAME_MAX).collect(),
        }
    }
}

/// Checks `[a-z0-9][a-z0-9-]{0,62}`.
fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else {
        return Err(InvalidName::new(what, "is empty", text));
    };
    if bytes.len() > NAME_MAX {
        return Err(InvalidName::new(what, "is longer than 63 characters", text));
    }
    if *first == b'-' {
        return Err(InvalidName::new(what, "starts with a hyphen", text));
    }
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if !bytes.iter().all(allowed) {
        return Err(InvalidName::new(
            what,
            "may hold only a-z, 0-9 and hyphens",
            text,
        ));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// Parses `[a-z0-9][a-z0-9-]{0,62}`.
            ///
            /// # Errors
            /// [`InvalidName`] says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                check_name($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The owner of devices.
    UserName, "user name"
}
name! {
    /// One agent install. Unique within a relay, because public hosts carry it
    /// (`SERVICE.DEVICE.DOMAIN`).
    DeviceName, "device name"
}
name! {
    /// A set of documents of a user.
    CollectionName, "collection name"
}
name! {
    /// An adapter in the relay's registry.
    LoraId, "LoRA id"
}
name! {
    /// A training job.
    JobId, "job id"
}
name! {
    /// A local target that a device exposes. Unique within its device.
    ServiceName, "service name"
}
name! {
    /// A cloud API that the relay reaches on behalf of devices.
    UpstreamName, "upstream name"
}
name! {
    /// A deployment stage such as `dev` or `production`. Certificates carry
    /// it, and one environment refuses the other's.
    Environment, "environment"
}

/// The relay's DNS name, which is also the trust domain of identities.
///
/// Lower-case labels joined by dots; a single label such as `localhost` is
/// allowed for development.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// Parses a lower-case DNS name without a final dot.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "domain";
        if text.len() > DOMAIN_MAX {
            return Err(InvalidName::new(
                WHAT,
                "is longer than 253 characters",
                text,
            ));
        }
        for label in text.split('.') {
            if check_name(WHAT, label).is_err() || label.ends_with('-') {
                return Err(InvalidName::new(WHAT, "is not a DNS name", text));
            }
        }
        Ok(Self(text.into()))
    }

    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Who a device is: its owner and its name. Unique within a relay.
///
/// Written `user/device`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// The owner.
    pub user: UserName,
    /// The device's name among the owner's.
    pub device: DeviceName,
}

impl DeviceId {
    /// Joins an owner and a name.
    #[must_use]
    pub fn new(user: UserName, device: DeviceName) -> Self {
        Self { user, device }
    }
}

impl FromStr for DeviceId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let Some((user, device)) = text.split_once('/') else {
            return Err(InvalidName::new(
                "device",
                "is not of the form USER/DEVICE",
                text,
            ));
        };
        Ok(Self::new(
            UserName::parse(user)?,
            DeviceName::parse(device)?,
        ))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "0", "web", "web-1", "a--b", &"x".repeat(63)] {
            assert_eq!(ServiceName::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "A",
            "a_b",
            "a.b",
            "a/b",
            "ä",
            "a b",
            "a\0",
            &"x".repeat(64),
        ] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn domains_are_dns_names() {
        for good in ["localhost", "relay.example.com", "a.b"] {
            assert_eq!(Domain::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "a-.b",
            "a/b",
            &"a.".repeat(127),
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn device_ids_are_two_names() {
        let id: DeviceId = "alice/laptop".parse().expect("valid");
        assert_eq!(id.to_string(), "alice/laptop");
        for bad in ["alice", "/laptop", "alice/", "alice/a/b", "Alice/laptop"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn errors_name_the_rule_and_stay_short() {
        let error = ServiceName::parse(&"x".repeat(500)).expect_err("too long");
        let text = error.to_string();
        assert!(text.starts_with("service name is longer than 63 characters"));
        assert!(text.len() < 200);
    }
}
