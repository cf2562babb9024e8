//! The control: the same text, vector and full-text index in SQLite, and
//! nothing of what makes a store: no ids, hashes, log of changes or vector
//! index.

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Material, PASSAGES};
use crate::vectors::clock::{Took, timed};
use crate::vectors::set::bytes_of;

/// One row a commit.
///
/// # Errors
/// It cannot be written.
pub(super) fn add(material: &Material, rows: usize) -> anyhow::Result<Took> {
    let (_folder, connection) = open()?;
    let (connection, took) = timed(|| {
        for row in 0..rows {
            insert(&connection, material, row)?;
        }
        Ok(connection)
    })?;
    drop(connection);
    Ok(took)
}

/// As many rows a commit as a document has passages.
///
/// # Errors
/// It cannot be written.
pub(super) fn bulk(material: &Material, rows: usize) -> anyhow::Result<Took> {
    let (_folder, mut connection) = open()?;
    let ((), took) = timed(|| {
        for first in (0..rows).step_by(PASSAGES) {
            let transaction = connection.transaction()?;
            for row in first..(first + PASSAGES).min(rows) {
                insert(&transaction, material, row)?;
            }
            transaction.commit()?;
        }
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    })?;
    Ok(took)
}

fn open() -> anyhow::Result<(TempDir, Connection)> {
    let folder = tempfile::tempdir()?;
    let connection = Connection::open(folder.path().join("bare.db"))?;
    connection.execute_batch(
        "PRAGMA page_size = 8192;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 4096;
         CREATE TABLE passage (rowid INTEGER PRIMARY KEY, text TEXT, vector BLOB);
         CREATE VIRTUAL TABLE words USING fts5 (
             text, content = 'passage', content_rowid = 'rowid',
             tokenize = 'unicode61 remove_diacritics 2'
         );
         CREATE TRIGGER added AFTER INSERT ON passage BEGIN
             INSERT INTO words (rowid, text) VALUES (new.rowid, new.text);
         END;",
    )?;
    Ok((folder, connection))
}

fn insert(connection: &Connection, material: &Material, row: usize) -> anyhow::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO passage (text, vector) VALUES (?1, ?2)")?;
    insert.execute((material.texts.get(row), bytes_of(material.vector(row))))?;
    Ok(())
}
