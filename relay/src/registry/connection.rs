//! One SQLite connection: how it is opened, checked, used and given up.
//!
//! Called only by the executor. Blocking.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::error::{Error, ErrorKind, Result};
use super::{limits, schema};

/// Where the registry's rows live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, with its log beside it. The folder must exist and be private.
    File(PathBuf),
    /// In memory, gone when closed: for tests and simulation.
    Memory,
}

/// The registry's connection, reopened after an I/O error.
#[derive(Debug)]
pub(super) struct Database {
    location: Location,
    /// `None` after an error that makes the connection untrustworthy.
    connection: Option<Connection>,
    /// `PRAGMA data_version` when last asked, of this connection only.
    data_version: Option<i64>,
}

impl Database {
    pub(super) fn open(location: Location) -> Result<Self> {
        let connection = connect(&location)?;
        // Before anything is read, so that no later change is missed.
        let data_version = Some(data_version(&connection)?);
        Ok(Self {
            location,
            connection: Some(connection),
            data_version,
        })
    }

    /// The connection, opened again if the last one was given up.
    pub(super) fn connection(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.location)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Runs `work` in a write transaction and commits only if it succeeds.
    pub(super) fn write<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let transaction = self
            .connection()?
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        let out = work(&transaction)?;
        transaction.commit().map_err(Error::from)?;
        Ok(out)
    }

    /// Whether another connection has committed since the last call.
    pub(super) fn changed(&mut self) -> Result<bool> {
        let now = data_version(self.connection()?)?;
        Ok(self.data_version.replace(now) != Some(now))
    }

    /// Gives the connection up if `error` says that it cannot be trusted.
    pub(super) fn judge(&mut self, error: &Error) {
        if error.loses_connection() && self.location != Location::Memory {
            tracing::warn!(error = %error, "registry connection given up, will reopen");
            self.connection = None;
            // The numbers of two connections cannot be compared.
            self.data_version = None;
        }
    }

    pub(super) fn close(self) -> Result<()> {
        let Some(connection) = self.connection else {
            return Ok(());
        };
        connection.close().map_err(|(_, error)| Error::from(error))
    }
}

fn connect(location: &Location) -> Result<Connection> {
    let (mut connection, unclean) = match location {
        Location::Memory => (Connection::open_in_memory()?, false),
        Location::File(path) => {
            let unclean = has_log(path);
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)
                .map_err(|error| at(location, error.into()))?;
            (connection, unclean)
        }
    };
    prepare(&mut connection, unclean).map_err(|error| at(location, error))?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, unclean: bool) -> Result<()> {
    connection.busy_timeout(limits::BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    schema::check(connection)?;
    if unclean {
        quick_check(connection)?;
    }
    use_log(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", limits::JOURNAL_SIZE_MAX)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Hashes of used and pruned secrets do not linger in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    schema::migrate(connection)
}

/// Turns the write-ahead log on, which lasts.
///
/// When several processes open a new file at once each of them tries, and
/// SQLite answers "busy" without waiting, lest they wait for each other. An
/// empty transaction does wait, until the others are done.
fn use_log(connection: &mut Connection) -> Result<()> {
    for _ in 0..limits::LOG_TRIES {
        let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") else {
            return Ok(());
        };
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
            return Err(error.into());
        }
        connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?
            .rollback()?;
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "registry is busy, others keep opening it, tries={}",
            limits::LOG_TRIES
        ),
    ))
}

/// Whether a write-ahead log with content is beside the file: the last process
/// to use it did not close it, or another one has it open right now. The two
/// look alike, and checking once too often is harmless.
fn has_log(path: &Path) -> bool {
    let mut log = OsString::from(path);
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0)
}

fn quick_check(connection: &Connection) -> Result<()> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("registry failed its check after an unclean stop, found={found:?}"),
    ))
}

fn data_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

/// Adds the file's name to an error about opening it.
fn at(location: &Location, error: Error) -> Error {
    match location {
        Location::File(path) => error.with("path", &path.display()),
        Location::Memory => error,
    }
}
