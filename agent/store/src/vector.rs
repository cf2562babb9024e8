//! Vector indexes: which passages are nearest to a query.
//!
//! The rows in SQLite are the truth. An index is made from them and follows
//! them: it says up to which change it has them for good
//! ([`VectorIndex::durable`]), and is given all later ones again after a
//! restart. Nothing is lost with an index; at worst it is made anew.
//!
//! An entry is a passage with the row of its embedding. Passages of the same
//! text share an embedding, and each has an entry of its own.

#[cfg(test)]
pub(crate) mod conformance;
pub mod engine;
pub mod exact;
pub mod metric;
pub mod passages;
pub mod scan;
pub(crate) mod sidecar;
pub mod sqlite_vec;
pub mod sqlite_vss;

use std::fmt::Debug;

use crate::error::Result;
use engine::Engine;
use metric::Metric;
use passages::Passages;

/// The largest number of dimensions of any engine.
pub const DIMENSIONS_MAX: usize = 8192;

/// The most neighbours that a search can ask for.
pub const NEIGHBOURS_MAX: usize = 4096;

/// What an index is of. It is thrown away when any of it differs from what its
/// file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The database that the rows are in.
    pub database: [u8; 16],
    /// The model that made the vectors.
    pub model: [u8; 32],
    /// Values of a vector, from 1 to [`DIMENSIONS_MAX`].
    pub dimensions: usize,
    /// What near means.
    pub metric: Metric,
}

/// What happened to a passage. Given in the order of commits.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It has this vector now, whatever it had before.
    Upsert(Entry),
    /// It is gone, if it was there.
    Delete {
        /// The rowid of the passage.
        passage: i64,
    },
}

/// A passage and its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The rowid of the passage.
    pub passage: i64,
    /// The rowid of its embedding.
    pub embedding: i64,
    /// As it is stored: [`Spec::dimensions`] finite values, of length 1 where
    /// the metric is cosine.
    pub vector: Vec<f32>,
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// [`Spec::dimensions`] finite values, of length 1 where the metric is
    /// cosine.
    pub query: &'a [f32],
    /// At most so many neighbours, 1 to [`NEIGHBOURS_MAX`].
    pub wanted: usize,
    /// Only these passages.
    pub filter: Option<&'a Passages>,
}

/// A passage near a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// The rowid of the passage.
    pub passage: i64,
    /// How near, by the stored vector, see [`Metric::score`]: more is nearer.
    pub score: f32,
}

/// The rows that an index is of, as one snapshot of the database has them.
pub trait Rows {
    /// Calls `each` with the place in `embeddings` and the vector of every row
    /// that is there, in any order.
    ///
    /// # Errors
    /// The database cannot be read.
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()>;

    /// Calls `each` with every entry, by the rowid of passages, until it
    /// answers `Break`.
    ///
    /// # Errors
    /// The database cannot be read.
    fn entries(
        &self,
        each: &mut dyn FnMut(EntryRef<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<()>;
}

/// An [`Entry`] whose vector lies elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntryRef<'a> {
    /// The rowid of the passage.
    pub passage: i64,
    /// The rowid of its embedding.
    pub embedding: i64,
    /// As in [`Entry::vector`].
    pub vector: &'a [f32],
}

/// Finds the passages nearest to a query. Blocking; called by many threads at
/// once, but [`VectorIndex::apply`] and [`VectorIndex::clear`] by one at a
/// time. [`VectorIndex::flush`] and [`VectorIndex::verify`] may go on beside
/// all of them.
///
/// Opening one gives what its files hold, if they fit the [`Spec`] and are
/// whole, else an empty one whose [`VectorIndex::durable`] is 0.
pub trait VectorIndex: Debug + Send + Sync {
    /// Which one it is.
    fn engine(&self) -> Engine;

    /// The number of the last change that a restart will find in it; 0 if it
    /// has to be made anew from all rows.
    fn durable(&self) -> u64;

    /// Takes changes up to the one numbered `watermark` in. The next search
    /// sees them. The same changes twice are the same as once.
    ///
    /// # Errors
    /// The files cannot be written, or are full by the engine's own limits. The
    /// changes may be in it then, or in part; giving them again is right.
    fn apply(&self, changes: &[Change], watermark: u64) -> Result<()>;

    /// The nearest passages, the nearest first; those of the same score by
    /// their rowid. `rows` must be at least as new as the last change applied.
    ///
    /// Fewer than wanted come back only if the filter has fewer.
    ///
    /// # Errors
    /// The rows or files cannot be read, or the query is not one of the index.
    fn search(&self, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>>;

    /// Throws everything away: it is about to be made anew.
    ///
    /// # Errors
    /// The files cannot be removed.
    fn clear(&self) -> Result<()>;

    /// Writes what is only in memory, so that [`VectorIndex::durable`] reaches
    /// the last change applied. Called now and then, and before closing.
    ///
    /// # Errors
    /// The files cannot be written; what they held stays.
    fn flush(&self) -> Result<()>;

    /// Reads all its files and compares their checksums, if that was not done
    /// when it was opened. Takes as long as reading them does.
    ///
    /// # Errors
    /// They are damaged. It answers nothing from then on until it is cleared.
    fn verify(&self) -> Result<()> {
        Ok(())
    }

    /// What it holds and takes.
    ///
    /// # Errors
    /// The files cannot be read.
    fn stats(&self) -> Result<Stats>;
}

/// What an index holds and takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Passages that can be found.
    pub entries: u64,
    /// Entries that were deleted or replaced and still take space.
    pub dead: u64,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Bytes it holds in memory, files that are mapped not counted.
    pub memory_bytes: u64,
}
