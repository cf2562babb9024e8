//! Released bytes, in both directions.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ginnel_proto::frame::{Decoder, FrameType, Piece};
use ginnel_proto::varint;

use crate::released::{Value, released};

/// `NAME HEX`, one value a line.
const BYTES: &str = include_str!("bytes.txt");

#[test]
fn every_value_has_its_line_and_every_line_its_value() {
    let lines: Vec<&str> = golden().into_keys().collect();
    let mut values: Vec<&str> = released().iter().map(|(name, _)| *name).collect();
    values.sort_unstable();
    assert_eq!(lines, values);
}

#[test]
fn values_encode_to_the_released_bytes() {
    let golden = golden();
    for (name, value) in released() {
        assert_eq!(
            hex(&value.encode()),
            hex(&golden[name]),
            "{name} has other bytes now"
        );
    }
}

#[test]
fn released_bytes_decode_to_the_values() {
    let golden = golden();
    for (name, value) in released() {
        if !value.is_frame() {
            assert_eq!(value.decode_as(golden[name].clone()), value, "{name}");
        }
    }
}

#[test]
fn released_frames_decode_to_their_payloads() {
    let golden = golden();
    for (name, value) in released() {
        let wire = golden[name].clone();
        match value {
            Value::Frame(kind, payload) => {
                assert_eq!(
                    decode(wire),
                    (vec![Piece::Whole(kind, payload)], true),
                    "{name}"
                );
            }
            Value::Data(0) => assert_eq!(decode(wire), (vec![], true), "{name}"),
            Value::Data(length) => {
                // One byte of body, and the stream is inside a frame for as
                // long as more is to come.
                let wire = [&wire[..], b"x"].concat();
                let body = vec![Piece::Body(Bytes::from_static(b"x"))];
                assert_eq!(decode(wire.into()), (body, length == 1), "{name}");
            }
            Value::Rest => {
                assert_eq!(decode(wire), (vec![Piece::RestBegins], true), "{name}");
            }
            Value::Control(_)
            | Value::Open(_)
            | Value::Request(_)
            | Value::Response(_)
            | Value::Trailers(_)
            | Value::JoinRequest(_)
            | Value::JoinAnswer(_)
            | Value::PushRequest(_)
            | Value::PushAnswer(_)
            | Value::Datagram(_) => {}
        }
    }
}

#[test]
fn every_frame_type_was_released() {
    let heads: Vec<u64> = released()
        .iter()
        .filter(|(_, value)| value.is_frame())
        .filter_map(|(_, value)| varint::read(&value.encode()).map(|(number, _)| number))
        .collect();
    for kind in FrameType::ALL {
        assert!(heads.contains(&kind.number()), "{kind:?}");
    }
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let golden = golden();
    for (name, value) in released() {
        if value.is_protobuf() {
            let later = [&golden[name][..], UNKNOWN_FIELDS].concat();
            assert_eq!(value.decode_as(later.into()), value, "{name}");
        }
        if value.is_choice() {
            let later = with_unknown_inside(&golden[name]);
            assert_eq!(value.decode_as(later), value, "inside {name}");
        }
        if let Value::Datagram(_) = value {
            let later = [&golden[name][..], b"later"].concat();
            assert_eq!(value.decode_as(later.into()), value, "{name}");
        }
    }
}

#[test]
fn released_bytes_are_seeds_of_the_fuzz_targets() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, bytes) in golden() {
        let target = match name.split('-').next() {
            Some("head" | "trailers") => "heads",
            Some(kind) => kind,
            None => panic!("{name} has no kind"),
        };
        let seed = corpus.join(target).join(name);
        let found = std::fs::read(&seed).unwrap_or_default();
        assert_eq!(hex(&found), hex(&bytes), "seed {}", seed.display());
    }
}

/// Field 100, a number, and field 101, bytes.
const UNKNOWN_FIELDS: &[u8] = &[0xa0, 0x06, 0x01, 0xaa, 0x06, 0x03, b'n', b'e', b'w'];

/// The message inside the only field, with unknown fields at its end. Key and
/// length take one byte each, since released values are short.
fn with_unknown_inside(payload: &[u8]) -> Bytes {
    let length = payload[1] as usize + UNKNOWN_FIELDS.len();
    assert!(length < 128, "the length no longer fits one byte");
    let length = u8::try_from(length).expect("below 128");
    [&payload[..1], &[length], &payload[2..], UNKNOWN_FIELDS]
        .concat()
        .into()
}

/// The pieces, and whether the stream may end here.
fn decode(wire: Bytes) -> (Vec<Piece>, bool) {
    let mut input = wire;
    let mut decoder = Decoder::new();
    let mut pieces = Vec::new();
    while let Some(piece) = decoder.decode(&mut input).expect("valid") {
        pieces.push(piece);
    }
    (pieces, decoder.finish().is_ok())
}

/// The released bytes by name.
pub(crate) fn golden() -> BTreeMap<&'static str, Bytes> {
    let lines = BYTES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut golden = BTreeMap::new();
    for line in lines {
        let (name, digits) = line.split_once(' ').unwrap_or((line, ""));
        let before = golden.insert(name, unhex(digits));
        assert!(before.is_none(), "{name} stands twice");
    }
    golden
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Bytes {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ascii");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}
