//! What of a blob is lacking, where the rest comes from, and in which pieces
//! both are moved.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use crate::hash::Hash;
use crate::index::{Chunk, ChunkIndex};

/// Where chunks that are already somewhere lie, by hash.
#[derive(Debug, Default)]
pub struct Stock {
    /// Which blob, and from which byte on.
    places: HashMap<Hash, (usize, u64)>,
}

impl Stock {
    /// Adds the chunks of a blob, which the caller calls by this number. What
    /// was known before stays.
    pub fn add(&mut self, blob: usize, index: &ChunkIndex) {
        for chunk in index.chunks() {
            self.places
                .entry(chunk.hash)
                .or_insert((blob, chunk.offset));
        }
    }

    /// Where each chunk of a blob comes from, in the blob's order.
    #[must_use]
    pub fn sources(&self, wanted: &ChunkIndex) -> Vec<Source> {
        let mut sources = Vec::with_capacity(wanted.chunks().len());
        for chunk in wanted.chunks() {
            let place = self.places.get(&chunk.hash);
            sources.push(match place {
                Some(&(blob, offset)) => Source::Stock { blob, offset },
                None => Source::Lacking,
            });
        }
        sources
    }
}

/// Where a chunk comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A blob that is there has it, from this byte on.
    Stock {
        /// The blob's number in the stock.
        blob: usize,
        /// In bytes.
        offset: u64,
    },
    /// It has to be fetched or sent.
    Lacking,
}

impl Source {
    /// Whether a piece from here goes on where this one ends, `length` bytes
    /// later.
    fn continues(self, length: u64, next: Self) -> bool {
        match (self, next) {
            (Self::Lacking, Self::Lacking) => true,
            (
                Self::Stock { blob, offset },
                Self::Stock {
                    blob: next_blob,
                    offset: next,
                },
            ) => blob == next_blob && offset.checked_add(length) == Some(next),
            (Self::Lacking, Self::Stock { .. }) | (Self::Stock { .. }, Self::Lacking) => false,
        }
    }
}

/// Chunks that come from one place in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which chunks, by their number in the blob.
    pub chunks: Range<usize>,
    /// Where the first comes from; the others follow it there.
    pub source: Source,
    /// Bytes of all of them.
    pub length: u64,
}

/// The chunks from `first` on in as few runs as can be, none over `length_max`
/// bytes unless a single chunk is.
#[must_use]
pub fn runs(wanted: &ChunkIndex, sources: &[Source], first: usize, length_max: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let pairs = wanted.chunks().iter().zip(sources).enumerate();
    for (number, (chunk, &source)) in pairs.skip(first) {
        let length = u64::from(chunk.length);
        if let Some(run) = runs.last_mut() {
            let fits = run.length.saturating_add(length) <= length_max;
            if fits && run.source.continues(run.length, source) {
                run.chunks.end = number + 1;
                run.length += length;
                continue;
            }
        }
        runs.push(Run {
            chunks: number..number + 1,
            source,
            length,
        });
    }
    runs
}

/// Chunks that are fetched by one request. Those between that are not lacking
/// are fetched with them where a request would cost more.
#[must_use]
pub fn ranges(
    wanted: &ChunkIndex,
    is_lacking: impl Fn(usize) -> bool,
    gap_max: u64,
    length_max: u64,
) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let chunks = wanted.chunks();
    let offset = |number: usize| match chunks.get(number) {
        Some(chunk) => chunk.offset,
        None => wanted.size(),
    };
    for number in (0..chunks.len()).filter(|&number| is_lacking(number)) {
        if let Some(range) = ranges.last_mut() {
            let gap = offset(number) - offset(range.end);
            let length = offset(number + 1) - offset(range.start);
            if gap <= gap_max && length <= length_max {
                range.end = number + 1;
                continue;
            }
        }
        ranges.push(number..number + 1);
    }
    ranges
}

/// Which chunks of a blob, a bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    bits: Vec<u8>,
    count: usize,
}

impl Chosen {
    /// None of `count` chunks.
    #[must_use]
    pub fn none(count: usize) -> Self {
        Self {
            bits: vec![0; count.div_ceil(8)],
            count,
        }
    }

    /// Reads the bits of `count` chunks. `None` if they are not as many, or
    /// one is set behind the last.
    #[must_use]
    pub fn decode(bytes: &[u8], count: usize) -> Option<Self> {
        let last = bytes.last().copied().unwrap_or_default();
        let unused = (8 - count % 8) % 8;
        let spill = u32::from(last).leading_zeros() < 24 + u32::try_from(unused).ok()?;
        (bytes.len() == count.div_ceil(8) && !spill).then(|| Self {
            bits: bytes.to_vec(),
            count,
        })
    }

    /// The bits, the first chunk's in the lowest bit of the first byte.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bits)
    }

    /// Chooses a chunk.
    pub fn add(&mut self, number: usize) {
        if number < self.count
            && let Some(byte) = self.bits.get_mut(number / 8)
        {
            *byte |= 1 << (number % 8);
        }
    }

    /// Whether a chunk is chosen.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        let byte = self.bits.get(number / 8);
        byte.is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }

    /// The chunks chosen, in their order.
    pub fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.count).filter(|&number| self.has(number))
    }

    /// How many bytes the chunks chosen have together.
    #[must_use]
    pub fn length(&self, of: &ChunkIndex) -> u64 {
        let chunks = of.chunks().iter().enumerate();
        let chosen = chunks.filter(|(number, _)| self.has(*number));
        chosen.map(|(_, chunk)| u64::from(chunk.length)).sum()
    }
}

/// The chunk in which a byte of the blob lies, by number.
#[must_use]
pub fn chunk_at(index: &ChunkIndex, offset: u64) -> Option<usize> {
    let chunks = index.chunks();
    let number = chunks.partition_point(|chunk| chunk.end() <= offset);
    (number < chunks.len()).then_some(number)
}

/// A chunk's place in bytes, for a slice of the blob. `None` where addresses
/// are shorter than files.
#[must_use]
pub fn place(chunk: &Chunk) -> Option<Range<usize>> {
    let start = usize::try_from(chunk.offset).ok()?;
    let end = usize::try_from(chunk.end()).ok()?;
    Some(start..end)
}

#[cfg(test)]
mod tests;
