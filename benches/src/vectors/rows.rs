//! Rows of vectors in SQLite, set up as the store's are: what an engine reads
//! its last candidates from.

use std::ops::ControlFlow;
use std::path::Path;

use ginnel_store::error::Result;
use ginnel_store::vector::{EntryRef, Rows};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::set::{Vectors, bytes_of, values};

/// Rows in a transaction when many are added.
pub const BATCH: usize = 10_000;

/// Bytes of a page: one holds several vectors, or one with little waste.
const PAGE_BYTES: u32 = 8192;

/// Bytes of the file that are mapped, rather than copied page by page.
const MAPPED_BYTES: i64 = 4 << 30;

/// A connection to the rows. The passage of a row, and its embedding, count
/// from 1.
#[derive(Debug)]
pub struct RowFile {
    connection: Connection,
}

impl RowFile {
    /// Opens the file, or makes an empty one.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS embedding (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        )?;
        Ok(Self { connection })
    }

    /// Adds all vectors.
    ///
    /// # Errors
    /// SQLite fails, or they cannot be read.
    pub fn fill(&mut self, base: &Vectors) -> anyhow::Result<()> {
        let mut pending = 0;
        self.connection.execute_batch("BEGIN")?;
        base.each(|row, vector| {
            self.insert(i64::try_from(row)? + 1, vector)?;
            pending += 1;
            if pending == BATCH {
                pending = 0;
                self.connection.execute_batch("COMMIT; BEGIN")?;
            }
            Ok(())
        })?;
        self.connection
            .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    /// Adds one; outside of a transaction it is on disk afterwards.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn insert(&self, id: i64, vector: &[f32]) -> rusqlite::Result<()> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO embedding VALUES (?, ?)")?;
        insert.execute((id, bytes_of(vector)))?;
        Ok(())
    }
}

impl Rows for RowFile {
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let mut select = self
            .connection
            .prepare_cached("SELECT vector FROM embedding WHERE id = ?")?;
        for (at, id) in embeddings.iter().enumerate() {
            let found = select.query_row([id], |row| vector_of(row, 0)).optional()?;
            if let Some(vector) = found {
                each(at, &vector);
            }
        }
        Ok(())
    }

    fn entries(&self, each: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>) -> Result<()> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, vector FROM embedding ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (id, vector) = (row.get(0)?, vector_of(row, 1)?);
            let entry = EntryRef {
                passage: id,
                embedding: id,
                vector: &vector,
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn vector_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<f32>> {
    Ok(values(row.get_ref(column)?.as_blob()?))
}
