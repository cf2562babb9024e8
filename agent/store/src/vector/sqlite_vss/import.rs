//! Reads the vectors of an existing `vss0` table, such as the Python package
//! makes. The extension is not needed, and never sees the file: where an index
//! is damaged, it would end the process.
//!
//! Flat indexes with ids can be read, which are the default. Of the others the
//! extension itself cannot give the vectors back.

pub mod texts;

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension};

use super::faiss::Flat;
use crate::error::{Error, ErrorKind, Result};
use crate::vector::metric::Metric;

/// Bytes of vectors that are read at once.
const BATCH_BYTES: usize = 8 << 20;

/// The rows of a table: each its rowid and its vector, in the index's order.
#[derive(Debug)]
pub struct Import {
    path: PathBuf,
    connection: Connection,
    index: String,
    column: i64,
    flat: Flat,
    /// Rows that the table has, and only they count: the index may still have
    /// some that were rolled back.
    rows: BTreeSet<i64>,
    lost: usize,
    /// How many vectors were read.
    read: usize,
    batch: VecDeque<Vec<f32>>,
    failed: bool,
}

/// Opens a column of a `vss0` table in a database file, which is not changed.
///
/// # Errors
/// The file, table or column is not there, or its index is damaged or not flat.
pub fn import(path: &Path, table: &str, column: &str) -> Result<Import> {
    let cannot = |reason| unreadable(path, &reason);
    let connection = open(path)?;
    let place = find(&connection, path, table, column)?;
    let index = format!("{table}_index");
    let blob = connection.blob_open(MAIN_DB, index.as_str(), "idx", place, true);
    let flat = Flat::read(blob.map_err(cannot)?)?;
    let rows = rows_of(&connection, table).map_err(cannot)?;
    let found: BTreeSet<_> = flat.rowids.iter().collect();
    let lost = rows.iter().filter(|row| !found.contains(row)).count();
    Ok(Import {
        path: path.to_owned(),
        connection,
        index,
        column: place,
        flat,
        rows,
        lost,
        read: 0,
        batch: VecDeque::new(),
        failed: false,
    })
}

fn open(path: &Path) -> Result<Connection> {
    if !path.is_file() {
        let text = format!("no such file, path={}", path.display());
        return Err(Error::new(ErrorKind::Missing, text));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|reason| unreadable(path, &reason))
}

