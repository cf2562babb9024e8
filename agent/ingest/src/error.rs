//! Why a file does not become a document.

use serde::{Deserialize, Serialize};

/// What is wrong with one file, or one line of it. The others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", named(item))]
pub struct Error {
    kind: ErrorKind,
    reason: String,
    /// Empty as long as nobody has said which item it is.
    item: String,
}

/// What the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The system does not give the file out; later it may.
    Unreadable,
    /// Not a kind of file that has text for us, such as a picture. Skip it;
    /// nothing is broken.
    Unsupported,
    /// It has no text. Skip it; nothing is broken.
    Empty,
    /// It is not what it says it is, or broken. Its owner can mend it.
    Invalid,
    /// Over one of the limits in [`crate::limits`].
    TooLarge,
    /// It was written to whenever it was read. Try again later.
    Changing,
}

impl Error {
    /// `reason` in lower case, values last.
    #[must_use]
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            item: String::new(),
        }
    }

    /// Says which file or line it is about, if nobody has yet.
    #[must_use]
    pub fn of(mut self, item: impl Into<String>) -> Self {
        if self.item.is_empty() {
            self.item = item.into();
        }
        self
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without the item.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The file or line: a name, or `NAME:LINE`.
    #[must_use]
    pub fn item(&self) -> &str {
        &self.item
    }

    /// Whether nothing is broken: the file is merely none for us.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        match self.kind {
            ErrorKind::Unsupported | ErrorKind::Empty => true,
            ErrorKind::Unreadable
            | ErrorKind::Invalid
            | ErrorKind::TooLarge
            | ErrorKind::Changing => false,
        }
    }
}

fn named(item: &str) -> String {
    if item.is_empty() {
        return String::new();
    }
    format!(", item={item}")
}
