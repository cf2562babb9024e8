//! Reads a flat index as Faiss 1.7 writes it, without Faiss: the extension
//! cannot be trusted with bytes that may be damaged, since Faiss ends the
//! process when it does not like them.
//!
//! ```text
//! "IxM2" or "IxMp"   the map of ids
//!   header
//!   "IxF2" or "IxFI" the vectors, compared by distance or by product
//!     header
//!     u64            number of values, vectors × dimensions
//!     f32 …
//!   u64              number of ids
//!   i64 …
//! header: i32 dimensions, i64 vectors, i64, i64, u8 trained, i32 metric
//! ```
//!
//! All are little-endian (facebookresearch/faiss, `impl/index_write.cpp`).

use std::io::{Read, Seek, SeekFrom};

use crate::error::{Error, Result};
use crate::vector::DIMENSIONS_MAX;

/// The most bytes of an index: what SQLite takes as one value.
const BYTES_MAX: u64 = 1 << 30;

/// Bytes around the vectors and ids, at most.
pub(super) const FRAME_BYTES: u64 = 128;

/// Where the vectors are, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flat {
    pub(super) dimensions: usize,
    /// Whether it compares by the inner product, and not by the distance.
    pub(super) by_product: bool,
    /// Where the first vector begins; the others follow it.
    pub(super) first: u64,
    /// The row of each vector.
    pub(super) rowids: Vec<i64>,
}

impl Flat {
    /// Reads all but the vectors.
    ///
    /// # Errors
    /// It is damaged, or an index of another kind.
    pub(super) fn read(mut source: impl Read + Seek) -> Result<Self> {
        let length = source.seek(SeekFrom::End(0)).map_err(damaged)?;
        source.rewind().map_err(damaged)?;
        if length > BYTES_MAX {
            return Err(Error::corrupt(format!("index is too long, bytes={length}")));
        }
        let outer = Header::read(&mut source, &[*b"IxM2", *b"IxMp"])?;
        let inner = Header::read(&mut source, &[*b"IxF2", *b"IxFI"])?;
        let values: u64 = u64::from_le_bytes(bytes(&mut source)?);
        let first = source.stream_position().map_err(damaged)?;
        let fits = inner.vectors.checked_mul(inner.dimensions as u64) == Some(values)
            && (outer.dimensions, outer.vectors) == (inner.dimensions, inner.vectors);
        let after = values
            .checked_mul(4)
            .and_then(|size| size.checked_add(first));
        let Some(after) = after.filter(|after| fits && *after <= length) else {
            return Err(Error::corrupt("index has lengths that do not fit"));
        };
        source.seek(SeekFrom::Start(after)).map_err(damaged)?;
        let ids = u64::from_le_bytes(bytes(&mut source)?);
        if ids != inner.vectors || ids.saturating_mul(8).saturating_add(after) > length {
            return Err(Error::corrupt(format!("index has lost ids, found={ids}")));
        }
        let id = |_| Ok(i64::from_le_bytes(bytes(&mut source)?));
        Ok(Self {
            dimensions: inner.dimensions,
            by_product: inner.by_product,
            first,
            rowids: (0..ids).map(id).collect::<Result<_>>()?,
        })
    }
}

struct Header {
    dimensions: usize,
    vectors: u64,
    by_product: bool,
}

impl Header {
    fn read(source: &mut impl Read, kinds: &[[u8; 4]]) -> Result<Self> {
        let kind: [u8; 4] = bytes(source)?;
        if !kinds.contains(&kind) {
            return Err(Error::invalid(format!(
                "only flat indexes with ids can be read, not those with lists or codes, found={}",
                kind.escape_ascii()
            )));
        }
        let dimensions = i32::from_le_bytes(bytes(source)?);
        let vectors = i64::from_le_bytes(bytes(source)?);
        let _unused: [u8; 17] = bytes(source)?;
        let metric = i32::from_le_bytes(bytes(source)?);
        let known = usize::try_from(dimensions)
            .ok()
            .filter(|d| (1..=DIMENSIONS_MAX).contains(d));
        let (Some(dimensions), Ok(vectors)) = (known, u64::try_from(vectors)) else {
            return Err(Error::corrupt(format!(
                "index has a bad size, dimensions={dimensions}, vectors={vectors}"
            )));
        };
        let by_product = match metric {
            0 => true,
            1 => false,
            _ => return Err(Error::invalid(format!("unknown metric, found={metric}"))),
        };
        Ok(Self {
            dimensions,
            vectors,
            by_product,
        })
    }
}

fn bytes<const N: usize>(source: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

fn damaged(reason: std::io::Error) -> Error {
    Error::corrupt(format!("index cannot be read, reason={reason}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    /// Two vectors of three dimensions, as the extension wrote them.
    fn golden() -> Vec<u8> {
        let header = |kind: &[u8], trained: &[u8]| {
            let mut header = kind.to_vec();
            header.extend([3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
            header.extend([0, 0, 16, 0, 0, 0, 0, 0].repeat(2));
            header.extend(trained);
            header
        };
        let mut all = header(b"IxM2", &[1, 1, 0, 0, 0]);
        all.extend(header(b"IxF2", &[1, 1, 0, 0, 0]));
        all.extend(6_u64.to_le_bytes());
        all.extend(
            [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]
                .map(f32::to_le_bytes)
                .concat(),
        );
        all.extend(2_u64.to_le_bytes());
        all.extend([7_i64, 9].map(i64::to_le_bytes).concat());
        all
    }

    #[test]
    fn a_flat_index_is_read() {
        let flat = Flat::read(Cursor::new(golden())).expect("whole");
        let expected = Flat {
            dimensions: 3,
            by_product: false,
            first: 82,
            rowids: vec![7, 9],
        };
        assert_eq!(flat, expected);
    }

    #[test]
    fn other_kinds_are_named() {
        let mut other = golden();
        other.splice(37..41, *b"IwFl");
        let error = Flat::read(Cursor::new(other)).expect_err("lists");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().ends_with("found=IwFl"), "{error}");
    }

    #[test]
    fn every_cut_is_noticed() {
        let golden = golden();
        for length in 0..golden.len() {
            let cut = golden.get(..length).expect("shorter");
            Flat::read(Cursor::new(cut)).expect_err("cut");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0..170_usize, value in any::<u8>()) {
            let mut damaged = golden();
            if let Some(byte) = damaged.get_mut(at) {
                *byte = value;
            }
            if let Ok(flat) = Flat::read(Cursor::new(damaged)) {
                prop_assert_eq!((flat.dimensions, flat.rowids.len()), (3, 2));
            }
        }
    }
}