fn rows_of(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<i64>> {
    let all = format!("SELECT rowid FROM {}", quoted(&format!("{table}_data")));
    let mut all = connection.prepare(&all)?;
    let rows = all.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// The file is not the store's, and neither is what is wrong with it.
fn unreadable(path: &Path, reason: &rusqlite::Error) -> Error {
    let code = reason.sqlite_error_code();
    let (kind, what) = match code {
        Some(ErrorCode::NotADatabase) => (ErrorKind::Invalid, "file is no SQLite database"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Unavailable,
            "database is locked by another program",
        ),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, "database is damaged"),
        _ => (ErrorKind::Unavailable, "database cannot be read"),
    };
    Error::new(
        kind,
        format!("{what}, path={}, reason={reason}", path.display()),
    )
}

impl Import {
    /// Values of each vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.flat.dimensions
    }

    /// What the table was made for: it does not know the cosine, so vectors of
    /// length 1 are likely meant for it.
    #[must_use]
    pub fn metric(&self) -> Metric {
        match self.flat.by_product {
            true => Metric::Dot,
            false => Metric::Euclidean,
        }
    }

    /// Rows of the table whose vectors are lost: of two writers at once the
    /// extension keeps those of one. They are left out.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost
    }

    fn fill(&mut self) -> Result<()> {
        let size = self.flat.dimensions.saturating_mul(4).max(1);
        let left = self.flat.rowids.len().saturating_sub(self.read);
        let count = (BATCH_BYTES / size).clamp(1, left.max(1));
        let mut bytes = vec![0; count.saturating_mul(size)];
        let skip = (self.read as u64).saturating_mul(size as u64);
        let blob =
            self.connection
                .blob_open(MAIN_DB, self.index.as_str(), "idx", self.column, true);
        let mut blob = blob.map_err(|reason| unreadable(&self.path, &reason))?;
        let start = SeekFrom::Start(self.flat.first.saturating_add(skip));
        let read = blob.seek(start).and_then(|_| blob.read_exact(&mut bytes));
        read.map_err(|reason| {
            Error::corrupt(format!(
                "index cannot be read, at={}, reason={reason}",
                self.read
            ))
        })?;
        let vectors = bytes.chunks_exact(size).map(|vector| {
            let (values, _) = vector.as_chunks();
            values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect()
        });
        self.batch.extend(vectors);
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(i64, Vec<f32>)>> {
        while let Some(rowid) = self.flat.rowids.get(self.read).copied() {
            if self.batch.is_empty() {
                self.fill()?;
            }
            self.read += 1;
            let vector = self.batch.pop_front();
            // Taken out, so that no row comes twice.
            if let Some(vector) = vector.filter(|_| self.rows.remove(&rowid)) {
                return Ok(Some((rowid, vector)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Import {
    type Item = Result<(i64, Vec<f32>)>;

    /// The next row. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// Which column of the table it is, counted from 0: that is the row that its
/// index is in.
fn find(connection: &Connection, path: &Path, table: &str, column: &str) -> Result<i64> {
    let select = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?";
    let sql: Option<String> = connection
        .query_row(select, [table], |row| row.get(0))
        .optional()
        .map_err(|reason| unreadable(path, &reason))?;
    let columns = sql.as_deref().and_then(columns).ok_or_else(|| {
        Error::new(
            ErrorKind::Missing,
            format!("no such vss0 table, table={table}"),
        )
    })?;
    let place = (0_i64..).zip(&columns).find(|(_, name)| *name == column);
    place.map(|(place, _)| place).ok_or_else(|| {
        let found = columns.join(" ");
        Error::new(
            ErrorKind::Missing,
            format!("no such column, table={table}, column={column}, found={found}"),
        )
    })
}

/// The columns of `CREATE VIRTUAL TABLE … USING vss0(a(384), b(3) factory="…")`:
/// what comes before the first parenthesis of each argument.
fn columns(sql: &str) -> Option<Vec<String>> {
    let lower = sql.to_ascii_lowercase();
    let (before, _) = lower.rsplit_once("vss0")?;
    before.trim_end().strip_suffix("using")?;
    let arguments = sql.get(before.len().checked_add(4)?..)?.trim();
    let arguments = arguments.strip_prefix('(')?;
    let mut columns = vec![String::new()];
    let (mut depth, mut quote, mut named) = (0_usize, None, false);
    for letter in arguments.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '(') => (depth, named) = (depth.saturating_add(1), true),
            (None, ')') if depth == 0 => break,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                columns.push(String::new());
                named = false;
            }
            (None, _) if named => {}
            (None, _) => columns.last_mut()?.push(letter),
        }
    }
    Some(columns.iter().map(|name| name.trim().to_owned()).collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "no database. ".repeat(100)).expect("written");
        for error in [
            import(&path, "a", "b").map(drop),
            texts::open(&path, "a", "b").map(drop),
        ] {
            let error = error.expect_err("no database");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let error = error.to_string();
            assert!(
                error.starts_with("file is no SQLite database, path="),
                "{error}"
            );
            assert!(error.contains("notes.txt"), "{error}");
        }
        let error = import(&folder.path().join("gone"), "a", "b").expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::Missing);
    }

    #[test]
    fn columns_are_found_in_the_statement() {
        let one = "CREATE VIRTUAL TABLE x USING vss0(headline(384))";
        assert_eq!(columns(one), Some(vec!["headline".to_owned()]));
        let many = "create virtual table \"vss0s\" using VSS0 ( a(3) factory=\"IVF4,Flat,IDMap2\",\n b (2) , c(1))";
        let found = columns(many).expect("columns");
        assert_eq!(found, ["a", "b", "c"]);
        assert_eq!(columns("CREATE TABLE x(a)"), None);
        assert_eq!(columns("CREATE VIRTUAL TABLE x USING vss0"), None);
    }
}
