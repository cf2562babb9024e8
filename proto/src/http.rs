//! HTTP heads and trailers: between the `http` crate's types and the payloads
//! of HEAD and TRAILERS frames.
//!
//! Names and values stay bytes, duplicates stay duplicates and in order.
//! Bodies never come here.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::PayloadError;
use crate::hop::strip_hop_by_hop;
use crate::limits::{HEAD_MAX, HEADERS_MAX};
use crate::message::check_request;
use crate::wire;

/// The head of a forwarded request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// Any method, not only the registered ones.
    pub method: Method,
    /// How the caller reached the relay: `http` or `https`.
    pub scheme: Scheme,
    /// The host the caller asked for, if it named one.
    pub authority: Option<Authority>,
    /// Path and query exactly as they came.
    pub path: PathAndQuery,
    /// The end-to-end fields.
    pub headers: HeaderMap,
    /// The protocol to switch to (RFC 9110 §7.8), such as `websocket`.
    pub upgrade: Option<HeaderValue>,
    /// Neither body nor trailers follow.
    pub end: bool,
}

/// The head of a response; status 1xx are informational and another follows,
/// except 101, which ends HTTP on the stream.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: StatusCode,
    /// The end-to-end fields.
    pub headers: HeaderMap,
    /// With status 101: the protocol switched to.
    pub upgrade: Option<HeaderValue>,
    /// Neither body nor trailers follow.
    pub end: bool,
}

impl RequestHead {
    /// The head as the payload of a HEAD frame.
    ///
    /// # Errors
    /// [`PayloadError::TooLarge`] above [`HEAD_MAX`] or [`HEADERS_MAX`].
    pub fn encode(&self) -> Result<Bytes, PayloadError> {
        let authority = self.authority.as_ref().map_or("", Authority::as_str);
        let upgrade = self
            .upgrade
            .as_ref()
            .map_or(&b""[..], HeaderValue::as_bytes);
        let fields: [(u32, &[u8]); 5] = [
            (1, self.method.as_str().as_bytes()),
            (2, self.scheme.as_str().as_bytes()),
            (3, authority.as_bytes()),
            (4, self.path.as_str().as_bytes()),
            (6, upgrade),
        ];
        let size = fields
            .iter()
            .map(|(_, value)| field_size(value))
            .sum::<usize>()
            + flag_size(self.end)
            + headers_size(&self.headers)?;
        let mut to = bounded_buffer(size)?;
        for (tag, value) in fields {
            put_field(tag, value, &mut to);
        }
        put_headers(5, &self.headers, &mut to);
        put_flag(7, self.end, &mut to);
        Ok(to.freeze())
    }

    /// Reads the payload of a HEAD frame.
    ///
    /// # Errors
    /// The payload is not a request head, a field is not valid HTTP, or the
    /// request is one of [`message::Malformed`](crate::message::Malformed).
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        let head = wire::RequestHead::decode(payload)
            .map_err(|error| PayloadError::unreadable("RequestHead", &error))?;
        let authority = match head.authority.is_empty() {
            true => None,
            false => Some(
                Authority::from_maybe_shared(head.authority)
                    .map_err(|error| PayloadError::invalid("RequestHead.authority", error))?,
            ),
        };
        let path = PathAndQuery::from_maybe_shared(head.path)
            .map_err(|error| PayloadError::invalid("RequestHead.path", error))?;
        if !path.as_str().starts_with('/') && path.as_str() != "*" {
            return Err(PayloadError::invalid(
                "RequestHead.path",
                "does not start with a slash",
            ));
        }
        let head = Self {
            method: Method::from_bytes(&head.method)
                .map_err(|error| PayloadError::invalid("RequestHead.method", error))?,
            scheme: Scheme::try_from(&head.scheme[..])
                .map_err(|error| PayloadError::invalid("RequestHead.scheme", error))?,
            authority,
            path,
            headers: read_headers("RequestHead.headers", head.headers)?,
            upgrade: read_upgrade("RequestHead.upgrade", head.upgrade)?,
            end: head.end,
        };
        check_request(&head).map_err(|error| PayloadError::invalid("RequestHead", error))?;
        Ok(head)
    }
}

impl ResponseHead {
    /// An informational `100 Continue`: "send the body".
    #[must_use]
    pub fn continue_100() -> Self {
        Self {
            status: StatusCode::CONTINUE,
            headers: HeaderMap::new(),
            upgrade: None,
            end: false,
        }
    }

