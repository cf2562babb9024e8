//! The texts that an application keeps beside its vectors, in a table of the
//! same file. Nobody has looked after them: anything may stand there.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{quoted, unreadable};
use crate::error::{Error, ErrorKind, Result};

/// The texts that stand beside the vectors, in a table of the same file.
#[derive(Debug)]
pub struct Texts {
    path: PathBuf,
    connection: Connection,
    find: String,
}

/// Opens the texts of a database file, which is not changed. A text belongs to
/// the vector of the same rowid.
///
/// # Errors
/// The file, table or column is not there.
pub fn open(path: &Path, table: &str, column: &str) -> Result<Texts> {
    let connection = super::open(path)?;
    let column = quoted(column);
    let table = quoted(table);
    // With its table, since SQLite takes a quoted name of no column for a text.
    let find = format!("SELECT {table}.{column} FROM {table} WHERE {table}.rowid = ?1");
    connection
        .prepare(&find)
        .map_err(|reason| match reason.sqlite_error_code() {
            // What SQLite says of a statement with names that are not there.
            None | Some(ErrorCode::Unknown) => Error::invalid(format!(
                "texts cannot be read, table={table}, column={column}, reason={reason}"
            )),
            Some(_) => unreadable(path, &reason),
        })?;
    Ok(Texts {
        path: path.to_owned(),
        connection,
        find,
    })
}

/// What stands in the place of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A text.
    Text(String),
    /// Nothing, or there is no such row.
    Empty,
    /// Something else, or what is no proper text, for this reason.
    NoText(String),
}

impl Texts {
    /// What stands in a row.
    ///
    /// # Errors
    /// The file cannot be read. What is wrong with this row alone is no error.
    pub fn text(&self, rowid: i64) -> Result<Place> {
        let read = || {
            let mut find = self.connection.prepare_cached(&self.find)?;
            find.query_row([rowid], |row| Ok(place(row.get_ref(0)?)))
                .optional()
        };
        match read() {
            Ok(found) => Ok(found.unwrap_or(Place::Empty)),
            Err(reason) => {
                let error = unreadable(&self.path, &reason);
                match error.kind() == ErrorKind::Corrupt {
                    // Pages of other rows may be whole.
                    true => Ok(Place::NoText(error.to_string())),
                    false => Err(error),
                }
            }
        }
    }
}

fn place(value: ValueRef<'_>) -> Place {
    let no_text = |what: &str| Place::NoText(format!("{what} stands where a text should"));
    match value {
        ValueRef::Null => Place::Empty,
        ValueRef::Integer(_) | ValueRef::Real(_) => no_text("a number"),
        ValueRef::Blob(_) => no_text("a blob"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Place::Text(text.to_owned()),
            Err(error) => Place::NoText(format!("text is not UTF-8, byte={}", error.valid_up_to())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_for_its_row_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("old.db");
        let connection = Connection::open(&path).expect("made");
        let made = connection.execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, body);
             INSERT INTO t VALUES (1, 'ä text'), (2, 7), (3, 7.5), (4, x'00'),
                (5, CAST(x'616263ff' AS TEXT)), (6, NULL), (7, '');",
        );
        made.expect("written");
        let texts = open(&path, "t", "body").expect("there");
        let found = |row| texts.text(row).expect("read");
        let text = |text: &str| Place::Text(text.to_owned());
        let no_text = |text: &str| Place::NoText(text.to_owned());
        assert_eq!(found(1), text("ä text"));
        for row in [2, 3] {
            assert_eq!(found(row), no_text("a number stands where a text should"));
        }
        assert_eq!(found(4), no_text("a blob stands where a text should"));
        assert_eq!(found(5), no_text("text is not UTF-8, byte=3"));
        assert_eq!((found(6), found(7)), (Place::Empty, text("")));
        assert_eq!(found(8), Place::Empty);
    }

    #[test]
    fn tables_without_rows_by_number_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("old.db");
        let connection = Connection::open(&path).expect("made");
        let made = connection.execute_batch(
            "CREATE TABLE t (id TEXT PRIMARY KEY, body) WITHOUT ROWID; CREATE TABLE u (a)",
        );
        made.expect("written");
        for (table, column) in [("t", "body"), ("u", "body"), ("v", "body")] {
            let error = open(&path, table, column).expect_err("not there");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let error = error.to_string();
            assert!(error.starts_with("texts cannot be read"), "{error}");
        }
    }
}
