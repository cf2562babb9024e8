//! What a push says: what decodes keeps its limits and reads back the same.

#![no_main]

use bytes::Bytes;
use ginnel_proto::limits::{
    BASES_MAX, CHUNKS_MAX, PART_TAG_MAX, PARTS_IN_MESSAGE, PARTS_MAX, TEXT_MAX, UPLOAD_ID_MAX,
};
use ginnel_proto::push::{PushAnswer, PushRequest, Upload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(request) = PushRequest::decode(payload.clone()) {
        match &request {
            PushRequest::Offer(offer) => {
                assert!(offer.size > 0 && offer.bases.len() <= BASES_MAX);
                offer.resume.iter().for_each(check_upload);
            }
            PushRequest::Parts(parts) => {
                assert!(parts.tags.len() <= PARTS_IN_MESSAGE);
                parts.tags.iter().for_each(|tag| check_tag(tag));
            }
            _ => {}
        }
        assert_eq!(PushRequest::decode(request.encode()), Ok(request));
    }
    if let Ok(answer) = PushAnswer::decode(payload) {
        match &answer {
            PushAnswer::Want(want) => {
                assert!(want.parts <= PARTS_MAX && want.chunks.len() <= CHUNKS_MAX / 8);
                check_upload(&want.upload);
            }
            PushAnswer::Stored { number, tag } => {
                assert!(*number < PARTS_MAX);
                check_tag(tag);
            }
            PushAnswer::Published { etag, .. } => check_tag(etag),
            PushAnswer::Declined { reason, .. } => assert!(reason.len() <= TEXT_MAX),
            _ => {}
        }
        assert_eq!(PushAnswer::decode(answer.encode()), Ok(answer));
    }
});

fn check_upload(upload: &Upload) {
    assert!((1..=UPLOAD_ID_MAX).contains(&upload.id.len()) && upload.part_size > 0);
}

fn check_tag(tag: &str) {
    assert!((1..=PART_TAG_MAX).contains(&tag.len()));
}
