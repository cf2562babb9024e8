//! The file of a segment: its header, and where its sections are.
//!
//! ```text
//! header     256 bytes, see Header::to_bytes
//! blocks     codes, see super::code
//! bytes      each row by one byte a dimension
//! scales     f32 step and f32 bias of each row
//! passages   i64 of each row
//! embeddings i64 of each row
//! order      i64 passage and u32 number of all rows, by passage
//! heading    f32 of each dimension, see super::space
//! list bytes each list's centre by one byte a dimension
//! lists      u32 rows and four f32 of each, see super::view::List
//! ```
//!
//! All numbers are little-endian. Sections follow each other, each beginning at
//! a multiple of 64 bytes. A row has a place in each of the first five, and the
//! places behind the last row of a list, up to the next block, are zeros.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::vector::Spec;
use crate::vector::metric::Metric;
use crate::vector::scan::code::{BLOCK, block_bytes};

/// Sections begin at multiples of a cache line.
pub const ALIGNMENT: usize = 64;

/// Bytes of a header.
pub const HEADER: usize = 256;

/// How many sections there are.
pub const SECTIONS: usize = 9;

/// Bytes of a row in the section `order`.
pub const ORDERED: usize = 12;

/// Bytes of a list in its section.
pub const LIST: usize = 20;

const MAGIC: [u8; 8] = *b"GNLscan\x01";

/// What a segment is of and how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The index it belongs to.
    pub identity: Identity,
    /// Rows.
    pub rows: u32,
    /// Blocks.
    pub blocks: u32,
    /// Lists.
    pub lists: u32,
    /// The checksum of each section.
    pub checksums: [u32; SECTIONS],
}

/// What all segments of an index have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the index is of.
    pub spec: Spec,
    /// The seed of the rotation.
    pub seed: u64,
    /// The checksum of the origin.
    pub origin: u32,
}

impl Identity {
    /// As it is in files: 80 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let spec = &self.spec;
        let dimensions = u32::try_from(spec.dimensions).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(80);
        bytes.extend(spec.database);
        bytes.extend(spec.model);
        bytes.extend(dimensions.to_le_bytes());
        bytes.extend(metric_number(spec.metric).to_le_bytes());
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.origin.to_le_bytes());
        bytes.resize(80, 0);
        bytes
    }
}

/// The metric's number in files.
#[must_use]
pub fn metric_number(metric: Metric) -> u32 {
    match metric {
        Metric::Cosine => 1,
        Metric::Dot => 2,
        Metric::Euclidean => 3,
    }
}

impl Header {
    /// As it is in the file. The last four bytes are the checksum of the others.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(self.identity.to_bytes());
        for number in [self.rows, self.blocks, self.lists] {
            bytes.extend(number.to_le_bytes());
        }
        for checksum in self.checksums {
            bytes.extend(checksum.to_le_bytes());
        }
        bytes.resize(HEADER - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of a file that must belong to an index.
    ///
    /// # Errors
    /// It is damaged, or of another index.
    pub fn from_bytes(bytes: &[u8], identity: &Identity) -> Result<Self> {
        let Some((bytes, checksum)) = bytes.get(..HEADER).and_then(<[u8]>::split_last_chunk) else {
            return Err(Error::corrupt("segment is cut off").with("bytes", &bytes.len()));
        };
        if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
            return Err(Error::corrupt("header of a segment is damaged"));
        }
        let (found, numbers) = bytes.split_at(MAGIC.len() + 80);
        if found.strip_prefix(&MAGIC) != Some(&*identity.to_bytes()) {
            return Err(Error::corrupt("segment is of another index or format"));
        }
        let numbers = numbers.as_chunks().0.iter();
        let mut numbers = numbers.map(|number| u32::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Self {
            identity: identity.clone(),
            rows: next(),
            blocks: next(),
            lists: next(),
            checksums: std::array::from_fn(|_| next()),
        })
    }

    /// Where each section is, and the length of the file.
    ///
    /// # Errors
    /// No file can be so long.
    pub fn sections(&self, padded: usize) -> Result<([Range<usize>; SECTIONS], usize)> {
        let lay = || {
            let (blocks, lists) = (self.blocks as usize, self.lists as usize);
            let rows = blocks.checked_mul(BLOCK)?;
            let lengths = [
                blocks.checked_mul(block_bytes(padded))?,
                rows.checked_mul(padded)?,
                rows.checked_mul(8)?,
                rows.checked_mul(8)?,
                rows.checked_mul(8)?,
                (self.rows as usize).checked_mul(ORDERED)?,
                padded.checked_mul(4)?,
                lists.checked_mul(padded)?,
                lists.checked_mul(LIST)?,
            ];
            let mut end = HEADER;
            let mut sections = [const { 0..0 }; SECTIONS];
            for (section, length) in sections.iter_mut().zip(lengths) {
                let start = end.checked_next_multiple_of(ALIGNMENT)?;
                end = start.checked_add(length)?;
                *section = start..end;
            }
            Some((sections, end))
        };
        lay().ok_or_else(|| Error::corrupt("segment is too long").with("blocks", &self.blocks))
    }
}
