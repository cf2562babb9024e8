//! What a row has beyond its columns: fields, each a number, a length and bytes
//! ([`varint`]s, and the bytes). A version that does not know a field keeps it
//! and sends it on, so that none is lost by whoever edits the row.

use bytes::BufMut as _;

use super::hlc::Hlc;
use crate::varint;

/// Of models: vectors up to this stamp are dead, a stored stamp, little-endian.
/// It only ever rises: of two rows of a model, whichever stays, the higher one
/// holds.
const FLOOR: u64 = 1;

/// The longest that a row may have, in bytes.
pub const EXTRA_MAX: usize = 64 << 10;

/// Up to when a model's vectors are dead; zero if none are.
#[must_use]
pub fn floor(extra: &[u8]) -> Hlc {
    let field = Fields(extra).find(|(number, _)| *number == FLOOR);
    let stored = field.and_then(|(_, bytes)| bytes.try_into().ok());
    let stored = stored.map(i64::from_le_bytes);
    let floor = stored.and_then(|stored| Hlc::from_stored(stored).ok());
    floor.unwrap_or_default()
}

/// The same fields with this floor.
#[must_use]
pub fn with_floor(extra: &[u8], floor: Hlc) -> Vec<u8> {
    let mut to = Vec::new();
    let bytes = floor.to_stored().to_le_bytes();
    put(FLOOR, &bytes, &mut to);
    for (number, bytes) in Fields(extra).filter(|(number, _)| *number != FLOOR) {
        put(number, bytes, &mut to);
    }
    to
}

fn put(number: u64, bytes: &[u8], to: &mut Vec<u8>) {
    varint::write(number, to);
    varint::write(bytes.len() as u64, to);
    to.put_slice(bytes);
}

/// The fields, up to where they make no sense any more.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (number, size) = varint::read(self.0)?;
        let rest = self.0.get(size..)?;
        let (length, size) = varint::read(rest)?;
        let rest = rest.get(size..)?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some((number, bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_floor_is_kept_beside_what_later_versions_know() {
        let floor_of = |stored| Hlc::from_stored(stored).expect("not negative");
        let mut extra = Vec::new();
        put(7, b"later", &mut extra);
        assert_eq!(floor(&extra), Hlc::default());
        let extra = with_floor(&extra, floor_of(5));
        assert_eq!(floor(&extra), floor_of(5));
        let extra = with_floor(&extra, floor_of(6));
        assert_eq!(floor(&extra), floor_of(6));
        let fields: Vec<_> = Fields(&extra).collect();
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[1], (7, &b"later"[..]));
    }

    proptest! {
        #[test]
        fn anything_may_lie_there(extra in prop::collection::vec(any::<u8>(), 0..40)) {
            let at = Hlc::from_stored(9).expect("not negative");
            prop_assert_eq!(floor(&with_floor(&extra, at)), at);
        }
    }
}
