//! Batches of another device: what decodes reads back the same, however it was
//! packed. The hash at the end is made right, for it is the first to be checked.

#![no_main]

use bytes::Bytes;
use ginnel_proto::sync::batch::{BatchPlace, decode, encode};
use ginnel_proto::sync::reading::FIRST;
use ginnel_proto::sync::seal::{Key, open};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let place = BatchPlace {
        user: "ada".parse().expect("a name"),
        epoch: 1,
        device: "laptop".parse().expect("a name"),
        sequence: 7,
    };
    let key = Key::of([7; 32]);
    assert!(open(&key, &place.object(), bytes).is_err(), "forged");
    let body = bytes.len().saturating_sub(32);
    let body = &bytes[..body];
    let hash = blake3::hash(body);
    let whole = Bytes::from([body, hash.as_bytes()].concat());
    let Ok(batch) = decode(&whole, &place) else {
        return;
    };
    let (again, _) = encode(&place, batch.header.previous, &batch.rows).expect("memory");
    let again = decode(&again, &place).expect("whole");
    assert_eq!(again.rows, batch.rows);
    let (first, _) = encode(&place, FIRST, &batch.rows).expect("memory");
    assert_eq!(decode(&first, &place).expect("whole").rows, batch.rows);
});
