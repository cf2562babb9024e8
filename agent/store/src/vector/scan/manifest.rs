//! What an index consists of: one small file that is replaced as a whole.
//!
//! ```text
//! magic · identity (80 bytes) · u64 watermark · u64 next number
//! u32 dimensions after rotation, f32 origin of each
//! u32 segments, for each: u64 number · u32 rows
//!                         u32 dead rows, u32 each
//! u32 checksum of all before
//! ```
//!
//! All numbers are little-endian.

use super::segment::layout::Identity;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"GNLindex";
const VERSION: u32 = 1;

/// What is in the file besides the identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The last change that is in the segments.
    pub watermark: u64,
    /// The number of the next segment. None is used twice.
    pub next: u64,
    /// Of the space.
    pub origin: Vec<f32>,
    /// All segments, in the order in which they are searched.
    pub segments: Vec<Listed>,
}

/// A segment in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number, which names its file.
    pub number: u64,
    /// Its rows.
    pub rows: u32,
    /// Numbers of rows that are dead, the lowest first.
    pub dead: Vec<u32>,
}

impl Manifest {
    /// As it is in the file.
    #[must_use]
    pub fn to_bytes(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(identity.to_bytes());
        bytes.extend(self.watermark.to_le_bytes());
        bytes.extend(self.next.to_le_bytes());
        put_length(&mut bytes, self.origin.len());
        for value in &self.origin {
            bytes.extend(value.to_le_bytes());
        }
        put_length(&mut bytes, self.segments.len());
        for segment in &self.segments {
            bytes.extend(segment.number.to_le_bytes());
            bytes.extend(segment.rows.to_le_bytes());
            put_length(&mut bytes, segment.dead.len());
            for row in &segment.dead {
                bytes.extend(row.to_le_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file of an index. The origin decides on the identity, so that
    /// is made by the caller, and must be what is in the file.
    ///
    /// # Errors
    /// It is damaged, or of another index or format.
    pub fn from_bytes(bytes: &[u8], identity: impl Fn(&[f32]) -> Identity) -> Result<Self> {
        let damaged = || Error::corrupt("manifest is damaged");
        let (bytes, checksum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        let mut reader = Reader(bytes);
        if reader.array() != Some(MAGIC) || reader.number() != Some(VERSION) {
            return Err(Error::corrupt("manifest is of another format"));
        }
        let found: [u8; 80] = reader.array().ok_or_else(damaged)?;
        let manifest = reader.manifest().ok_or_else(damaged)?;
        if found[..] != *identity(&manifest.origin).to_bytes() {
            return Err(Error::corrupt(
                "index is of another database, model or metric",
            ));
        }
        Ok(manifest)
    }
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn manifest(&mut self) -> Option<Manifest> {
        let (watermark, next) = (self.long()?, self.long()?);
        let origin = self.many(|reader| reader.array().map(f32::from_le_bytes))?;
        let segments = self.many(|reader| {
            Some(Listed {
                number: reader.long()?,
                rows: reader.number()?,
                dead: reader.many(Self::number)?,
            })
        })?;
        self.0.is_empty().then_some(Manifest {
            watermark,
            next,
            origin,
            segments,
        })
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Each is at least four bytes, so a wrong count ends soon.
        let count = self.number()?;
        (0..count).map(|_| one(self)).collect()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Spec;
    use crate::vector::metric::Metric;

    fn identity(origin: &[f32]) -> Identity {
        Identity {
            spec: Spec {
                database: [1; 16],
                model: [2; 32],
                dimensions: 3,
                metric: Metric::Cosine,
            },
            seed: 5,
            origin: u32::from(origin == [1.5, -2.0]),
        }
    }

    fn manifest() -> Manifest {
        let segment = |number, dead: &[u32]| Listed {
            number,
            rows: 9,
            dead: dead.to_vec(),
        };
        Manifest {
            watermark: 77,
            next: 12,
            origin: vec![1.5, -2.0],
            segments: vec![segment(3, &[]), segment(11, &[0, 8])],
        }
    }

    #[test]
    fn it_is_read_back() {
        let bytes = manifest().to_bytes(&identity(&[1.5, -2.0]));
        let read = Manifest::from_bytes(&bytes, identity).expect("is whole");
        assert_eq!(read, manifest());
        // Format 1 for good: an index that exists must stay readable.
        assert_eq!(crc32fast::hash(&bytes[..bytes.len() - 4]), GOLDEN);
    }

    const GOLDEN: u32 = 0x2e1e_9cf9;

    #[test]
    fn what_fits_the_checksum_but_is_too_short_or_too_long_is_refused() {
        let bytes = manifest().to_bytes(&identity(&[1.5, -2.0]));
        let inner = &bytes[..bytes.len() - 4];
        let sealed = |inner: &[u8]| [inner, &crc32fast::hash(inner).to_le_bytes()].concat();
        Manifest::from_bytes(&sealed(inner), identity).expect("is whole");
        for length in 0..inner.len() {
            Manifest::from_bytes(&sealed(&inner[..length]), identity).expect_err("too short");
        }
        Manifest::from_bytes(&sealed(&[inner, &[0]].concat()), identity).expect_err("too long");
        for length in 0..4 {
            Manifest::from_bytes(&bytes[..length], identity).expect_err("too short");
        }
    }
}
