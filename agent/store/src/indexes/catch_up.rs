//! Brings an index that is behind up to date, beside searches and writes.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::{CHANGES_AT_ONCE, Indexes, ModelIndex};
use crate::error::{Error, Result};
use crate::read::Readers;
use crate::rows::ModelRows;
use crate::vector::{Change, Entry, Rows};
use crate::write::{self, Writer};

/// Changes that the writer may replay itself, before others go on: some
/// milliseconds.
const NEAR: i64 = 512;

/// Rounds of replaying what was committed meanwhile, before the writer is made
/// to wait for the rest.
const ROUNDS_MAX: usize = 20;

impl Indexes {
    /// Brings every index that is behind up to date. Blocks, perhaps for
    /// minutes.
    ///
    /// # Errors
    /// The first that could not be; the others were.
    pub(crate) fn catch_up(&self, readers: &Readers, writer: &Writer) -> Result<()> {
        let _alone = self.catching_up();
        let mut out = Ok(());
        for index in self.all() {
            if !index.is_live() && !self.closing.load(Ordering::Acquire) {
                let done = index.catch_up(readers, writer, &self.closing);
                out = out.and(done);
            }
        }
        out
    }
}

impl Indexes {
    /// Lets every vector index be made anew when it next catches up. Searches read
    /// the rows until then.
    pub(crate) fn distrust(&self, writer: &Writer) -> Result<()> {
        let _alone = self.catching_up();
        for index in self.all() {
            index.live.store(false, Ordering::Release);
        }
        // The writer is past whatever it was giving them.
        writer.run_blocking(|_| Ok(()))?;
        for index in self.all() {
            if !index.holds_nothing() {
                index.applied.store(0, Ordering::Release);
            }
        }
        Ok(())
    }
}

impl ModelIndex {
    /// Lets the writer bring the index up to date if little is missing.
    pub(super) fn go_live_if_near(&self, connection: &Connection) -> Result<()> {
        let last = write::last_change(connection)?;
        if !self.has_vectors(connection)? {
            self.index.clear()?;
            self.index.apply(&[], last.unsigned_abs())?;
            self.applied.store(last, Ordering::Release);
            self.live.store(true, Ordering::Release);
            return Ok(());
        }
        let applied = self.applied.load(Ordering::Acquire);
        if self.can_follow(connection)? && last - applied <= NEAR {
            self.follow(connection, last)?;
            self.live.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn has_vectors(&self, connection: &Connection) -> Result<bool> {
        let mut has = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM embedding WHERE model = ?1 AND deleted = 0)",
        )?;
        Ok(has.query_row([self.model.id], |row| row.get(0))?)
    }

    /// Whether every change that it lacks is still in the log. If it has
    /// changes that the database does not have, that is an older copy.
    fn can_follow(&self, connection: &Connection) -> Result<bool> {
        if self.damaged.load(Ordering::Acquire) {
            return Ok(false);
        }
        let applied = self.applied.load(Ordering::Acquire);
        if applied == i64::MAX {
            return Ok(true);
        }
        let last = write::last_change(connection)?;
        let whole = write::reaches_back(connection, applied + 1)?;
        Ok(whole && applied <= last && (applied > 0 || last == 0))
    }

    fn catch_up(&self, readers: &Readers, writer: &Writer, closing: &AtomicBool) -> Result<()> {
        if !readers.run_apart(|connection| self.can_follow(connection))? {
            readers.run_apart(|connection| self.make_anew(connection, closing))?;
        }
        for _ in 0..ROUNDS_MAX {
            let behind = readers.run_apart(|connection| {
                let last = write::last_change(connection)?;
                let behind = last - self.applied.load(Ordering::Acquire);
                self.follow(connection, last)?;
                Ok(behind)
            })?;
            if behind <= NEAR {
                break;
            }
        }
        // The rest between two commits, so that none comes in between.
        self.joining.store(true, Ordering::Release);
        writer.run_blocking(|_| Ok(()))
    }

    /// Makes the index from all rows.
    fn make_anew(&self, connection: &Connection, closing: &AtomicBool) -> Result<()> {
        let rows = ModelRows {
            connection,
            model: &self.model,
        };
        let last = write::last_change(connection)?;
        let _changing = self.changing();
        self.index.clear()?;
        self.damaged.store(false, Ordering::Release);
        self.applied.store(0, Ordering::Release);
        let mut failed = Ok(());
        let mut batch = Vec::new();
        rows.entries(&mut |entry| {
            batch.push(Change::Upsert(Entry {
                passage: entry.passage,
                embedding: entry.embedding,
                vector: entry.vector.to_vec(),
            }));
            if batch.len() as i64 >= CHANGES_AT_ONCE {
                // Not whole until the end: a restart must begin again.
                failed = self.index.apply(&batch, 0);
                batch.clear();
                if closing.load(Ordering::Acquire) {
                    failed = Err(Error::closed());
                }
            }
            match failed {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        failed?;
        self.index.apply(&batch, last.unsigned_abs())?;
        self.applied.store(last, Ordering::Release);
        tracing::info!(
            model = self.model.name,
            changes = last,
            "vector index was made anew"
        );
        self.index.flush()
    }
}
