//! What a head says of its message: how its body is delimited, whether it waits
//! for a go-ahead, whether it is gRPC.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};

use crate::http::RequestHead;

/// Why a message is not one that all readers understand alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// RFC 9112 §6.3: a recipient must not guess which one holds.
    #[error("more than one content-length")]
    TwoLengths,
    /// Digits only, and few enough.
    #[error("content-length is not a number")]
    LengthNotANumber,
    /// Whoever believes the length takes the next message for this one's body.
    #[error("content-length of a body that does not follow")]
    BodyMissing,
    /// A tunnel to wherever the request names is not what a service is.
    #[error("CONNECT is not carried")]
    Connect,
}

/// The length of the body, if the head tells it.
///
/// # Errors
/// It is told twice, or not by a number.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed::TwoLengths);
    }
    // `parse` would take a plus sign.
    let digits = value.as_bytes().iter().all(u8::is_ascii_digit);
    let text = value.to_str().ok().filter(|_| digits);
    match text.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(Malformed::LengthNotANumber),
    }
}

/// Refuses a request that the next HTTP/1 reader could take for another one.
///
/// # Errors
/// What is wrong with it.
pub fn check_request(head: &RequestHead) -> Result<(), Malformed> {
    if head.method == Method::CONNECT {
        return Err(Malformed::Connect);
    }
    match content_length(&head.headers)? {
        Some(1..) if head.end => Err(Malformed::BodyMissing),
        _ => Ok(()),
    }
}

/// Says that a body follows, where it would not be expected: HTTP/1 writers
/// take a GET or HEAD without a length for one without a body.
pub fn announce_body(head: &mut RequestHead) {
    let unexpected = head.method == Method::GET || head.method == Method::HEAD;
    if unexpected && !head.end && !head.headers.contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Whether the caller waits to be told to send the body (RFC 9110 §10.1.1).
#[must_use]
pub fn expects_100(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether a message is gRPC, which is HTTP/2 only. gRPC-Web, whose type only
/// begins alike, is plain HTTP.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let Some((kind, rest)) = kind.and_then(|kind| kind.split_at_checked(GRPC.len())) else {
        return false;
    };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use http::uri::{PathAndQuery, Scheme};

    use super::*;

    fn head(method: Method, lines: &[(&'static str, &'static str)], end: bool) -> RequestHead {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        RequestHead {
            method,
            scheme: Scheme::HTTP,
            authority: None,
            path: PathAndQuery::from_static("/"),
            headers,
            upgrade: None,
            end,
        }
    }

    #[test]
    fn a_length_is_one_number() {
        for (values, told) in [
            (&[][..], Ok(None)),
            (&["0"], Ok(Some(0))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["18446744073709551616"], Err(Malformed::LengthNotANumber)),
            (&["+5"], Err(Malformed::LengthNotANumber)),
            (&[""], Err(Malformed::LengthNotANumber)),
            (&["5, 5"], Err(Malformed::LengthNotANumber)),
            (&["5", "5"], Err(Malformed::TwoLengths)),
        ] {
            let lines: Vec<_> = values
                .iter()
                .map(|value| ("content-length", *value))
                .collect();
            let head = head(Method::POST, &lines, false);
            assert_eq!(content_length(&head.headers), told, "{values:?}");
        }
    }

    #[test]
    fn a_length_without_a_body_is_refused() {
        let five = [("content-length", "5")];
        let none = [("content-length", "0")];
        assert_eq!(check_request(&head(Method::POST, &five, false)), Ok(()));
        assert_eq!(check_request(&head(Method::POST, &none, true)), Ok(()));
        let missing = check_request(&head(Method::GET, &five, true));
        assert_eq!(missing, Err(Malformed::BodyMissing));
        let connect = check_request(&head(Method::CONNECT, &[], false));
        assert_eq!(connect, Err(Malformed::Connect));
    }

    #[test]
    fn only_unexpected_bodies_are_announced() {
        for (method, lines, end, announced) in [
            (Method::GET, &[][..], false, true),
            (Method::HEAD, &[], false, true),
            (Method::GET, &[], true, false),
            (Method::GET, &[("content-length", "5")], false, false),
            (Method::POST, &[], false, false),
        ] {
            let mut head = head(method.clone(), lines, end);
            announce_body(&mut head);
            let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
            assert_eq!(chunked, announced, "{method} {lines:?} {end}");
        }
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("text/plain", false),
        ] {
            let head = head(Method::POST, &[("content-type", kind)], false);
            assert_eq!(is_grpc(&head.headers), grpc, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
