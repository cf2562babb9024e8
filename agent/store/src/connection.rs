//! SQLite connections: how they are opened, and checked.
//!
//! Blocking. The writer has one, each reader has one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::{limits, schema};

/// Opens the file to write: makes, checks and migrates it as needed.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let unclean = has_log(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).map_err(Error::from);
    let ready = opened.and_then(|connection| prepare_writer(connection, unclean));
    ready.map_err(|error| error.with("path", &path.display()))
}

fn prepare_writer(mut connection: Connection, unclean: bool) -> Result<Connection> {
    prepare(&connection)?;
    if schema::check(&connection)? {
        connection.pragma_update(None, "page_size", limits::PAGE_SIZE)?;
        // Space of deleted rows goes back to the disk bit by bit.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Not for readers, whose pages are mapped and looked over each time they
    // are used: a search for words would take three times as long.
    connection.pragma_update(None, "cell_size_check", true)?;
    if unclean {
        // If it fails, the log stays as it is: the next to open the file must
        // see that it was never checked, and may be able to repair more.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        quick_check(&connection)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    }
    // What was deleted is overwritten, not only forgotten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -limits::WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", limits::JOURNAL_SIZE_MAX)?;
    connection.pragma_update(None, "wal_autocheckpoint", limits::CHECKPOINT_PAGES)?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the file to read, after the writer made sure that it is one of ours.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(limits::BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "mmap_size", limits::MAP_MAX)?;
    connection.set_prepared_statement_cache_capacity(limits::STATEMENTS_MAX);
    Ok(())
}

/// Whether a write-ahead log with content is beside the file: the last process
/// to use it did not close it.
fn has_log(path: &Path) -> bool {
    std::fs::metadata(log_of(path)).is_ok_and(|metadata| metadata.len() > 0)
}

/// The write-ahead log of a database.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

fn quick_check(connection: &Connection) -> Result<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!(
            "store failed its check after an unclean stop, found={found:?}; hint: restore a backup; what can be read can be saved with sqlite3 .recover"
        ),
    ))
}
