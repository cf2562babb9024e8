//! Who on this machine may use the daemon: those who can read its token.
//!
//! The token guards against other users and against web pages. A page in the
//! browser can send requests to 127.0.0.1 but cannot read the token;
//! [`check_origin`] stops it earlier still, also when it has pointed its own
//! DNS name at 127.0.0.1 (DNS rebinding).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ginnel_certs::error::Error;
use ginnel_certs::private_file;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::{Authority, Uri};
use http::{HeaderMap, HeaderValue, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::services::address::is_loopback;

/// The token's file in the state folder.
pub const FILE_NAME: &str = "api.token";

/// The header that programs which know API keys put the token in.
pub const API_KEY: &str = "x-api-key";

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// Hexadecimal digits in a token.
const TOKEN_DIGITS: usize = 2 * TOKEN_BYTES;

/// Longest token file, in bytes: the digits and a line end.
const FILE_MAX: usize = TOKEN_DIGITS + 2;

/// The secret that guards the local API. Cheap to clone.
#[derive(Clone)]
pub struct LocalToken {
    digits: Arc<str>,
}

/// Why a local request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It carries no token.
    #[error("the local token is missing")]
    NoToken,
    /// It carries another token.
    #[error("the local token is wrong")]
    WrongToken,
    /// It is addressed to a name that is not this machine's.
    #[error("the Host header does not name this machine and port")]
    ForeignHost,
    /// A page of another site sends it.
    #[error("the Origin header does not name this machine")]
    ForeignOrigin,
}

impl LocalToken {
    /// Reads the token in a state folder, making it first if there is none.
    ///
    /// # Errors
    /// Other users can read the file, it holds no token, or the system refuses.
    pub fn open(state: &Path) -> Result<Self, Error> {
        let path = state.join(FILE_NAME);
        let bytes = private_file::read_or_create(&path, FILE_MAX, || {
            let random = private_file::random(TOKEN_BYTES)?;
            let mut digits = hex(&random);
            digits.push('\n');
            Ok(digits.into_bytes().into())
        })?;
        Self::parse(&bytes, path)
    }

    /// Reads the token that a daemon made.
    ///
    /// # Errors
    /// As [`LocalToken::open`]; also if there is none.
    pub fn read(state: &Path) -> Result<Self, Error> {
        let path = state.join(FILE_NAME);
        let bytes = private_file::read(&path, FILE_MAX)?;
        Self::parse(&bytes, path)
    }

    fn parse(bytes: &[u8], path: PathBuf) -> Result<Self, Error> {
        let text = str::from_utf8(bytes).unwrap_or_default().trim_end();
        let is_digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != TOKEN_DIGITS || !is_digits {
            let reason = "is not a local token, delete it and start ginnel again".to_owned();
            return Err(Error::Damaged { path, reason });
        }
        Ok(Self {
            digits: text.into(),
        })
    }

    /// Checks that a request carries the token, as `Authorization: Bearer …`
    /// or `x-api-key: …`, in constant time.
    ///
    /// # Errors
    /// It carries none, or another.
    pub fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
        let keys = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes);
        let mut refusal = Refusal::NoToken;
        for token in bearers.chain(keys) {
            if self.digits.as_bytes().ct_eq(token).into() {
                return Ok(());
            }
            refusal = Refusal::WrongToken;
        }
        Err(refusal)
    }

    /// The value of an `Authorization` header that carries the token.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.digits);
        // Hexadecimal digits are valid in a header.
        let mut value =
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for LocalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalToken(…)")
    }
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }

    /// The refusal's name for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoToken | Self::WrongToken => {
                "send the content of api.token as `Authorization: Bearer …` or `x-api-key: …`"
            }
            Self::ForeignHost => "use 127.0.0.1 or localhost, and the port of ginnel up",
            Self::ForeignOrigin => "only pages served by this machine may call the local API",
        }
    }
}

/// Removes the headers that may carry the token, whatever is in them, so that
/// it never leaves the machine.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(API_KEY);
}

/// Checks that a request is meant for this machine, and that no page of
/// another site sends it.
///
/// # Errors
/// `Host` (or the target's authority, RFC 9112 §3.2.2) does not name a
/// loopback address and our port, or `Origin` is not a loopback one.
pub fn check_origin(uri: &Uri, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
    let is_ours = |authority: &Authority| {
        is_local(authority.as_str(), authority.host())
            && authority.port_u16().unwrap_or(80) == local.port()
    };
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(parse_authority);
    let addressed_to_us = host.as_ref().is_some_and(is_ours)
        && hosts.next().is_none()
        && uri.authority().is_none_or(is_ours);
    if !addressed_to_us {
        return Err(Refusal::ForeignHost);
    }
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|text| {
            let rest = text.strip_prefix("http://");
            rest.or_else(|| text.strip_prefix("https://"))?
                .parse::<Authority>()
                .ok()
        });
        if !origin.is_some_and(|origin| is_local(origin.as_str(), origin.host())) {
            return Err(Refusal::ForeignOrigin);
        }
    }
    Ok(())
}

fn parse_authority(value: &HeaderValue) -> Option<Authority> {
    Authority::try_from(value.as_bytes()).ok()
}

/// Whether a host is `localhost` or a loopback address, without user info.
fn is_local(authority: &str, host: &str) -> bool {
    if authority.contains('@') {
        return false;
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => is_loopback(address),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The token of an `Authorization` value. The scheme has any case (RFC 9110
/// §11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    let pairs = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    pairs.collect()
}

#[cfg(test)]
#[path = "local_token/tests.rs"]
mod tests;
