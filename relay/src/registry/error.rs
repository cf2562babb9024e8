//! The registry's error: few kinds, each telling the caller what to do.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::{ErrorCode, ffi};

/// A result with the registry's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why the registry could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<rusqlite::Error>,
}

/// What the caller of the registry can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The disk or another writer is in the way: try again later.
    Unavailable,
    /// The file system or the pepper refuses: fix the deployment.
    Denied,
    /// The request makes no sense: fix the input.
    Invalid,
    /// Something of that name or id exists: choose another.
    Conflict,
    /// Stored rows are damaged: restore from a backup.
    Corrupt,
    /// A newer relay made the file: upgrade this one.
    Newer,
    /// The registry was closed.
    Closed,
    /// A mistake in the registry itself.
    Internal,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(super) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "registry is closed")
    }

    /// Adds a value at the end of the message.
    pub(super) fn with(mut self, name: &str, value: &dyn Display) -> Self {
        self.message.push_str(&format!(", {name}={value}"));
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// Whether the connection must not be used again: after a failed fsync
    /// SQLite and the kernel may disagree about what is on disk.
    pub(super) fn loses_connection(&self) -> bool {
        let code = self
            .source
            .as_ref()
            .and_then(rusqlite::Error::sqlite_error_code);
        matches!(
            code,
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        let (kind, message) = judge(&source);
        Self {
            kind,
            message: message.into(),
            source: Some(source),
        }
    }
}

fn judge(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    if let rusqlite::Error::FromSqlConversionFailure(..)
    | rusqlite::Error::IntegralValueOutOfRange(..)
    | rusqlite::Error::InvalidColumnType(..)
    | rusqlite::Error::Utf8Error(..) = error
    {
        return (ErrorKind::Corrupt, "registry row cannot be read");
    }
    let Some(failure) = error.sqlite_error() else {
        return (ErrorKind::Internal, "registry query is wrong");
    };
    if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY {
        return (ErrorKind::Invalid, "registry row refers to no other row");
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "SQLite's other codes are all mistakes in our own calls"
    )]
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (ErrorKind::Unavailable, "registry is busy")
        }
        ErrorCode::SystemIoFailure
        | ErrorCode::DiskFull
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "registry cannot be reached"),
        ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            (ErrorKind::Denied, "registry may not be written")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            (ErrorKind::Corrupt, "registry file is damaged")
        }
        ErrorCode::ConstraintViolation => (ErrorKind::Conflict, "registry row exists"),
        _ => (ErrorKind::Internal, "registry query failed"),
    }
}

/// Which stored value is being read: names the row when it is bad.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) table: &'static str,
    pub(super) row: &'a str,
}

impl Stored<'_> {
    /// Parses a name that was stored as text.
    pub(super) fn parse<T>(self, column: &'static str, text: &str) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        text.parse()
            .map_err(|reason: T::Err| self.corrupt(column, &reason))
    }

    /// Converts a stored value of the right SQL type and the wrong range.
    pub(super) fn convert<T, F>(self, column: &'static str, value: F) -> Result<T>
    where
        T: TryFrom<F>,
        T::Error: Display,
    {
        T::try_from(value).map_err(|reason| self.corrupt(column, &reason))
    }

    pub(super) fn corrupt(self, column: &'static str, reason: &dyn Display) -> Error {
        let Self { table, row } = self;
        Error::new(
            ErrorKind::Corrupt,
            format!(
                "registry row cannot be read, table={table}, row={row:?}, column={column}, reason={reason}"
            ),
        )
    }
}
