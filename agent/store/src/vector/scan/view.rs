//! Rows of a part of the index, wherever they lie.

use super::code::{BLOCK, block_bytes};
use super::space::Scale;

/// A little-endian i64.
pub type Rowid = [u8; 8];

/// Rows in lists: borrowed from a mapped file, or from memory.
///
/// A row has a number: its block, times [`BLOCK`], plus its place in there.
/// Each list begins at a block, so there are numbers without a row.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Dimensions after rotation.
    pub padded: usize,
    /// What is taken off probes, see [`super::space::Probe::without`].
    pub heading: &'a [f32],
    /// The lists, in the order of blocks.
    pub lists: &'a [List],
    /// The centre of each list, one byte a dimension.
    pub list_bytes: &'a [u8],
    /// Codes, see [`super::code`].
    pub blocks: &'a [u8],
    /// Each row by one byte a dimension.
    pub bytes: &'a [u8],
    /// What belongs to the bytes of each row, see [`Scale`].
    pub scales: &'a [[u8; 8]],
    /// The passage of each row.
    pub passages: &'a [Rowid],
    /// The embedding of each row.
    pub embeddings: &'a [Rowid],
}

/// Rows around a centre of their own.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct List {
    /// Its first block.
    pub block: u32,
    /// How many rows.
    pub rows: u32,
    /// What one step of a byte of its centre is worth.
    pub step: f32,
    /// The mean addend of its rows.
    pub addend: f32,
    /// How far addends of its rows are from that: the root of the mean square.
    pub addend_spread: f32,
    /// How far its rows are from its centre, along a direction in which queries
    /// come: the typical product with a probe of length 1.
    pub spread: f32,
}

impl List {
    /// How many blocks.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.rows.div_ceil(32)
    }
}

const _: () = assert!(BLOCK == 32, "see List::blocks");

impl<'a> View<'a> {
    /// The bytes of a row and what belongs to them.
    #[must_use]
    pub fn bytes(&self, row: u32) -> Option<(&'a [u8], Scale)> {
        let (bytes, scale) = self.where_bytes_are(row)?;
        Some((bytes, Scale::from_bytes(*scale)))
    }

    /// The same without reading any of it.
    #[must_use]
    pub fn where_bytes_are(&self, row: u32) -> Option<(&'a [u8], &'a [u8; 8])> {
        let at = row as usize;
        let start = at.checked_mul(self.padded)?;
        let bytes = self.bytes.get(start..start.checked_add(self.padded)?)?;
        Some((bytes, self.scales.get(at)?))
    }

    /// The blocks of a list.
    #[must_use]
    pub fn list_blocks(&self, list: List) -> &'a [u8] {
        let bytes = block_bytes(self.padded);
        let (from, count) = (list.block as usize * bytes, list.blocks() as usize * bytes);
        let blocks = self.blocks.get(from..).unwrap_or_default();
        blocks.get(..count).unwrap_or_default()
    }

    /// The passage of a row.
    #[must_use]
    pub fn passage(&self, row: u32) -> Option<i64> {
        let passage = self.passages.get(row as usize)?;
        Some(i64::from_le_bytes(*passage))
    }

    /// The passages of the rows of a block, by its first row.
    #[must_use]
    pub fn passages_from(&self, first: u32) -> &'a [Rowid] {
        let from = self.passages.get(first as usize..).unwrap_or_default();
        from.get(..BLOCK).unwrap_or(from)
    }

    /// The embedding of a row.
    #[must_use]
    pub fn embedding(&self, row: u32) -> Option<i64> {
        let embedding = self.embeddings.get(row as usize)?;
        Some(i64::from_le_bytes(*embedding))
    }
}
