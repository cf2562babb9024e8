use proptest::prelude::*;

use super::*;

fn upload() -> Upload {
    Upload {
        id: "2~abc/def".into(),
        fence: 7,
        part_size: 5 << 20,
    }
}

fn offer() -> Offer {
    Offer {
        artifact: "models/phi.gguf".parse().expect("a name"),
        blob: [9; 32],
        size: 1 << 33,
        index_length: 300_000,
        bases: vec!["models/~/old.gguf".parse().expect("a name")],
        resume: Some(upload()),
    }
}

#[test]
fn requests_round_trip() {
    let parts = Parts {
        tags: vec!["\"a\"".into(), "\"b\"".into()],
        end: true,
    };
    let mut fresh = offer();
    fresh.resume = None;
    for request in [
        PushRequest::Offer(offer()),
        PushRequest::Offer(fresh),
        PushRequest::Parts(parts),
    ] {
        assert_eq!(PushRequest::decode(request.encode()), Ok(request));
    }
}

#[test]
fn answers_round_trip() {
    for answer in [
        PushAnswer::Want(Want {
            upload: upload(),
            parts: 3,
            chunks: Bytes::from_static(&[5, 1]),
        }),
        PushAnswer::Stored {
            number: 9_999,
            tag: "\"a\"".into(),
        },
        PushAnswer::Published {
            etag: "\"a-2\"".into(),
            unchanged: true,
        },
        PushAnswer::Declined {
            code: Code::QuotaExceeded,
            reason: "no room, left=5".into(),
        },
    ] {
        assert_eq!(PushAnswer::decode(answer.encode()), Ok(answer));
    }
}

#[test]
fn offers_beyond_a_limit_are_refused() {
    let refused = |offer: Offer, expected: &str| {
        let error = PushRequest::decode(PushRequest::Offer(offer).encode()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let mut empty = offer();
    empty.size = 0;
    refused(empty, "Offer.size");
    let mut many = offer();
    many.bases = vec![many.artifact.clone(); BASES_MAX + 1];
    refused(many, "Offer.bases");
    for (id, part_size) in [(String::new(), 1), ("x".repeat(1025), 1), ("x".into(), 0)] {
        let mut strange = offer();
        strange.resume = Some(Upload {
            id,
            fence: 1,
            part_size,
        });
        refused(strange, "Upload.");
    }
    let lying = |change: fn(&mut wire::Offer), expected: &str| {
        let mut offer = offer().to_wire();
        change(&mut offer);
        let message = Some(wire::push_request::Message::Offer(offer));
        let bytes = wire::PushRequest { message }.encode_to_vec().into();
        let error = PushRequest::decode(bytes).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    };
    lying(
        |offer| offer.artifact = "models/../x".into(),
        "Offer.artifact",
    );
    lying(
        |offer| offer.bases = vec!["knowledge/ada/embeddings.db".into()],
        "Offer.bases",
    );
    lying(
        |offer| offer.blob = Bytes::from_static(&[1; 31]),
        "Offer.blob",
    );
}

#[test]
fn parts_beyond_a_limit_are_refused() {
    let decoded = |tags: Vec<String>| {
        let parts = Parts { tags, end: true };
        PushRequest::decode(PushRequest::Parts(parts).encode())
    };
    let tag = |length: usize| "t".repeat(length);
    assert!(decoded(vec![tag(PART_TAG_MAX); PARTS_IN_MESSAGE]).is_ok());
    for wrong in [
        vec![tag(1); PARTS_IN_MESSAGE + 1],
        vec![tag(1), tag(0)],
        vec![tag(1), tag(PART_TAG_MAX + 1)],
    ] {
        let error = decoded(wrong).expect_err("beyond a limit");
        assert!(error.to_string().contains("Parts.tags"), "{error}");
    }
}

#[test]
fn the_fullest_messages_fit_into_a_frame() {
    use crate::limits::MESSAGE_MAX;
    let tag = "t".repeat(PART_TAG_MAX);
    let parts = PushRequest::Parts(Parts {
        tags: vec![tag.clone(); PARTS_IN_MESSAGE],
        end: false,
    });
    let mut upload = upload();
    upload.id = "i".repeat(UPLOAD_ID_MAX);
    let want = PushAnswer::Want(Want {
        upload,
        parts: PARTS_MAX,
        chunks: vec![255; CHUNKS_MAX / 8].into(),
    });
    assert!(parts.encode().len() <= MESSAGE_MAX);
    assert!(want.encode().len() <= MESSAGE_MAX);
    assert_eq!(PushRequest::decode(parts.encode()), Ok(parts));
    assert_eq!(PushAnswer::decode(want.encode()), Ok(want));
}

#[test]
fn answers_beyond_a_limit_are_refused() {
    for answer in [
        PushAnswer::Stored {
            number: PARTS_MAX,
            tag: "a".into(),
        },
        PushAnswer::Stored {
            number: 0,
            tag: String::new(),
        },
        PushAnswer::Stored {
            number: 0,
            tag: "t".repeat(PART_TAG_MAX + 1),
        },
        PushAnswer::Published {
            etag: String::new(),
            unchanged: false,
        },
        PushAnswer::Published {
            etag: "e".repeat(PART_TAG_MAX + 1),
            unchanged: false,
        },
        PushAnswer::Want(Want {
            upload: upload(),
            parts: PARTS_MAX + 1,
            chunks: Bytes::new(),
        }),
        PushAnswer::Want(Want {
            upload: upload(),
            parts: 0,
            chunks: vec![0; CHUNKS_MAX / 8 + 1].into(),
        }),
    ] {
        assert!(PushAnswer::decode(answer.encode()).is_err(), "{answer:?}");
    }
    // Ours are cut; another's are not believed.
    let message = wire::push_answer::Message::Declined(wire::Declined {
        code: 0,
        reason: "r".repeat(TEXT_MAX + 1),
    });
    let message = Some(message);
    let bytes = wire::PushAnswer { message }.encode_to_vec().into();
    let error = PushAnswer::decode(bytes).expect_err("too long");
    assert!(error.to_string().contains("Declined.reason"), "{error}");
    let long = PushAnswer::Declined {
        code: Code::Conflict,
        reason: "ä".repeat(200),
    };
    let read = PushAnswer::decode(long.encode()).expect("cut");
    assert!(matches!(read, PushAnswer::Declined { reason, .. } if reason.len() == 256));
}

proptest! {
    #[test]
    fn arbitrary_input_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PushRequest::decode(bytes.clone().into());
        let _ = PushAnswer::decode(bytes.into());
    }
}
