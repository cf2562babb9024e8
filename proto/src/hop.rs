//! What one hop may pass on of HTTP fields, and what it says about itself.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};

/// Removes the fields that belong to one connection only (RFC 9110 §7.6.1):
/// the listed ones and those that `Connection` names. `TE: trailers` stays,
/// because it is what makes a gRPC server answer. A Content-Length beside a
/// Transfer-Encoding goes too, since it says nothing (RFC 9112 §6.3).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most heads have none of them.
    if !headers.keys().any(is_for_one_hop) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !NEVER_NAMED.contains(name))
        .collect();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    let wants_trailers = headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    headers.remove(header::TE);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn is_for_one_hop(name: &HeaderName) -> bool {
    *name == header::TE || HOP_BY_HOP.contains(name)
}

const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that a caller may not have removed by naming them in `Connection`:
/// they frame the message or say who it is for. (`TE` is legitimately named
/// there and is dealt with by itself.)
const NEVER_NAMED: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::HOST,
    header::AUTHORIZATION,
    header::TE,
];

/// How the requests of one connection reached the hop that passes them on.
#[derive(Debug, Clone)]
pub struct Hop {
    scheme: Scheme,
    /// `X-Forwarded-For`: the caller's address.
    client: HeaderValue,
    /// `Forwarded` without the host, which is each request's own.
    forwarded: String,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

impl Hop {
    /// The hop from `client`, which used `scheme`.
    #[must_use]
    pub fn new(client: SocketAddr, scheme: Scheme) -> Self {
        let ip = client.ip().to_canonical();
        let node = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        Self {
            client: HeaderValue::try_from(ip.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            forwarded: format!("for={node};proto={scheme}"),
            scheme,
        }
    }

    /// The scheme the caller used.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

/// Replaces `Forwarded` (RFC 7239) and `X-Forwarded-*` by what this hop and
/// the `host` that was asked for say. What the caller claimed about itself is
/// dropped: it proves nothing.
pub fn set_forwarded(headers: &mut HeaderMap, hop: &Hop, host: Option<&Authority>) {
    strip_forwarded(headers);
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    let proto = if hop.scheme == Scheme::HTTPS {
        "https"
    } else {
        "http"
    };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(X_FORWARDED_FOR, hop.client.clone());
    if let Some(forwarded) = forwarded(hop, host) {
        headers.insert(header::FORWARDED, forwarded);
    }
}

/// Removes all that says where a request came from.
pub fn strip_forwarded(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in &claims {
        headers.remove(name);
    }
}

/// Whether a field says where a request came from. `X-Forwarded-*` has no
/// registry: `-Ssl`, `-Scheme`, `-User` and more are believed somewhere.
fn is_claim(name: &HeaderName) -> bool {
    *name == header::FORWARDED || *name == X_REAL_IP || name.as_str().starts_with("x-forwarded-")
}

/// The value of `Forwarded`.
fn forwarded(hop: &Hop, host: Option<&Authority>) -> Option<HeaderValue> {
    let mut text = hop.forwarded.clone();
    // A host that came through parsing has no quote or backslash.
    if let Some(host) = host.map(Authority::as_str)
        && !host.contains(['"', '\\'])
    {
        text.reserve(host.len() + 8);
        text.push_str(";host=\"");
        text.push_str(host);
        text.push('"');
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_fields_go_and_the_others_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private ,content-length,te"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("proxy-authorization", "x"),
            ("upgrade", "h2c"),
            ("te", "gzip, Trailers"),
            ("content-length", "5"),
            ("x-stays", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "te", "x-stays"]);
        assert_eq!(headers["te"], "trailers");
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        strip_hop_by_hop(&mut headers);
        assert!(!headers.contains_key("content-length"), "it says nothing");
    }

    #[test]
    fn claims_of_the_caller_are_replaced() {
        let mut headers = HeaderMap::new();
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-real-ip",
            "x-forwarded-port",
            "x-forwarded-ssl",
            "x-forwarded-user",
        ] {
            headers.append(name, HeaderValue::from_static("evil"));
            headers.append(name, HeaderValue::from_static("evil"));
        }
        let client = "[2001:db8::1]:4711".parse().expect("valid");
        let host = Authority::from_static("web.example.com");
        set_forwarded(&mut headers, &Hop::new(client, Scheme::HTTPS), Some(&host));
        assert_eq!(
            headers["forwarded"],
            "for=\"[2001:db8::1]\";proto=https;host=\"web.example.com\""
        );
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "web.example.com");
        assert_eq!(headers.len(), 4);
        assert!(headers.iter().all(|(_, value)| value != "evil"));
    }
}
