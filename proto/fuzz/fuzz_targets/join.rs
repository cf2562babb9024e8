//! The join exchange: what decodes keeps its limits and reads back the same,
//! and the secret is never printed.

#![no_main]

use bytes::Bytes;
use ginnel_proto::join::{JoinAnswer, JoinRequest};
use ginnel_proto::limits::CERTIFICATE_REQUEST_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(request) = JoinRequest::decode(payload.clone()) {
        assert!(request.certificate_request.len() <= CERTIFICATE_REQUEST_MAX);
        assert!(!format!("{request:?}").contains("secret"));
        assert_eq!(JoinRequest::decode(request.encode()), Ok(request));
    }
    if let Ok(answer) = JoinAnswer::decode(payload) {
        assert_eq!(JoinAnswer::decode(answer.encode()), Ok(answer));
    }
});
