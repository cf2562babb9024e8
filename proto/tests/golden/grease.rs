//! Frames of later versions between those that are known.

use bytes::{Bytes, BytesMut};
use ginnel_proto::frame::{Decoder, FrameType, Piece};
use ginnel_proto::varint;
use proptest::prelude::*;

use crate::wire::golden;

proptest! {
    #[test]
    fn unknown_even_frames_change_nothing(
        stream in prop::sample::select(streams()),
        grease in prop::collection::vec(grease(), 0..8),
        cuts in prop::collection::vec(1_usize..50, 0..60),
    ) {
        let mut plain = Vec::new();
        let mut greased = Vec::new();
        for (at, frame) in stream.iter().enumerate() {
            plain.extend_from_slice(frame);
            for unknown in grease.iter().filter(|grease| grease.before % stream.len() == at) {
                greased.extend_from_slice(&unknown.wire);
            }
            greased.extend_from_slice(frame);
        }
        prop_assert_eq!(decode(&greased, &cuts), decode(&plain, &[]));
    }
}

/// An unknown frame, and the frame it stands before, counted around.
#[derive(Debug, Clone)]
struct Grease {
    before: usize,
    wire: Bytes,
}

fn grease() -> impl Strategy<Value = Grease> {
    // Mostly short numbers, as later versions would use first.
    let number = prop_oneof![0_u64..0x20, 0_u64..=varint::MAX / 2].prop_map(|half| half * 2);
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (any::<usize>(), number, payload).prop_map(|(before, number, payload)| {
        let mut wire = BytesMut::new();
        varint::write(number, &mut wire);
        varint::write(payload.len() as u64, &mut wire);
        wire.extend_from_slice(&payload);
        Grease {
            before,
            wire: wire.freeze(),
        }
    })
}

/// What streams look like, as frames: a request, an answer, a control stream
/// and a raw one. Nothing may stand after REST, which ends all framing.
fn streams() -> Vec<Vec<Vec<u8>>> {
    let golden = golden();
    let whole = |kind, name: &str| ginnel_proto::frame::whole(kind, &golden[name]).to_vec();
    let data = |length: usize| {
        let header = ginnel_proto::frame::data_header(length);
        [&header[..], &vec![0x0b; length]].concat()
    };
    let rest = vec![0x07, 0x40, 0x00, 0x41, 0x00];
    vec![
        vec![
            whole(FrameType::Open, "open-http"),
            whole(FrameType::Head, "head-request"),
            data(200),
            data(0),
            data(1),
        ],
        vec![
            whole(FrameType::Head, "head-response-100"),
            whole(FrameType::Head, "head-response"),
            data(5),
            data(70),
            whole(FrameType::Trailers, "trailers"),
        ],
        vec![
            whole(FrameType::Message, "control-hello"),
            whole(FrameType::Message, "control-register"),
            whole(FrameType::Message, "control-goodbye"),
        ],
        vec![whole(FrameType::Open, "open-tcp"), rest],
    ]
}

/// The pieces of `wire`, read in slices of the sizes in `cuts`. Neighbouring
/// body slices are joined, since their borders depend on the cuts.
fn decode(wire: &[u8], cuts: &[usize]) -> Vec<Piece> {
    let mut decoder = Decoder::new();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut left = Bytes::copy_from_slice(wire);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let mut slice = left.split_to(cut.min(left.len()));
        while let Some(piece) = decoder.decode(&mut slice).expect("valid") {
            if let (Some(Piece::Body(last)), Piece::Body(next)) = (pieces.last_mut(), &piece) {
                *last = [&last[..], &next[..]].concat().into();
            } else {
                pieces.push(piece);
            }
        }
    }
    decoder.finish().expect("at a frame's end");
    pieces
}
