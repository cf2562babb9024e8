//! Single values as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ginnel_proto::id::Domain;
use http::Uri;
use http::uri::Authority;

/// The longest address that join codes carry, in bytes.
const HOST_PORT_MAX: usize = ginnel_certs::join_code::ADDRESS_MAX;

/// The most public connections: an open file each, and memory of a few kilobytes.
const CONNECTIONS_MAX: usize = 1_000_000;

/// The longest drain: service managers and load balancers give up earlier.
const GRACE_MAX_S: u64 = 3600;

/// `HOST:PORT`, by which devices reach the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort(Box<str>);

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("is not of the form HOST:PORT, value={text:?}");
        let authority: Authority = text.parse().map_err(|_| invalid())?;
        let has_port = authority.port_u16().is_some_and(|port| port != 0);
        let has_user = authority.as_str().contains('@');
        if !has_port || has_user || authority.host().is_empty() || text.len() > HOST_PORT_MAX {
            return Err(invalid());
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How callers see the relay: `https://DOMAIN` or `http://DOMAIN:PORT`. The
/// host is always the relay's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaseUrl {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The port, also when it is the scheme's own.
    pub port: u16,
}

impl BaseUrl {
    /// Parses the URL of a relay of that domain.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn parse(text: &str, domain: &Domain) -> Result<Self, String> {
        let uri: Uri = text
            .parse()
            .map_err(|_| format!("is not a URL, value={text:?}"))?;
        let (scheme, own_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            Some(_) | None => {
                return Err(format!("is neither http:// nor https://, value={text:?}"));
            }
        };
        if uri.path() != "/" || uri.query().is_some() || text.contains(['#', '@']) {
            return Err(format!(
                "is more than a scheme, a host and a port, value={text:?}"
            ));
        }
        let host = uri.host().unwrap_or_default();
        if !host.eq_ignore_ascii_case(domain.as_str()) {
            return Err(format!(
                "is not at the relay's domain, domain={domain}, value={text:?}"
            ));
        }
        let port = uri.port_u16().unwrap_or(own_port);
        Ok(Self { scheme, port })
    }

    /// The port, unless it is the scheme's own.
    #[must_use]
    pub fn shown_port(self) -> Option<u16> {
        match (self.scheme, self.port) {
            ("https", 443) | ("http", 80) => None,
            (_, port) => Some(port),
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "is not of the form ADDRESS:PORT, such as 127.0.0.1:7480 or [::]:443, value={text:?}"
        )
    })
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("is neither true nor false, value={text:?}")),
    }
}

pub(super) fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=CONNECTIONS_MAX).contains(&count) => Ok(count),
        _ => Err(format!(
            "is not a number from 1 to {CONNECTIONS_MAX}, value={text:?}"
        )),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds <= GRACE_MAX_S => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "is not a number of seconds from 0 to {GRACE_MAX_S}, value={text:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_are_what_join_codes_take() {
        for good in ["relay.example:443", "127.0.0.1:7443", "[2001:db8::1]:7443"] {
            assert_eq!(good.parse::<HostPort>().expect(good).to_string(), good);
        }
        let long = format!("{}:443", "a".repeat(HOST_PORT_MAX));
        for bad in [
            "",
            "relay",
            ":443",
            "relay:0",
            "relay:x",
            "u@relay:1",
            "https://relay:443",
            &long,
        ] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_public_url_is_a_scheme_and_a_port() {
        let domain = Domain::parse("relay.example").expect("valid");
        for (text, scheme, port, shown) in [
            ("https://relay.example", "https", 443, None),
            ("https://relay.example/", "https", 443, None),
            ("https://relay.example:443", "https", 443, None),
            ("http://Relay.Example:7480", "http", 7480, Some(7480)),
            ("http://relay.example:443", "http", 443, Some(443)),
        ] {
            let url = BaseUrl::parse(text, &domain).expect(text);
            assert_eq!(url, BaseUrl { scheme, port }, "{text}");
            assert_eq!(url.shown_port(), shown, "{text}");
        }
        for bad in [
            "",
            "relay.example",
            "ftp://relay.example",
            "https://other.example",
            "https://relay.example/base",
            "https://relay.example?x",
            "https://relay.example#x",
            "https://user@relay.example",
        ] {
            assert!(
                BaseUrl::parse(bad, &domain).is_err(),
                "{bad:?} was accepted"
            );
        }
    }

    #[test]
    fn limits_are_kept_at_and_beyond() {
        for (text, accepted) in [
            ("0", false),
            ("1", true),
            ("1000000", true),
            ("1000001", false),
            ("-1", false),
            ("", false),
        ] {
            assert_eq!(connections(text).is_ok(), accepted, "{text}");
        }
        for (text, accepted) in [
            ("0", true),
            ("3600", true),
            ("3601", false),
            ("30s", false),
            ("-1", false),
        ] {
            assert_eq!(seconds(text).is_ok(), accepted, "{text}");
        }
    }
}