    /// The head as the payload of a HEAD frame.
    ///
    /// # Errors
    /// [`PayloadError::TooLarge`] above [`HEAD_MAX`] or [`HEADERS_MAX`].
    pub fn encode(&self) -> Result<Bytes, PayloadError> {
        let upgrade = self
            .upgrade
            .as_ref()
            .map_or(&b""[..], HeaderValue::as_bytes);
        let status = u64::from(self.status.as_u16());
        let size =
            1 + encoded_len_varint(status) + field_size(upgrade) + headers_size(&self.headers)?;
        let mut to = bounded_buffer(size)?;
        encode_key(1, WireType::Varint, &mut to);
        encode_varint(status, &mut to);
        put_headers(2, &self.headers, &mut to);
        put_field(3, upgrade, &mut to);
        put_flag(4, self.end, &mut to);
        Ok(to.freeze())
    }

    /// Reads the payload of a HEAD frame.
    ///
    /// # Errors
    /// The payload is not a response head, or a field is not valid HTTP.
    pub fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        let head = wire::ResponseHead::decode(payload)
            .map_err(|error| PayloadError::unreadable("ResponseHead", &error))?;
        let status = u16::try_from(head.status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .ok_or_else(|| PayloadError::invalid("ResponseHead.status", head.status))?;
        Ok(Self {
            status,
            headers: read_headers("ResponseHead.headers", head.headers)?,
            upgrade: read_upgrade("ResponseHead.upgrade", head.upgrade)?,
            end: head.end,
        })
    }

    /// Whether another head follows: 1xx but 101 (RFC 9110 §15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Trailer fields as the payload of a TRAILERS frame. Fields that frame or
/// route a message may not stand there (RFC 9110 §6.5.1) and are left out.
///
/// # Errors
/// [`PayloadError::TooLarge`] above [`HEAD_MAX`] or [`HEADERS_MAX`].
pub fn encode_trailers(trailers: &HeaderMap) -> Result<Bytes, PayloadError> {
    let mut allowed = trailers.clone();
    strip_hop_by_hop(&mut allowed);
    for name in [
        header::CONTENT_LENGTH,
        header::HOST,
        header::TRAILER,
        header::TE,
    ] {
        allowed.remove(name);
    }
    let mut to = bounded_buffer(headers_size(&allowed)?)?;
    put_headers(1, &allowed, &mut to);
    Ok(to.freeze())
}

/// Reads the payload of a TRAILERS frame.
///
/// # Errors
/// The payload is not trailers, or a field is not valid HTTP.
pub fn decode_trailers(payload: Bytes) -> Result<HeaderMap, PayloadError> {
    let trailers = wire::Trailers::decode(payload)
        .map_err(|error| PayloadError::unreadable("Trailers", &error))?;
    read_headers("Trailers.headers", trailers.headers)
}

fn read_headers(field: &'static str, wire: Vec<wire::Header>) -> Result<HeaderMap, PayloadError> {
    check_count(wire.len())?;
    let mut headers = HeaderMap::with_capacity(wire.len());
    for line in wire {
        let name = HeaderName::from_bytes(&line.name)
            .map_err(|error| PayloadError::invalid(field, error))?;
        let mut value = HeaderValue::from_maybe_shared(line.value)
            .map_err(|error| PayloadError::invalid(field, error))?;
        value.set_sensitive(line.sensitive);
        headers
            .try_append(name, value)
            .map_err(|error| PayloadError::invalid(field, error))?;
    }
    Ok(headers)
}

fn read_upgrade(field: &'static str, value: Bytes) -> Result<Option<HeaderValue>, PayloadError> {
    if value.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_maybe_shared(value)
        .map(Some)
        .map_err(|error| PayloadError::invalid(field, error))
}

fn check_count(count: usize) -> Result<(), PayloadError> {
    if count > HEADERS_MAX {
        let reason = format!("{count} fields, at most {HEADERS_MAX}");
        return Err(PayloadError::TooLarge { reason });
    }
    Ok(())
}

fn bounded_buffer(size: usize) -> Result<BytesMut, PayloadError> {
    if size > HEAD_MAX {
        let reason = format!("{size} bytes, at most {HEAD_MAX}");
        return Err(PayloadError::TooLarge { reason });
    }
    Ok(BytesMut::with_capacity(size))
}

// Heads are written straight from the header map instead of through the
// generated structs, which would want every name and value in a buffer of its
// own first. All tags are below 16, so every key is one byte.

/// The size of all header lines of a head.
fn headers_size(headers: &HeaderMap) -> Result<usize, PayloadError> {
    check_count(headers.len())?;
    Ok(headers
        .iter()
        .map(|(name, value)| {
            let line = line_size(name, value);
            1 + encoded_len_varint(line as u64) + line
        })
        .sum())
}

fn line_size(name: &HeaderName, value: &HeaderValue) -> usize {
    let sensitive = flag_size(value.is_sensitive());
    field_size(name.as_str().as_bytes()) + field_size(value.as_bytes()) + sensitive
}

fn put_headers(tag: u32, headers: &HeaderMap, to: &mut BytesMut) {
    for (name, value) in headers {
        encode_key(tag, WireType::LengthDelimited, to);
        encode_varint(line_size(name, value) as u64, to);
        put_field(1, name.as_str().as_bytes(), to);
        put_field(2, value.as_bytes(), to);
        put_flag(3, value.is_sensitive(), to);
    }
}

/// An empty bytes field is not written (proto3).
fn field_size(value: &[u8]) -> usize {
    match value.len() {
        0 => 0,
        length => 1 + encoded_len_varint(length as u64) + length,
    }
}

/// A false flag is not written (proto3).
fn flag_size(flag: bool) -> usize {
    if flag { 2 } else { 0 }
}

fn put_flag(tag: u32, flag: bool, to: &mut BytesMut) {
    if flag {
        encode_key(tag, WireType::Varint, to);
        encode_varint(1, to);
    }
}

fn put_field(tag: u32, value: &[u8], to: &mut BytesMut) {
    if value.is_empty() {
        return;
    }
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(value.len() as u64, to);
    to.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(path: &'static str) -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: Scheme::HTTP,
            authority: Some(Authority::from_static("web.localhost:7480")),
            path: PathAndQuery::from_static(path),
            headers: HeaderMap::new(),
            upgrade: None,
            end: false,
        }
    }

