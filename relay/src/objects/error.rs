//! What went wrong with the bucket, and what the caller can do.

use std::fmt;

use object_store::path::Path;

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the bucket did not do what it was asked.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object is not what the condition says: read it again. Also told if
    /// the request was done but its answer was lost, and it was sent again.
    Changed,
    /// There is no such object or upload.
    Missing,
    /// The bucket refuses the relay: its operator has to mend that.
    Denied,
    /// The bucket cannot be reached or fails: try again later.
    Unavailable,
    /// Something in the bucket is not as it should be, and will not get better.
    Invalid,
}

impl Error {
    /// An error about the object with that key.
    #[must_use]
    pub fn new(kind: ErrorKind, what: impl fmt::Display, key: &Path) -> Self {
        let message = format!("{what}, key={key}");
        Self { kind, message }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The bucket's own error, while it did `what`.
    pub(super) fn of(error: object_store::Error, what: &'static str, key: &Path) -> Self {
        use object_store::Error as E;
        let kind = if matches!(error, E::NotFound { .. }) {
            ErrorKind::Missing
        } else if matches!(
            error,
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. }
        ) {
            ErrorKind::Changed
        } else if matches!(
            error,
            E::PermissionDenied { .. } | E::Unauthenticated { .. }
        ) {
            ErrorKind::Denied
        } else if matches!(error, E::Generic { .. } | E::JoinError { .. }) {
            of_cause(&error)
        } else {
            ErrorKind::Invalid
        };
        Self::new(kind, format_args!("{what}: {}", chain(&error)), key)
    }
}

/// A missing upload and a full disk reach us as something generic.
fn of_cause(error: &object_store::Error) -> ErrorKind {
    let text = chain(error);
    if text.contains("NoSuchUpload") || text.contains("MultipartUpload not found") {
        return ErrorKind::Missing;
    }
    if text.contains("PreconditionFailed") || text.contains("ConditionalRequestConflict") {
        return ErrorKind::Changed;
    }
    // 400 and its kin will not be better next time.
    let is_refused = [
        "InvalidPart",
        "EntityTooSmall",
        "InvalidRequest",
        "NotImplemented",
    ];
    if is_refused.iter().any(|code| text.contains(code)) {
        return ErrorKind::Invalid;
    }
    ErrorKind::Unavailable
}

/// The error and its causes, as far as they say something new.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // Answers of servers may be long, and have lines.
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.floor_char_boundary(MESSAGE_MAX);
    line.get(..end).unwrap_or_default().to_owned()
}

/// The longest text that is taken over from a bucket, in bytes.
const MESSAGE_MAX: usize = 600;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
