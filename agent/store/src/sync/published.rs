//! All shared rows as one plain database, for the bucket: written in place, so
//! that only pages change in which something did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::SCHEMA;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{outgoing, peers};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// How far the published database has followed the changes.
pub(super) const CURSOR: &str = "published";

/// `application_id` of the file: "GNLK".
const APPLICATION_ID: i32 = 0x474e_4c4b;

const TABLES_SQL: &str = include_str!("../../migrations/published.sql");

/// The columns of each of [`outgoing::TABLES`].
pub(super) const COLUMNS: [&str; 4] = [
    "id, name, dimensions, metric, hlc, origin, deleted, extra",
    "id, collection, source, title, mime, content_hash, metadata, hlc, origin, deleted, extra",
    "id, document_id, revision, position, byte_start, byte_end, text, text_hash, hlc, origin, deleted, extra",
    "text_hash, model, vector, hlc, origin, deleted, extra",
];

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The last batch of each device that is in it.
    pub read: BTreeMap<DeviceName, u64>,
    /// The last change of this store that is in it.
    pub change: i64,
    /// In bytes.
    pub bytes: u64,
}

/// Brings the database at `path` up to what the store at `store` has, and makes
/// sure that it is whole. A damaged one is written anew.
pub(super) fn write(store: &Path, database: [u8; 16], path: &Path) -> Result<Published> {
    match update(store, database, path) {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
            tracing::info!(reason = %error, "the published database is written anew");
            remove(path)?;
            update(store, database, path)
        }
        written => written,
    }
}

fn update(store: &Path, database: [u8; 16], path: &Path) -> Result<Published> {
    let connection = open(path)?;
    let store = store
        .to_str()
        .ok_or_else(|| Error::invalid("path is not text"))?;
    let uri = format!("file:{}?mode=ro", escaped(store));
    connection.execute("ATTACH ?1 AS store", [uri])?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let database = data_encoding::HEXLOWER.encode(&database);
    let from = followed(&connection, &database)?;
    let change = last_change(&connection)?;
    match from {
        Some(from) => follow(&connection, from)?,
        None => copy(&connection)?,
    }
    let read = peers::without_gaps(&connection, "store")?;
    about(&connection, "schema", &SCHEMA.major.to_string())?;
    about(&connection, "database", &database)?;
    about(&connection, "change", &change.to_string())?;
    let as_json = serde_json::to_string(&read).unwrap_or_default();
    about(&connection, "read", &as_json)?;
    connection.execute_batch("COMMIT; DETACH store")?;
    check(&connection)?;
    connection.close().map_err(|(_, error)| error)?;
    let bytes = std::fs::metadata(path);
    Ok(Published {
        read,
        change,
        bytes: bytes.map_err(|error| Error::file(path, error))?.len(),
    })
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(limits::BUSY_TIMEOUT)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(Error::invalid("not a published database"));
    }
    // No log beside it: the file alone is what is pushed. What a power cut
    // damages is found by the check, and written anew.
    connection.pragma_update(None, "page_size", limits::PAGE_SIZE)?;
    connection.pragma_update(None, "journal_mode", "TRUNCATE")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    if tables == 0 {
        connection.execute_batch(TABLES_SQL)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", i32::from(SCHEMA.major))?;
    }
    Ok(connection)
}

/// The last change that the file has; `None` if it has to be written anew: of
/// another store, or of before changes that are forgotten.
fn followed(connection: &Connection, database: &str) -> Result<Option<i64>> {
    let find = |key: &str| -> Result<Option<String>> {
        let mut find = connection.prepare_cached("SELECT value FROM about WHERE key = ?1")?;
        Ok(find.query_row([key], |row| row.get(0)).optional()?)
    };
    let is_ours = find("database")?.as_deref() == Some(database);
    let change = find("change")?.and_then(|change| change.parse::<i64>().ok());
    let Some(change) = change.filter(|_| is_ours) else {
        return Ok(None);
    };
    let first: Option<i64> =
        connection.query_row("SELECT min(seq) FROM store.change", [], |row| row.get(0))?;
    let last = last_change(connection)?;
    let has_all = first.is_none_or(|first| first <= change + 1) && change <= last;
    Ok(has_all.then_some(change))
}

fn last_change(connection: &Connection) -> Result<i64> {
    let last = "SELECT coalesce(max(seq), 0) FROM store.change";
    Ok(connection.query_row(last, [], |row| row.get(0))?)
}

fn copy(connection: &Connection) -> Result<()> {
    for (table, columns) in outgoing::TABLES.iter().zip(COLUMNS) {
        connection.execute(&format!("DELETE FROM main.{table}"), [])?;
        connection.execute(
            &format!(
                "INSERT INTO main.{table} (rowid, {columns})
                 SELECT rowid, {columns} FROM store.{table} ORDER BY rowid"
            ),
            [],
        )?;
    }
    Ok(())
}

fn follow(connection: &Connection, from: i64) -> Result<()> {
    for (table, columns) in outgoing::TABLES.iter().zip(COLUMNS) {
        let changed =
            format!("SELECT key FROM store.change WHERE seq > ?1 AND \"table\" = '{table}'");
        connection.execute(
            &format!("DELETE FROM main.{table} WHERE rowid IN ({changed})"),
            [from],
        )?;
        connection.execute(
            &format!(
                "INSERT INTO main.{table} (rowid, {columns})
                 SELECT rowid, {columns} FROM store.{table} WHERE rowid IN ({changed})
                 ORDER BY rowid"
            ),
            [from],
        )?;
    }
    Ok(())
}

fn about(connection: &Connection, key: &str, value: &str) -> Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO about (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?;
    put.execute([key, value])?;
    Ok(())
}

fn check(connection: &Connection) -> Result<()> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match &*found {
        "ok" => Ok(()),
        _ => Err(Error::corrupt(format!(
            "published database failed its check, found={found:?}"
        ))),
    }
}

fn remove(path: &Path) -> Result<()> {
    let journal = PathBuf::from(format!("{}-journal", path.display()));
    for path in [path, &journal] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(path, error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A path in a URI. <https://www.sqlite.org/uri.html>
pub(super) fn escaped(path: &str) -> String {
    path.replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23")
}