    #[test]
    fn what_we_write_is_the_schema() {
        let mut head = get("/a?b=c");
        head.headers.append("x-a", HeaderValue::from_static(""));
        let mut secret = HeaderValue::from_bytes(b"\xff\x80").expect("obs-text");
        secret.set_sensitive(true);
        head.headers.append("x-b", secret);
        head.upgrade = Some(HeaderValue::from_static("websocket"));
        head.end = true;
        let bytes = head.encode().expect("small");

        let read = wire::RequestHead::decode(bytes.clone()).expect("protobuf");
        assert_eq!(&read.method[..], b"GET");
        assert_eq!(&read.path[..], b"/a?b=c");
        assert_eq!(read.headers.len(), 2);
        assert!(read.headers[1].sensitive && read.end);
        assert_eq!(read.encoded_len(), bytes.len());

        let response = ResponseHead {
            status: StatusCode::IM_A_TEAPOT,
            headers: head.headers.clone(),
            upgrade: None,
            end: true,
        };
        let bytes = response.encode().expect("small");
        let read = wire::ResponseHead::decode(bytes.clone()).expect("protobuf");
        assert_eq!(read.status, 418);
        assert_eq!(read.encode_to_vec(), bytes);
    }

    #[test]
    fn duplicates_keep_their_order() {
        let mut head = get("/");
        for value in ["1", "2", "3"] {
            head.headers
                .append("set-cookie", HeaderValue::from_static(value));
        }
        let read = RequestHead::decode(head.encode().expect("small")).expect("valid");
        let values: Vec<_> = read.headers.get_all("set-cookie").iter().collect();
        assert_eq!(values, ["1", "2", "3"]);
    }

    #[test]
    fn heads_are_bounded_in_count_and_size() {
        let with_fields = |count: usize| {
            let mut head = get("/");
            for _ in 0..count {
                head.headers.append("a", HeaderValue::from_static("b"));
            }
            head
        };
        assert!(with_fields(HEADERS_MAX).encode().is_ok());
        let error = with_fields(HEADERS_MAX + 1).encode().expect_err("too many");
        assert_eq!(error.code(), crate::code::Code::HeadTooLarge);

        let with_value = |length: usize| {
            let mut head = get("/");
            let value = HeaderValue::from_bytes(&vec![b'x'; length]).expect("visible");
            head.headers.append("a", value);
            head
        };
        let overhead = with_value(60_000).encode().expect("fits").len() - 60_000;
        assert!(with_value(HEAD_MAX - overhead).encode().is_ok());
        assert!(with_value(HEAD_MAX - overhead + 1).encode().is_err());
    }

