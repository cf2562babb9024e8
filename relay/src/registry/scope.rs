//! What an API key may do.

use std::fmt;
use std::str::FromStr;

use ginnel_proto::id::{DeviceName, InvalidName, ServiceName};

/// One thing that an API key may do.
///
/// Written `forward:DEVICE/SERVICE`, where either may be `*`, or `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Send requests to services on the key owner's devices.
    Forward {
        /// Which devices.
        device: Pattern<DeviceName>,
        /// Which services on them.
        service: Pattern<ServiceName>,
    },
    /// Administer the relay. It does not include forwarding.
    Admin,
}

/// One name or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern<T> {
    /// Every name, written `*`.
    Any,
    /// This name.
    One(T),
}

impl Scope {
    /// Whether this scope lets requests through to the service. The device
    /// must also belong to the key's user, which a scope does not know.
    #[must_use]
    pub fn allows(&self, device: &DeviceName, service: &ServiceName) -> bool {
        match self {
            Self::Forward {
                device: devices,
                service: services,
            } => devices.matches(device) && services.matches(service),
            Self::Admin => false,
        }
    }
}

impl<T: PartialEq> Pattern<T> {
    /// Whether the name fits.
    #[must_use]
    pub fn matches(&self, name: &T) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == name,
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text == "admin" {
            return Ok(Self::Admin);
        }
        let names = text
            .strip_prefix("forward:")
            .and_then(|names| names.split_once('/'));
        let Some((device, service)) = names else {
            return Err(InvalidScope::Form(text.chars().take(SHOWN_MAX).collect()));
        };
        Ok(Self::Forward {
            device: device.parse()?,
            service: service.parse()?,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { device, service } => write!(f, "forward:{device}/{service}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl<T: FromStr<Err = InvalidName>> FromStr for Pattern<T> {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "*" {
            return Ok(Self::Any);
        }
        text.parse().map(Self::One)
    }
}

impl<T: fmt::Display> fmt::Display for Pattern<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(name) => name.fmt(f),
        }
    }
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// It is neither form.
    #[error("scope is neither forward:DEVICE/SERVICE nor admin, scope={0:?}")]
    Form(String),
    /// One of its names is not a name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// Characters of a refused text that an error repeats.
const SHOWN_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_as_they_are_written() {
        for text in [
            "admin",
            "forward:laptop/web",
            "forward:*/web",
            "forward:laptop/*",
            "forward:*/*",
        ] {
            let scope: Scope = text.parse().expect(text);
            assert_eq!(scope.to_string(), text);
        }
        for bad in [
            "",
            "Admin",
            "admin ",
            "*",
            "forward",
            "forward:",
            "forward:/",
            "forward:a",
            "forward:a/",
            "forward:/b",
            "forward:a/b/c",
            "forward:a*/b",
            "forward:A/b",
            "forward:**/b",
            "push:a/b",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_scope_reaches_only_what_it_names() {
        let cases = [
            ("forward:laptop/web", "laptop", "web", true),
            ("forward:laptop/web", "laptop", "web2", false),
            ("forward:laptop/web", "laptop2", "web", false),
            ("forward:*/web", "laptop2", "web", true),
            ("forward:*/web", "laptop2", "ssh", false),
            ("forward:laptop/*", "laptop", "ssh", true),
            ("forward:laptop/*", "desktop", "ssh", false),
            ("forward:*/*", "desktop", "ssh", true),
            ("admin", "laptop", "web", false),
        ];
        for (scope, device, service, expected) in cases {
            let allowed = scope.parse::<Scope>().expect(scope).allows(
                &device.parse().expect(device),
                &service.parse().expect(service),
            );
            assert_eq!(allowed, expected, "{scope} and {device}/{service}");
        }
    }
}
