//! What the run asks of the process of a subject, one JSON line each way.
//!
//! Every subject is alone in its process, so that the process's CPU time and
//! memory are its own, whatever threads it starts. `benches/vectors/peer.py`
//! answers the same.

use serde::{Deserialize, Serialize};

use super::clock::Took;

/// What a subject is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Make the index from the base vectors, in its folder, and write it.
    /// Answered with [`Built`].
    Build,
    /// Open what was built, and answer the first query. Answered with
    /// [`Opened`].
    Open,
    /// Answer some queries, ten neighbours each. Answered with [`Found`].
    Search(Look),
    /// Answer them in so many threads at once. Answered with [`Took`].
    Together {
        /// The queries, shared among the threads.
        look: Look,
        /// How many threads.
        threads: usize,
    },
    /// Add one vector after the other, each in a durable transaction of its
    /// own. Answered with [`Times`].
    Commit {
        /// How many.
        count: usize,
    },
    /// Answered with [`super::clock::Memory`].
    Memory,
}

/// Which queries, and how.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Look {
    /// The first query.
    pub first: usize,
    /// How many from there on.
    pub count: usize,
    /// How hard a graph is searched, `ef`; 0 for who has no such thing.
    pub effort: u32,
    /// Only rows of which [`passes`] is true, of a hundred.
    pub percent: u32,
}

/// All rows.
pub const UNFILTERED: u32 = 100;

/// Whether the filter that lets `percent` of a hundred rows through lets this
/// one through. A filter passes all that a narrower one does.
#[must_use]
pub fn passes(row: u32, percent: u32) -> bool {
    // Knuth's multiplicative hash: spread evenly, and in no order.
    let hash = row.wrapping_mul(2_654_435_761);
    u64::from(hash) * 100 < u64::from(percent) << 32
}

/// An index was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Built {
    /// Writing the rows that the index is of, where they are apart from it.
    pub rows: Took,
    /// Making and writing the index.
    pub index: Took,
    /// Bytes of the files of the rows.
    pub rows_bytes: u64,
    /// Bytes of the files of the index.
    pub index_bytes: u64,
}

/// An index was opened and answered one query.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Opened {
    /// What it took.
    pub took: Took,
    /// Bytes that came from a disk.
    pub disk_reads: u64,
}

/// What each of some calls took, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Times {
    /// CPU time of all threads.
    pub cpu_us: Vec<f64>,
    /// Time on the wall.
    pub wall_us: Vec<f64>,
}

/// Answers to queries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// What each took.
    pub times: Times,
    /// The rows found for each, the nearest first.
    pub rows: Vec<Vec<u32>>,
}

/// An answer, or why there is none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer<T> {
    /// It failed.
    Failed {
        /// Why.
        error: String,
    },
    /// It is done.
    Done(T),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_pass_what_they_say_and_lie_within_each_other() {
        for percent in [1, 10, 50] {
            let passing: Vec<u32> = (0..100_000).filter(|row| passes(*row, percent)).collect();
            let share = passing.len().abs_diff(percent as usize * 1000);
            assert!(share < 50, "{percent} %: {}", passing.len());
            assert!(passing.iter().all(|row| passes(*row, percent * 2)));
        }
        assert!((0..100_000).all(|row| passes(row, UNFILTERED)));
    }
}
