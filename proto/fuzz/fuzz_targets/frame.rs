//! The frame decoder: no input makes it panic, hide bytes or hold many, and
//! how the input was cut does not matter.

#![no_main]

use bytes::Bytes;
use ginnel_proto::frame::{Decoder, FrameError, Piece};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|wire: &[u8]| {
    let whole = decode(wire, std::iter::once(usize::MAX));
    assert_eq!(whole, decode(wire, std::iter::repeat(1)), "byte by byte");
    assert_eq!(whole, decode(wire, cuts(wire)), "in pieces");
});

/// What was read before the end or the error, and how it ended.
type Outcome = (Vec<Piece>, Result<(), FrameError>);

/// Decodes `wire` in slices of these sizes.
fn decode(wire: &[u8], cuts: impl Iterator<Item = usize>) -> Outcome {
    let mut decoder = Decoder::new();
    let mut pieces = Vec::new();
    let mut left = Bytes::copy_from_slice(wire);
    for cut in cuts {
        if left.is_empty() {
            break;
        }
        let mut slice = left.split_to(cut.min(left.len()));
        loop {
            match decoder.decode(&mut slice) {
                Ok(Some(piece)) => push(&mut pieces, piece),
                Ok(None) => break,
                Err(error) => return (pieces, Err(error)),
            }
        }
        assert!(slice.is_empty(), "bytes were left without a piece");
    }
    (pieces, decoder.finish())
}

/// Adds a piece; body slices, whose borders depend on the cuts, are joined.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if let Piece::Body(slice) = &piece {
        assert!(!slice.is_empty(), "an empty body slice");
    }
    match (pieces.last_mut(), piece) {
        (Some(Piece::Body(last)), Piece::Body(next)) => {
            *last = [&last[..], &next[..]].concat().into()
        }
        (_, piece) => pieces.push(piece),
    }
}

/// Slice sizes from 1 to 32 that depend on the input alone, so that a finding
/// can be repeated (xorshift, seeded with FNV-1a).
fn cuts(wire: &[u8]) -> impl Iterator<Item = usize> {
    let mut state = wire.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::from(state.to_be_bytes()[0] % 32) + 1
    })
}
