//! Heads and trailers: what decodes is valid HTTP, keeps its limits, and reads
//! back the same when passed on.

#![no_main]

use bytes::Bytes;
use ginnel_proto::hop::strip_hop_by_hop;
use ginnel_proto::http::{RequestHead, ResponseHead, decode_trailers, encode_trailers};
use ginnel_proto::limits::HEADERS_MAX;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TE, TRAILER};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let payload = Bytes::copy_from_slice(payload);
    request(&payload);
    response(&payload);
    trailers(&payload);
});

fn request(payload: &Bytes) {
    let Ok(head) = RequestHead::decode(payload.clone()) else {
        return;
    };
    check(&head.headers);
    assert!(head.path.as_str().starts_with('/') || head.path == "*");
    let encoded = head.encode().expect("no longer than it was");
    assert!(encoded.len() <= payload.len());
    let again = RequestHead::decode(encoded.clone()).expect("what we write can be read");
    assert_eq!(again.method, head.method);
    assert_eq!(again.scheme, head.scheme);
    assert_eq!(again.authority, head.authority);
    assert_eq!(again.path.as_str(), head.path.as_str());
    assert_eq!(
        (again.upgrade.as_ref(), again.end),
        (head.upgrade.as_ref(), head.end)
    );
    assert_eq!(again.headers, head.headers);
    assert_eq!(again.encode().expect("fitted before"), encoded);
}

fn response(payload: &Bytes) {
    let Ok(head) = ResponseHead::decode(payload.clone()) else {
        return;
    };
    check(&head.headers);
    let encoded = head.encode().expect("no longer than it was");
    assert!(encoded.len() <= payload.len());
    let again = ResponseHead::decode(encoded.clone()).expect("what we write can be read");
    assert_eq!(again.status, head.status);
    assert_eq!(
        (again.upgrade.as_ref(), again.end),
        (head.upgrade.as_ref(), head.end)
    );
    assert_eq!(again.headers, head.headers);
    assert_eq!(again.encode().expect("fitted before"), encoded);
}

fn trailers(payload: &Bytes) {
    let Ok(read) = decode_trailers(payload.clone()) else {
        return;
    };
    check(&read);
    let encoded = encode_trailers(&read).expect("no longer than it was");
    let again = decode_trailers(encoded.clone()).expect("what we write can be read");
    for name in [CONTENT_LENGTH, HOST, TE, TRAILER] {
        assert!(!again.contains_key(&name), "{name} in trailers");
    }
    let mut left = read;
    strip_hop_by_hop(&mut left);
    assert!(again.len() <= left.len());
    assert_eq!(encode_trailers(&again), Ok(encoded));
}

fn check(headers: &HeaderMap) {
    assert!(headers.len() <= HEADERS_MAX);
    for value in headers.values() {
        assert!(
            !value
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
}
