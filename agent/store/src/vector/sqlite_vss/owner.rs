//! The one thread that has the one connection, and what it is asked.
//!
//! The extension reads its index once per connection, never sees what another
//! connection wrote, and writes the whole of it at every commit. So everything
//! goes through here: changes wait in memory until there are a thousand, and
//! searches look at both.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use rusqlite::Connection;

use super::extension::Extension;
use super::table::{self, Known, Pending};
use crate::error::{Error, Result};
use crate::vector::exact::settle::Found;
use crate::vector::sidecar::{self, CACHE_BYTES, Sidecar, is_useless};
use crate::vector::{Change, Spec, Stats};

/// Rows of one transaction. Each row copies all of the transaction before it,
/// each transaction writes the whole index: about here the two are equal.
pub(super) const BATCH: usize = 1000;

/// About what the embedding of a passage takes in memory.
const KNOWN_BYTES: u64 = 24;

/// What is asked of the owner. Each is answered once.
pub(super) enum Ask {
    Search(Search, SyncSender<Result<Reply>>),
    Apply(Vec<Change>, u64, SyncSender<Result<()>>),
    Clear(SyncSender<Result<()>>),
    Flush(SyncSender<Result<()>>),
    Stats(SyncSender<Result<Stats>>),
}

/// A search without its filter, which the extension does not know.
pub(super) struct Search {
    pub(super) query: Vec<f32>,
    /// At least 1.
    pub(super) limit: usize,
}

/// The nearest rows, in any order.
pub(super) struct Reply {
    /// Of the index, without those that were changed since.
    pub(super) written: Vec<Found>,
    /// No other row of the index scores more, if there is one.
    pub(super) rest: Option<f64>,
    /// All that were changed since.
    pub(super) fresh: Vec<Found>,
    pub(super) longest: f64,
}

/// What others may know without asking.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) durable: AtomicU64,
    /// Passages that can be found.
    pub(super) rows: AtomicUsize,
}

/// The state of the thread.
pub(super) struct Owner {
    spec: Spec,
    sidecar: Sidecar,
    extension: Extension,
    shared: Arc<Shared>,
    /// None after a failure: the next request connects again.
    connection: Option<Connection>,
    known: Known,
    pending: Pending,
    /// The last change taken in.
    applied: u64,
}

impl Owner {
    /// Opens the index, or makes an empty one.
    ///
    /// # Errors
    /// The folder cannot be written, or the extension not be loaded.
    pub(super) fn open(
        folder: &Path,
        spec: &Spec,
        extension: &Extension,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        // An extension that is not there is no reason to throw an index away.
        extension.register(&Connection::open_in_memory()?)?;
        let mut owner = Self {
            spec: spec.clone(),
            sidecar: Sidecar::new(folder, spec, table::FORMAT)?,
            extension: extension.clone(),
            shared,
            connection: None,
            known: Known::new(),
            pending: Pending::new(),
            applied: 0,
        };
        match owner.open_whole() {
            Ok(true) => {}
            Err(error) if !is_useless(&error) => return Err(error),
            Ok(false) | Err(_) => owner.create()?,
        }
        Ok(owner)
    }

    /// Answers until nobody can ask any more. What was not flushed is given
    /// again after a restart.
    pub(super) fn run(mut self, asked: &Receiver<Ask>) {
        while let Ok(ask) = asked.recv() {
            // Who does not wait for the answer any more does not need it.
            let _ = match ask {
                Ask::Search(search, reply) => reply.send(self.search(&search)).ok(),
                Ask::Apply(changes, watermark, reply) => {
                    reply.send(self.apply(changes, watermark)).ok()
                }
                Ask::Clear(reply) => reply.send(self.create()).ok(),
                Ask::Flush(reply) => reply.send(self.flush()).ok(),
                Ask::Stats(reply) => reply.send(Ok(self.stats())).ok(),
            };
        }
    }

    /// Whether the file is of these rows and whole; then it is open.
    fn open_whole(&mut self) -> Result<bool> {
        let connection = self.sidecar.connect()?;
        if !self.sidecar.fits(&connection)? {
            return Ok(false);
        }
        let watermark = sidecar::watermark(&connection)?;
        if watermark == 0 {
            return Ok(false);
        }
        self.known = table::read_whole(&connection, &self.spec)?;
        sidecar::checkpoint(&connection)?;
        self.prepare(&connection)?;
        self.connection = Some(connection);
        self.applied = watermark;
        self.shared.durable.store(watermark, Ordering::Release);
        self.count();
        Ok(true)
    }

