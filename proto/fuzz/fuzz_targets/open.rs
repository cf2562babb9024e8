//! What a stream is for: what decodes reads back the same.

#![no_main]

use bytes::Bytes;
use ginnel_proto::limits::OPEN_MAX;
use ginnel_proto::open::Open;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(open) = Open::decode(Bytes::copy_from_slice(payload)) else {
        return;
    };
    let encoded = open.encode();
    assert!(encoded.len() <= OPEN_MAX, "too long to be accepted");
    assert_eq!(Open::decode(encoded), Ok(open));
});
