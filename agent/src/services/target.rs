//! Where a service is: what people write after `ginnel share NAME`.
//!
//! Parsing here is about form only. Whether a service may be at an address is
//! decided by [`super::address`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use ginnel_proto::control::ServiceKind;

/// Longest target, in bytes: a DNS name and its port fit.
const TARGET_MAX: usize = 300;

/// Longest path of a unix socket, in bytes (`sun_path` without its NUL; the
/// shorter one of Linux's and macOS's).
const SOCKET_PATH_MAX: usize = 103;

/// What a service forwards to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// HTTP in the clear: `3000`, `:3000` or `http://HOST:PORT`.
    Http(Authority),
    /// HTTP over TLS: `https://HOST:PORT`.
    Https(Authority),
    /// Bytes over TCP: `tcp://HOST:PORT`.
    Tcp(Authority),
    /// HTTP over a unix socket: `unix:/PATH`.
    Unix(SocketPath),
    /// Bytes over a unix socket: `tcp+unix:/PATH`.
    TcpUnix(SocketPath),
    /// The demo origin inside the daemon: `demo`.
    Demo,
    /// What this device knows, to be searched and read: `knowledge`.
    Knowledge,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: u16,
}

/// A machine, by name or address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name in lower case, not yet resolved.
    Name(Box<str>),
    /// An address.
    Address(IpAddr),
}

/// The absolute path of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketPath(Box<str>);

/// Why a text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, target={text:?}{}", .hint.as_deref().unwrap_or_default())]
pub struct InvalidTarget {
    reason: &'static str,
    text: String,
    hint: Option<String>,
}

impl Target {
    /// Parses what a person wrote.
    ///
    /// # Errors
    /// [`InvalidTarget`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |reason| InvalidTarget::new(reason, text);
        if text.is_empty() {
            return Err(invalid("is empty").hint("write a port, such as 3000"));
        }
        if text.len() > TARGET_MAX {
            return Err(invalid("is longer than 300 characters"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("holds a space or a control character"));
        }
        match text {
            "demo" => return Ok(Self::Demo),
            "knowledge" => return Ok(Self::Knowledge),
            _ => {}
        }
        let port = text.strip_prefix(':').unwrap_or(text);
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            let port = parse_port(port).map_err(invalid)?;
            return Ok(Self::Http(Authority::local(port)));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return SocketPath::parse(path).map(Self::Unix).map_err(invalid);
        }
        if let Some(path) = text.strip_prefix("tcp+unix:") {
            return SocketPath::parse(path).map(Self::TcpUnix).map_err(invalid);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let error = invalid("has no scheme");
            return Err(match Authority::parse(text) {
                Ok(authority) => error.hint(format!("write http://{authority}")),
                Err(_) => error.hint("write a port, or http://HOST:PORT"),
            });
        };
        let kind = match scheme {
            "http" => Self::Http,
            "https" => Self::Https,
            "tcp" => Self::Tcp,
            _ => {
                return Err(invalid("has an unknown scheme")
                    .hint("use http://, https://, tcp://, unix:/ or tcp+unix:/"));
            }
        };
        let (bare, extra) = cut_extra(rest);
        if let Some(reason) = extra {
            let error = invalid(reason);
            return Err(match Authority::parse(bare) {
                Ok(authority) => error.hint(format!("write {scheme}://{authority}")),
                Err(_) => error,
            });
        }
        Authority::parse(rest).map(kind).map_err(invalid)
    }

    /// What the service speaks, as the relay knows it.
    #[must_use]
    pub fn kind(&self) -> ServiceKind {
        match self {
            Self::Http(_) | Self::Https(_) | Self::Unix(_) | Self::Demo | Self::Knowledge => {
                ServiceKind::Http
            }
            Self::Tcp(_) | Self::TcpUnix(_) => ServiceKind::Tcp,
        }
    }

    /// The host and port, if it has them.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            Self::Http(authority) | Self::Https(authority) | Self::Tcp(authority) => {
                Some(authority)
            }
            Self::Unix(_) | Self::TcpUnix(_) | Self::Demo | Self::Knowledge => None,
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        Self::parse(text)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::TcpUnix(path) => write!(f, "tcp+unix:{path}"),
            Self::Demo => f.write_str("demo"),
            Self::Knowledge => f.write_str("knowledge"),
        }
    }
}

impl Authority {
    /// A port of this machine.
    fn local(port: u16) -> Self {
        Self {
            host: Host::Address(Ipv4Addr::LOCALHOST.into()),
            port,
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        const NO_PORT: &str = "has no port";
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or("has an unclosed [")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "has no IPv6 address in []")?;
            let port = port.strip_prefix(':').ok_or(NO_PORT)?;
            (Host::Address(address.into()), port)
        } else {
            if text.parse::<Ipv6Addr>().is_ok() {
                return Err("has an IPv6 address without []");
            }
            let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
            (Host::parse(host)?, port)
        };
        let port = parse_port(port)?;
        Ok(Self { host, port })
    }

    /// The machine.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The form of a `Host` header: `HOST:PORT`.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
        if text.is_empty() {
            return Err("has no host");
        }
        if text.len() > 253 || !text.split('.').all(is_label) {
            return Err("has a host that is neither a name nor an address");
        }
        // The system's resolver reads `127.1` and `0x7f000001` as addresses
        // (inet_aton); nobody means that.
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("has a host that looks like an IPv4 address and is none");
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }
}

impl SocketPath {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if cfg!(not(unix)) {
            return Err("is a unix socket, which this system does not have");
        }
        if !text.starts_with('/') {
            return Err("has no absolute path");
        }
        if text.ends_with('/') {
            return Err("is a folder, not a socket");
        }
        if text.len() > SOCKET_PATH_MAX {
            return Err("has a path longer than 103 bytes");
        }
        Ok(Self(text.into()))
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl InvalidTarget {
    fn new(reason: &'static str, text: &str) -> Self {
        Self {
            reason,
            text: text.chars().take(TARGET_MAX).collect(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(format!("; hint: {hint}"));
        self
    }
}

/// Splits off what a target must not have, and names it.
fn cut_extra(rest: &str) -> (&str, Option<&'static str>) {
    let Some(at) = rest.find(['/', '\\', '?', '#', '@']) else {
        return (rest, None);
    };
    let (bare, extra) = rest.split_at(at);
    match extra.chars().next() {
        // The host is what follows; what precedes may be a password.
        Some('@') => (extra.get(1..).unwrap_or_default(), Some("has user info")),
        Some('?') => (bare, Some("has a query")),
        Some('#') => (bare, Some("has a fragment")),
        _ => (bare, Some("has a path")),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    const REASON: &str = "has a port that is not a number from 1 to 65535";
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(REASON);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(REASON),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