    /// An empty index in place of what there is.
    fn create(&mut self) -> Result<()> {
        self.connection = None;
        self.known.clear();
        self.pending.clear();
        self.applied = 0;
        self.shared.durable.store(0, Ordering::Release);
        self.count();
        self.sidecar.remove()?;
        let mut connection = self.sidecar.connect()?;
        self.prepare(&connection)?;
        let transaction = connection.transaction()?;
        self.sidecar.write_spec(&transaction)?;
        table::create(&transaction, &self.spec)?;
        transaction.commit()?;
        self.connection = Some(connection);
        Ok(())
    }

    fn prepare(&self, connection: &Connection) -> Result<()> {
        self.extension.register(connection)?;
        Ok(rusqlite::vtab::array::load_module(connection)?)
    }

    /// The connection, made again if the last use broke it: then the index in
    /// its memory was not what is in the file.
    fn connection(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.sidecar.connect()?;
                self.known = table::read_whole(&connection, &self.spec)?;
                self.prepare(&connection)?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    fn search(&mut self, search: &Search) -> Result<Reply> {
        let metric = self.spec.metric;
        let fresh = self.pending.values().flatten().map(|entry| Found {
            passage: entry.passage,
            embedding: entry.embedding,
            score: f64::from(metric.score(&search.query, &entry.vector)),
        });
        let fresh: Vec<_> = fresh.collect();
        let connection = self.connection()?;
        let longest = table::longest(connection)?;
        let mut reply = Reply {
            written: Vec::new(),
            rest: None,
            longest: self.longest_pending().max(longest),
            fresh,
        };
        // A search of an index without rows would end the process.
        if self.known.is_empty() || search.limit == 0 {
            return Ok(reply);
        }
        let limit = search.limit.saturating_add(self.pending.len());
        let limit = limit.min(self.known.len());
        let found = table::nearest(self.connection()?, metric, &search.query, limit);
        let found = self.or_reconnect(found)?;
        if limit < self.known.len() {
            reply.rest = found.last().map(|(_, score)| *score);
        }
        for (passage, score) in found {
            let Some(embedding) = self.known.get(&passage).copied() else {
                let text = format!("index has a row that it should not, passage={passage}");
                return Err(Error::corrupt(text));
            };
            if !self.pending.contains_key(&passage) {
                reply.written.push(Found {
                    passage,
                    embedding,
                    score,
                });
            }
        }
        Ok(reply)
    }

    fn longest_pending(&self) -> f64 {
        let lengths = self.pending.values().flatten();
        let lengths = lengths.map(|entry| crate::vector::exact::settle::length(&entry.vector));
        lengths.fold(0.0, f64::max)
    }

    fn apply(&mut self, changes: Vec<Change>, watermark: u64) -> Result<()> {
        let new = changes.into_iter().map(|change| match change {
            Change::Upsert(entry) => (entry.passage, Some(entry)),
            Change::Delete { passage } => (passage, None),
        });
        let new: Pending = new.collect();
        let rows = self.rows_after(&new);
        let spec = self.spec.clone();
        table::check_size(self.connection()?, &spec, rows)?;
        self.pending.extend(new);
        self.applied = watermark;
        self.count();
        while self.pending.len() >= BATCH {
            self.write_batch()?;
        }
        Ok(())
    }

    /// How many rows there are with these changes.
    fn rows_after(&self, new: &Pending) -> usize {
        let newer = |passage: &i64| new.contains_key(passage);
        let pending = self.pending.iter().filter(|(passage, _)| !newer(passage));
        let changed = pending.chain(new);
        changed.fold(self.known.len(), |rows, (passage, entry)| {
            match (self.known.contains_key(passage), entry.is_some()) {
                (false, true) => rows.saturating_add(1),
                (true, false) => rows.saturating_sub(1),
                (true, true) | (false, false) => rows,
            }
        })
    }

    fn count(&self) {
        let rows = self.rows_after(&Pending::new());
        self.shared.rows.store(rows, Ordering::Release);
    }

    /// Writes the first so many changes that wait, and the watermark with the
    /// last of them.
    fn write_batch(&mut self) -> Result<()> {
        // Connecting reads the entries again, so it comes before they are used.
        self.connection()?;
        let rest = match self.pending.keys().nth(BATCH).copied() {
            Some(first) => self.pending.split_off(&first),
            None => Pending::new(),
        };
        let batch = std::mem::replace(&mut self.pending, rest);
        let watermark = self.pending.is_empty().then_some(self.applied);
        let written = self.write(&batch, watermark);
        if let Err(error) = written {
            self.pending.extend(batch);
            self.connection = None;
            return Err(error);
        }
        for (passage, entry) in batch {
            match entry {
                Some(entry) => self.known.insert(passage, entry.embedding),
                None => self.known.remove(&passage),
            };
        }
        Ok(())
    }

    /// One transaction, without savepoints: the extension does not undo them.
    fn write(&mut self, batch: &Pending, watermark: Option<u64>) -> Result<()> {
        let known = std::mem::take(&mut self.known);
        let written = self.connection().and_then(|connection| {
            let transaction = connection.transaction()?;
            table::write(&transaction, batch, &known)?;
            if let Some(watermark) = watermark {
                sidecar::write_watermark(&transaction, watermark)?;
            }
            Ok(transaction.commit()?)
        });
        self.known = known;
        written
    }

    fn flush(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.write_batch()?;
        }
        let applied = self.applied;
        let connection = self.connection()?;
        let flush = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            sidecar::write_watermark(&transaction, applied)?;
            table::write_crc(&transaction)?;
            transaction.commit()?;
            sidecar::checkpoint(connection)
        };
        let flushed = flush(connection);
        self.or_reconnect(flushed)?;
        self.shared.durable.store(applied, Ordering::Release);
        Ok(())
    }

    /// Closes the connection after an error that may have broken it.
    fn or_reconnect<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(Error::loses_connection) {
            self.connection = None;
        }
        result
    }

    fn stats(&self) -> Stats {
        let index = table::index_bytes(&self.spec, self.known.len());
        let pending = table::index_bytes(&self.spec, self.pending.len());
        let known = KNOWN_BYTES.saturating_mul(self.known.len() as u64);
        let held = [pending, known, CACHE_BYTES];
        Stats {
            entries: self.rows_after(&Pending::new()) as u64,
            dead: 0,
            file_bytes: self.sidecar.bytes(),
            memory_bytes: held.into_iter().fold(index, u64::saturating_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::limits::Limit;

    use super::super::tests::{available, extension};
    use super::*;
    use crate::error::ErrorKind;
    use crate::vector::Entry;
    use crate::vector::metric::Metric;

    /// The size is looked at before anything is taken in.
    #[test]
    fn changes_that_do_not_fit_change_nothing() {
        if !available() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let spec = Spec {
            database: [1; 16],
            model: [2; 32],
            dimensions: 2,
            metric: Metric::Dot,
        };
        let shared = Arc::new(Shared::default());
        let mut owner = Owner::open(folder.path(), &spec, &extension(), shared).expect("open");
        let connection = owner.connection().expect("open");
        let length = Limit::SQLITE_LIMIT_LENGTH;
        connection.set_limit(length, 1000).expect("lower");
        let entries = |passages: std::ops::Range<i64>| -> Vec<_> {
            let entry = |passage| {
                Change::Upsert(Entry {
                    passage,
                    embedding: passage,
                    vector: vec![1.0, 2.0],
                })
            };
            passages.map(entry).collect()
        };
        owner.apply(entries(1..51), 50).expect("fits");
        let error = owner.apply(entries(51..57), 56).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!((owner.stats().entries, owner.applied), (50, 50));
        owner.apply(entries(1..51), 50).expect("none of them new");
        let gone = vec![Change::Delete { passage: 1 }, Change::Delete { passage: 2 }];
        owner.apply(gone, 52).expect("less");
        owner.apply(entries(51..56), 57).expect("fits again");
        owner.flush().expect("written");
        assert_eq!(owner.stats().entries, 53);
    }
}
