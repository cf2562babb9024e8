//! Fresh rows, in memory until they are written to a segment.

use std::collections::HashMap;

use super::bits::Bits;
use super::code::{Codes, Terms};
use super::space::{Encoded, Scale};
use super::view::{List, Rowid, View};

/// Rows in the order in which they came, as one list around the origin.
#[derive(Debug, Clone)]
pub struct Tail {
    padded: usize,
    heading: Vec<f32>,
    /// The origin: zeros.
    centre_bytes: Vec<u8>,
    list: [List; 1],
    codes: Codes,
    bytes: Vec<u8>,
    scales: Vec<[u8; 8]>,
    passages: Vec<Rowid>,
    embeddings: Vec<Rowid>,
    /// The newest row of each passage.
    newest: HashMap<i64, u32>,
}

/// The rowids of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Of the passage.
    pub passage: i64,
    /// Of the embedding.
    pub embedding: i64,
}

impl Tail {
    /// No rows yet, of so many dimensions after rotation.
    #[must_use]
    pub fn new(padded: usize) -> Self {
        Self {
            padded,
            heading: vec![0.0; padded],
            centre_bytes: vec![0; padded],
            list: [List::default()],
            codes: Codes::new(padded),
            bytes: Vec::new(),
            scales: Vec::new(),
            passages: Vec::new(),
            embeddings: Vec::new(),
            newest: HashMap::new(),
        }
    }

    /// How many rows, dead ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.passages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passages.is_empty()
    }

    /// Its rows.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            padded: self.padded,
            heading: &self.heading,
            lists: &self.list,
            list_bytes: &self.centre_bytes,
            blocks: self.codes.blocks(),
            bytes: &self.bytes,
            scales: &self.scales,
            passages: &self.passages,
            embeddings: &self.embeddings,
        }
    }

    /// The newest row of a passage.
    #[must_use]
    pub fn locate(&self, passage: i64) -> Option<u32> {
        self.newest.get(&passage).copied()
    }

    /// The newest rows of passages.
    #[must_use]
    pub fn locate_all(&self, passages: impl Iterator<Item = i64>) -> Bits {
        let mut rows = Bits::default();
        for row in passages.filter_map(|passage| self.locate(passage)) {
            rows.insert(row);
        }
        rows
    }

    /// Says what is taken off probes: [`super::space::Space::origin_heading`],
    /// which was added to the rows.
    pub fn head(&mut self, heading: &[f32]) {
        heading.clone_into(&mut self.heading);
    }

    /// Adds a row of a batch. An older one of the same passage must be dead.
    pub fn push(&mut self, ids: Ids, encoded: &Encoded, at: usize) {
        let padded = self.padded;
        let bits = encoded.bits.chunks_exact(padded / 8).nth(at);
        let bytes = encoded.bytes.chunks_exact(padded).nth(at);
        let terms: Option<&Terms> = encoded.terms.get(at);
        let scale: Option<&Scale> = encoded.scales.get(at);
        let (Some(bits), Some(bytes), Some(terms), Some(scale)) = (bits, bytes, terms, scale)
        else {
            return;
        };
        let Ok(row) = u32::try_from(self.passages.len()) else {
            return;
        };
        self.codes.push(bits, *terms);
        self.bytes.extend_from_slice(bytes);
        self.scales.push(scale.to_bytes());
        self.passages.push(ids.passage.to_le_bytes());
        self.embeddings.push(ids.embedding.to_le_bytes());
        self.newest.insert(ids.passage, row);
        let [list] = &mut self.list;
        list.rows = row + 1;
    }

    /// Bytes it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let rows = self.bytes.capacity() + 24 * self.passages.capacity();
        // A place in the map: key, value and a byte, at most 8/7 as many.
        rows + self.codes.blocks().len() + 20 * self.newest.capacity()
    }
}
