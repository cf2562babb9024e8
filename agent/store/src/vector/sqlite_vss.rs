//! The engine on `sqlite-vss` 0.1.2, which is on Faiss: kept for those who have
//! it, and to compare with. It is not developed any more, and each of its known
//! defects has a guard here:
//!
//! - It ends the process when it searches an index that its connection believes
//!   empty, loses rows of two writers, and does not see what others wrote: one
//!   thread has the only connection, and never searches without rows.
//! - A commit writes the whole index, a transaction takes time with the square
//!   of its rows: changes wait in memory until there are a thousand, are found
//!   there meanwhile, and a passage is deleted and inserted, never updated.
//! - It does not know filters: more rows are asked for than are wanted, and
//!   where they are still too few, the rows themselves are read.
//! - Its index is one value of at most 1 GB: more is refused before.
//! - Its index can be damaged unseen: it has a checksum, and is looked at before
//!   the extension is.
//!
//! A crash inside the extension ends the whole program, and nothing can change
//! that. It can lose no document: the rows are in the store's own file, this is
//! an index beside it, and what was not written here is given again.
//!
//! Faiss computes with OpenMP, on all cores. `OMP_NUM_THREADS` in the
//! environment that the program is started with limits them.

mod extension;
mod faiss;
pub mod import;
#[cfg(feature = "vss-static")]
mod linked;
mod owner;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

pub use extension::Extension;

use super::engine::Engine;
use super::exact::settle::{Answer, Rest};
use super::exact::{check, check_changes, search_rows};
use super::{Change, Neighbour, Request, Rows, Spec, Stats, VectorIndex};
use crate::error::{Error, ErrorKind, Result};
use owner::{Ask, Owner, Reply, Search, Shared};

/// Requests that wait for the thread; whoever comes later waits to be let in.
const REQUESTS_MAX: usize = 64;

/// Rows asked for beyond those wanted, so that the last wanted one is nearly
/// always certain at the first try.
const SPARE: usize = 16;

/// The most rows asked for because of a filter. Reading that many embeddings
/// one by one costs about as much as reading all rows of a middling store.
const OVERFETCH_MAX: usize = 16 * 1024;

/// An index in a `vss0` table.
#[derive(Debug)]
pub struct SqliteVss {
    spec: Spec,
    shared: Arc<Shared>,
    /// None only while it is dropped.
    asks: Option<SyncSender<Ask>>,
    owner: Option<JoinHandle<()>>,
}

impl SqliteVss {
    /// Opens the index in a folder of its own, and makes an empty one if there
    /// is none, or none of these rows, or a damaged one.
    ///
    /// # Errors
    /// The extension cannot be loaded or cannot run here, or the folder cannot
    /// be written.
    pub fn open(folder: &Path, spec: &Spec, extension: &Extension) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (asks, asked) = sync_channel(REQUESTS_MAX);
        let (opened, answer) = sync_channel(1);
        let owner = {
            let (folder, spec) = (folder.to_owned(), spec.clone());
            let (extension, shared) = (extension.clone(), Arc::clone(&shared));
            let run = move || match Owner::open(&folder, &spec, &extension, shared) {
                Ok(owner) => {
                    // Nobody waits only if opening was given up.
                    let _ = opened.send(Ok(()));
                    owner.run(&asked);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            };
            let thread = std::thread::Builder::new().name("sqlite-vss".to_owned());
            thread.spawn(run).map_err(|reason| {
                let text = format!("no thread for sqlite-vss, reason={reason}");
                Error::new(ErrorKind::Unavailable, text)
            })?
        };
        let index = Self {
            spec: spec.clone(),
            shared,
            asks: Some(asks),
            owner: Some(owner),
        };
        answer.recv().map_err(|_| ended())??;
        Ok(index)
    }

    /// Asks the owner and waits for the answer.
    fn ask<T>(&self, ask: impl FnOnce(SyncSender<Result<T>>) -> Ask) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        let asks = self.asks.as_ref().ok_or_else(ended)?;
        asks.send(ask(reply)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }

    /// Asks for more rows than are wanted, as many as the filter suggests, and
    /// for more while it is not certain that none is missing.
    fn search_index(
        &self,
        request: Request<'_>,
        rows: &dyn Rows,
    ) -> Result<Option<Vec<Neighbour>>> {
        let all = self.shared.rows.load(Ordering::Acquire);
        let passing = request.filter.map_or(all, |passing| passing.len().min(all));
        let mut keep = request.wanted.saturating_add(SPARE);
        loop {
            let limit = keep.saturating_mul(all.max(1)) / passing.max(1);
            if passing == 0 || (request.filter.is_some() && limit > OVERFETCH_MAX) {
                return Ok(None);
            }
            let search = Search {
                query: request.query.to_vec(),
                limit,
            };
            let reply = self.ask(|reply| Ask::Search(search, reply))?;
            let settled = answer(reply, request, keep).settle(&self.spec, request, rows)?;
            if settled.is_some() || keep >= all {
                return Ok(settled);
            }
            keep = keep.saturating_mul(4);
        }
    }
}

/// What passes the filter, and the nearest so many of it.
fn answer(reply: Reply, request: Request<'_>, keep: usize) -> Answer {
    let passes = |passage| request.filter.is_none_or(|set| set.contains(passage));
    let mut found: Vec<_> = reply.written.into_iter().chain(reply.fresh).collect();
    found.retain(|found| passes(found.passage));
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let dropped = found.get(keep).map(|first| first.score);
    found.truncate(keep);
    let rest = match (dropped, reply.rest) {
        (None, None) => Rest::None,
        (Some(one), None) | (None, Some(one)) => Rest::AtMost(one),
        (Some(one), Some(other)) => Rest::AtMost(one.max(other)),
    };
    Answer {
        found,
        rest,
        longest: reply.longest,
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Internal, "the thread of sqlite-vss has ended")
}

impl VectorIndex for SqliteVss {
    fn engine(&self) -> Engine {
        Engine::SqliteVss
    }

    fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    fn apply(&self, changes: &[Change], watermark: u64) -> Result<()> {
        check_changes(&self.spec, changes)?;
        let changes = changes.to_vec();
        self.ask(|reply| Ask::Apply(changes, watermark, reply))
    }

    fn search(&self, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>> {
        check(&self.spec, request)?;
        match self.search_index(request, rows)? {
            Some(neighbours) => Ok(neighbours),
            None => search_rows(&self.spec, request, rows),
        }
    }

    fn clear(&self) -> Result<()> {
        self.ask(Ask::Clear)
    }

    fn flush(&self) -> Result<()> {
        self.ask(Ask::Flush)
    }

    fn stats(&self) -> Result<Stats> {
        self.ask(Ask::Stats)
    }
}

impl Drop for SqliteVss {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(owner) = self.owner.take() {
            // A thread that panicked has said so itself.
            let _ = owner.join();
        }
    }
}

#[cfg(test)]
mod tests;
