//! The store's error: few kinds, each telling the caller what to do.

use std::fmt::{self, Display};

use rusqlite::{ErrorCode, ffi};

/// A result with the store's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Source>,
}

/// What a hint begins with.
const HINT: &str = "; hint: ";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A caller's text in a message: quoted, and of a long one only the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

/// Characters of a [`Quoted`] text: enough to tell which one it is.
const QUOTED_MAX: usize = 80;

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        let end = text.char_indices().nth(QUOTED_MAX).map(|(end, _)| end);
        let Some(beginning) = end.and_then(|end| text.get(..end)) else {
            return write!(f, "{text:?}");
        };
        write!(f, "{beginning:?}… ({} bytes)", text.len())
    }
}

/// What the caller of the store can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The disk or another program is in the way: try again later.
    Unavailable,
    /// The file system refuses: fix the permissions.
    Denied,
    /// The request makes no sense: fix the input.
    Invalid,
    /// There is nothing of that name or id.
    Missing,
    /// Stored bytes are damaged: restore from a backup, or rebuild if it is an
    /// index.
    Corrupt,
    /// A newer version of this program made the file: upgrade.
    Newer,
    /// The store was closed.
    Closed,
    /// A mistake in the store itself.
    Internal,
}

impl Error {
    /// An error of a kind.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// What a caller's own work on files met: it may succeed another time.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "store is closed")
    }

    /// A file that could not be used, and why.
    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let kind = if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        Self {
            kind,
            message: format!("{source}, path={}", path.display()),
            source: Some(Box::new(source)),
        }
    }

    /// The same for another caller, without what lies under it.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.kind, self.message.clone())
    }

    /// Adds a value at the end of the message, before a hint.
    pub(crate) fn with(mut self, name: &str, value: &dyn Display) -> Self {
        let end = self.message.find(HINT).unwrap_or(self.message.len());
        self.message.insert_str(end, &format!(", {name}={value}"));
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
    pub(crate) fn loses_connection(&self) -> bool {
        let source = self.source.as_ref();
        let sqlite = source.and_then(|source| source.downcast_ref::<rusqlite::Error>());
        matches!(
            sqlite.and_then(rusqlite::Error::sqlite_error_code),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        let (kind, message) = judge(&source);
        Self {
            kind,
            message,
            source: Some(Box::new(source)),
        }
    }
}

fn judge(error: &rusqlite::Error) -> (ErrorKind, String) {
    if let rusqlite::Error::FromSqlConversionFailure(..)
    | rusqlite::Error::IntegralValueOutOfRange(..)
    | rusqlite::Error::InvalidColumnType(..)
    | rusqlite::Error::Utf8Error(..) = error
    {
        return (
            ErrorKind::Corrupt,
            format!("row cannot be read, reason={error}"),
        );
    }
    let Some(failure) = error.sqlite_error() else {
        return (
            ErrorKind::Internal,
            format!("query is wrong, reason={error}"),
        );
    };
    if failure.extended_code == ffi::SQLITE_IOERR_CORRUPTFS {
        return (ErrorKind::Corrupt, "file system is damaged".to_owned());
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "SQLite's other codes are all mistakes in our own calls"
    )]
    let (kind, message) = match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            ErrorKind::Unavailable,
            "store is locked by another program; hint: close it, or wait until it is done",
        ),
        ErrorCode::DiskFull => (
            ErrorKind::Unavailable,
            "disk is full; hint: make room and try again, nothing was lost",
        ),
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory => {
            (ErrorKind::Unavailable, "store cannot be read or written")
        }
        ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            (ErrorKind::Denied, "store may not be written")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (
            ErrorKind::Corrupt,
            "store file is damaged; hint: ginnel store check tells more",
        ),
        ErrorCode::TooBig => (ErrorKind::Invalid, "row is too large"),
        ErrorCode::OperationInterrupted => (ErrorKind::Unavailable, "search was cancelled"),
        _ => (ErrorKind::Internal, "query failed"),
    };
    let (what, hint) = message.split_at(message.find(HINT).unwrap_or(message.len()));
    (kind, format!("{what}, reason={error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_not_repeated() {
        let quoted = |text: &str| Quoted(text).to_string();
        let whole = "é".repeat(80);
        assert_eq!(quoted(&whole), format!("\"{whole}\""));
        let long = "é".repeat(81);
        assert_eq!(quoted(&long), format!("\"{whole}\"… (162 bytes)"));
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
    }

    #[test]
    fn values_stand_before_the_hint() {
        let error = Error::invalid("disk is full; hint: make room").with("path", &"/x");
        assert_eq!(error.to_string(), "disk is full, path=/x; hint: make room");
        let error = Error::invalid("no such row")
            .with("row", &7)
            .with("of", &"a");
        assert_eq!(error.to_string(), "no such row, row=7, of=a");
        let busy = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
        let message = Error::from(busy).to_string();
        assert!(message.ends_with("wait until it is done"), "{message}");
    }
}