    #[test]
    fn a_peer_cannot_send_too_many_fields() {
        let line = wire::Header {
            name: "a".into(),
            value: Bytes::new(),
            sensitive: false,
        };
        let head = wire::ResponseHead {
            status: 200,
            headers: vec![line; HEADERS_MAX + 1],
            upgrade: Bytes::new(),
            end: false,
        };
        let error = ResponseHead::decode(head.encode_to_vec().into()).expect_err("too many");
        assert_eq!(error.code(), crate::code::Code::HeadTooLarge);
    }

    #[test]
    fn bad_heads_are_refused() {
        let good = wire::RequestHead {
            method: "GET".into(),
            scheme: "http".into(),
            path: "/".into(),
            ..wire::RequestHead::default()
        };
        let header = |name: &'static str, value: &'static str| {
            vec![wire::Header {
                name: name.into(),
                value: value.into(),
                sensitive: false,
            }]
        };
        assert!(RequestHead::decode(good.encode_to_vec().into()).is_ok());
        for bad in [
            wire::RequestHead {
                method: "G T".into(),
                ..good.clone()
            },
            wire::RequestHead {
                method: Bytes::new(),
                ..good.clone()
            },
            wire::RequestHead {
                path: "no-slash".into(),
                ..good.clone()
            },
            wire::RequestHead {
                path: "/a\r\nb".into(),
                ..good.clone()
            },
            wire::RequestHead {
                authority: "a b".into(),
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("a", "b\r\nc: d"),
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("a", "b\0"),
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("a b", "c"),
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("", "c"),
                ..good.clone()
            },
            wire::RequestHead {
                upgrade: "a\nb".into(),
                ..good.clone()
            },
            wire::RequestHead {
                method: "CONNECT".into(),
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("content-length", "20"),
                end: true,
                ..good.clone()
            },
            wire::RequestHead {
                headers: header("content-length", "+20"),
                ..good.clone()
            },
        ] {
            let result = RequestHead::decode(bad.encode_to_vec().into());
            assert!(result.is_err(), "accepted: {bad:?}");
        }
        for status in [0, 99, 1000, 70_000] {
            let head = wire::ResponseHead {
                status,
                ..wire::ResponseHead::default()
            };
            assert!(ResponseHead::decode(head.encode_to_vec().into()).is_err());
        }
    }

    #[test]
    fn trailers_cannot_frame_the_message() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "content-length", "transfer-encoding", "host"] {
            trailers.append(name, HeaderValue::from_static("0"));
        }
        let read = decode_trailers(encode_trailers(&trailers).expect("small")).expect("valid");
        assert_eq!(read.len(), 1);
        assert_eq!(read["grpc-status"], "0");
    }

    fn header_map() -> impl Strategy<Value = HeaderMap> {
        let name = prop::collection::vec(prop::sample::select(b"abcxyz-_09".to_vec()), 1..20);
        let value =
            prop::collection::vec(prop_oneof![32_u8..127, 128_u8..=255, Just(b'\t')], 0..60);
        prop::collection::vec((name, value, any::<bool>()), 0..40).prop_map(|lines| {
            let mut headers = HeaderMap::new();
            for (name, value, sensitive) in lines {
                let name = HeaderName::from_bytes(&name).expect("token");
                let mut value = HeaderValue::from_bytes(&value).expect("visible");
                value.set_sensitive(sensitive);
                headers.append(name, value);
            }
            headers
        })
    }

    proptest! {
        #[test]
        fn heads_round_trip(headers in header_map(), status in 100_u16..1000) {
            let request = RequestHead { headers: headers.clone(), ..get("/p?q") };
            let read = RequestHead::decode(request.encode().expect("small")).expect("valid");
            prop_assert_eq!(&read.headers, &headers);
            prop_assert_eq!(read.path.as_str(), "/p?q");
            prop_assert_eq!(read.authority, request.authority);

            let status = StatusCode::from_u16(status).expect("in range");
            let response = ResponseHead { status, headers: headers.clone(), upgrade: None, end: true };
            let read = ResponseHead::decode(response.encode().expect("small")).expect("valid");
            prop_assert_eq!(read.headers, headers);
            prop_assert_eq!(read.status, status);
        }

        #[test]
        fn perturbed_heads_never_panic(
            headers in header_map(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = RequestHead { headers, ..get("/") }.encode().expect("small").to_vec();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let bytes = Bytes::from(bytes);
            let _ = RequestHead::decode(bytes.clone());
            let _ = ResponseHead::decode(bytes.clone());
            let _ = decode_trailers(bytes);
        }
    }
}
