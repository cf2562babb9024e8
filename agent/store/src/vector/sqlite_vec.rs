//! The engine on `sqlite-vec`: a `vec0` table in a database file of its own,
//! compared row by row. For those who know that extension, and to compare with.
//!
//! Version 0.1.9 has no inner product, so an index of that metric is refused.
//! Filters are part of its search: `rowid IN (…)` is looked at before rows are
//! compared. Searches and changes wait for each other, since there is one
//! connection.

mod chunks;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::engine::Engine;
use super::exact::{check, check_changes, search_rows};
use super::metric::Metric;
use super::sidecar::{self, CACHE_BYTES, Sidecar, is_useless};
use super::{Change, Neighbour, Request, Rows, Spec, Stats, VectorIndex};
use crate::error::{Error, Result};

/// The most rows that `vec0` gives at once.
const ROWS_MAX: usize = 4096;

/// Rows asked for beyond those wanted, so that the last wanted one is nearly
/// always certain at the first try.
const SPARE: usize = 16;

/// An index in a `vec0` table.
#[derive(Debug)]
pub struct SqliteVec {
    spec: Spec,
    sidecar: Sidecar,
    /// None after a failure: the next call connects again.
    connection: Mutex<Option<Connection>>,
    durable: AtomicU64,
}

impl SqliteVec {
    /// Opens the index in a folder of its own, and makes an empty one if there
    /// is none, or none of these rows, or a damaged one.
    ///
    /// # Errors
    /// The metric is the inner product, or the folder cannot be written.
    pub fn open(folder: &Path, spec: &Spec) -> Result<Self> {
        if spec.metric == Metric::Dot {
            return Err(Error::invalid(
                "sqlite-vec has no inner product; hint: set store.vector_engine = \"scan\"",
            ));
        }
        let index = Self {
            spec: spec.clone(),
            sidecar: Sidecar::new(folder, spec, table::FORMAT)?,
            connection: Mutex::new(None),
            durable: AtomicU64::new(0),
        };
        let connection = match index.open_whole() {
            Ok(Some(connection)) => connection,
            Err(error) if !is_useless(&error) => return Err(error),
            Ok(None) | Err(_) => index.create()?,
        };
        *index.lock() = Some(connection);
        Ok(index)
    }

    /// What the file holds, if it is of these rows and whole.
    fn open_whole(&self) -> Result<Option<Connection>> {
        let connection = self.connect()?;
        if !self.sidecar.fits(&connection)? {
            return Ok(None);
        }
        let watermark = sidecar::watermark(&connection)?;
        if watermark == 0 || !chunks::are_whole(&connection)? {
            return Ok(None);
        }
        sidecar::checkpoint(&connection)?;
        self.durable.store(watermark, Ordering::Release);
        Ok(Some(connection))
    }

    /// An empty index in place of what there is.
    fn create(&self) -> Result<Connection> {
        self.durable.store(0, Ordering::Release);
        self.sidecar.remove()?;
        let mut connection = self.connect()?;
        let transaction = connection.transaction()?;
        self.sidecar.write_spec(&transaction)?;
        table::create(&transaction, &self.spec)?;
        transaction.commit()?;
        Ok(connection)
    }

    fn connect(&self) -> Result<Connection> {
        let connection = self.sidecar.connect()?;
        table::register(&connection)?;
        rusqlite::vtab::array::load_module(&connection)?;
        Ok(connection)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A connection that another thread left behind when it panicked has
        // rolled its transaction back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the connection, made again if the last use broke it.
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut slot = self.lock();
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let result = work(&mut connection);
        if !result.as_ref().is_err_and(Error::loses_connection) {
            *slot = Some(connection);
        }
        result
    }

    /// Asks for a few more rows than are wanted, and for more while it is not
    /// certain that none is missing.
    fn search_index(
        &self,
        request: Request<'_>,
        rows: &dyn Rows,
    ) -> Result<Option<Vec<Neighbour>>> {
        let mut limit = request.wanted.saturating_add(SPARE);
        loop {
            limit = limit.min(ROWS_MAX);
            let search = |connection: &mut Connection| {
                table::nearest(connection, self.spec.metric, request, limit)
            };
            let answer = self.with(search)?;
            let settled = answer.settle(&self.spec, request, rows)?;
            if settled.is_some() || limit == ROWS_MAX {
                return Ok(settled);
            }
            limit = limit.saturating_mul(4);
        }
    }
}

impl VectorIndex for SqliteVec {
    fn engine(&self) -> Engine {
        Engine::SqliteVec
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    fn apply(&self, changes: &[Change], watermark: u64) -> Result<()> {
        check_changes(&self.spec, changes)?;
        self.with(|connection| {
            let transaction = connection.transaction()?;
            table::apply(&transaction, changes)?;
            sidecar::write_watermark(&transaction, watermark)?;
            Ok(transaction.commit()?)
        })
    }

    fn search(&self, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>> {
        check(&self.spec, request)?;
        match self.search_index(request, rows)? {
            Some(neighbours) => Ok(neighbours),
            None => search_rows(&self.spec, request, rows),
        }
    }

    fn clear(&self) -> Result<()> {
        let mut slot = self.lock();
        *slot = None;
        *slot = Some(self.create()?);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.with(|connection| {
            sidecar::checkpoint(connection)?;
            let watermark = sidecar::watermark(connection)?;
            self.durable.store(watermark, Ordering::Release);
            Ok(())
        })
    }

    fn stats(&self) -> Result<Stats> {
        let (entries, dead) = self.with(|connection| chunks::count(connection))?;
        Ok(Stats {
            entries,
            dead,
            file_bytes: self.sidecar.bytes(),
            memory_bytes: CACHE_BYTES,
        })
    }
}

#[cfg(test)]
mod tests;
