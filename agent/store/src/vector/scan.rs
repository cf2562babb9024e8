//! The default engine: a scan over codes of one bit a dimension, so small that
//! reading all of them is faster than walking a graph, and so good that the
//! nearest ten are among a few hundred candidates.
//!
//! ```text
//! vector ──▶ rotation ──▶ minus a centre ──▶ sign of each dimension, 1 bit
//!                    │                  └──▶ f32 factor and addend
//!                    └──▶ one byte a dimension
//! query  ──▶ rotation ──▶ sums of each 4 dimensions, 16 entries of u8
//!
//! scan     32 vectors a block, one look-up for 4 dimensions of 32 vectors
//! funnel   of what may be near, the bytes
//! search   of what may be among the nearest, the stored vectors
//! ```
//!
//! The query keeps its precision while the data has one bit: the estimate of
//! RaBitQ (Gao and Long, "RaBitQ", SIGMOD 2024), which is unbiased, and whose
//! error is known, so that what can be among the nearest is known too.
//!
//! Fresh rows are in a tail in memory, all others in segments: files that are
//! mapped and never change. A manifest names them. A thread of the index
//! writes tails to segments and merges segments.

pub mod arrange;
pub mod bits;
pub mod bytes8;
pub mod cluster;
pub mod code;
pub mod compact;
pub mod disk;
pub mod exchange;
pub mod funnel;
pub mod kernel;
pub mod manifest;
pub mod nearest;
pub mod plan;
pub mod query;
pub mod rotation;
pub mod segment;
pub mod space;
pub mod state;
pub mod sweep;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod view;
mod wide;
pub mod worker;

use std::path::Path;
use std::sync::Arc;

use super::engine::Engine;
use super::{Change, Neighbour, Request, Rows, Spec, Stats, VectorIndex};
use crate::error::Result;
use compact::Compactor;
use worker::Worker;

/// The default engine.
#[derive(Debug)]
pub struct Scan {
    compactor: Arc<Compactor>,
    /// Gone when the index was opened without.
    worker: Option<Worker>,
}

/// How an index is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Rows of a tail that make a segment.
    pub segment_rows: usize,
    /// Segments of so many rows have lists, of which a search reads some.
    pub lists_from: usize,
    /// Who writes and merges segments.
    pub upkeep: Upkeep,
}

/// Who writes full tails to segments, and merges segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upkeep {
    /// A thread of the index.
    Thread,
    /// Nobody but [`VectorIndex::flush`] and [`Scan::compact`].
    Calls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_rows: 1 << 16,
            lists_from: 200_000,
            upkeep: Upkeep::Thread,
        }
    }
}

impl Scan {
    /// Opens the index in a folder that nobody else writes to, and makes it if
    /// there is none. If what is there is damaged or of another [`Spec`], it is
    /// removed and the index is empty; see [`Scan::discarded`].
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(folder: &Path, spec: Spec, options: Options) -> Result<Self> {
        let compactor = Arc::new(Compactor::open(folder, spec, options)?);
        let worker = match options.upkeep {
            Upkeep::Thread => Some(Worker::start(&compactor)?),
            Upkeep::Calls => None,
        };
        Ok(Self { compactor, worker })
    }

    /// Why what was in the files could not be used, if so.
    #[must_use]
    pub fn discarded(&self) -> Option<String> {
        self.compactor.discarded()
    }

    /// Writes full tails to segments and merges segments, until there is
    /// nothing more to be gained.
    ///
    /// # Errors
    /// The files cannot be written; what they held stays.
    pub fn compact(&self) -> Result<()> {
        self.compactor.seal()?;
        self.compactor.merge_all()
    }

    fn wake(&self) {
        if let Some(worker) = &self.worker {
            worker.wake();
        }
    }
}

impl VectorIndex for Scan {
    fn engine(&self) -> Engine {
        Engine::Scan
    }

    fn durable(&self) -> u64 {
        self.compactor.durable()
    }

    fn apply(&self, changes: &[Change], watermark: u64) -> Result<()> {
        let frozen = self.compactor.state.apply(changes, watermark)?;
        if frozen > 0 {
            self.wake();
        }
        if frozen > compact::FROZEN_MAX {
            // Files are written more slowly than rows come.
            self.compactor.seal()?;
        }
        Ok(())
    }

    fn search(&self, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>> {
        nearest::search(&self.compactor.state, request, rows)
    }

    fn clear(&self) -> Result<()> {
        self.compactor.clear()
    }

    fn flush(&self) -> Result<()> {
        self.compactor.expect_files()?;
        self.compactor.state.freeze()?;
        self.compactor.seal()?;
        self.wake();
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        self.compactor.verify()
    }

    fn stats(&self) -> Result<Stats> {
        Ok(self.compactor.stats())
    }
}
