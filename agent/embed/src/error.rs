//! What can go wrong, by what the caller can do about it.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why a model was not opened, or texts were not embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the folder could not be read: look at its path and rights.
    #[error("cannot read a file of the model, file={}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder is damaged, or of a model that this crate would not compute
    /// as it was meant: another folder is needed.
    #[error("{what}, file={}, expected={expected}, found={found}", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What would have been right.
        expected: String,
        /// What is there instead, shortened.
        found: String,
    },
    /// The model gave infinity or no number for a text.
    #[error("embedding is not finite, text={text}")]
    NotFinite {
        /// Which of the texts, counted from 0.
        text: usize,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

/// The longest value shown of what was found in a file, in characters.
const FOUND_MAX: usize = 120;

impl Error {
    pub(crate) fn read(file: &Path, source: io::Error) -> Self {
        let file = file.to_owned();
        Self::Read { file, source }
    }

    /// `found` comes from a file, so it is shown in one line and not at any
    /// length.
    pub(crate) fn unfit(
        file: &Path,
        what: impl Into<String>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        let found = found.to_string();
        let mut shown: String = found.chars().take(FOUND_MAX).collect();
        if shown.len() < found.len() {
            shown.push('…');
        }
        Self::Unfit {
            file: file.to_owned(),
            what: what.into(),
            expected: expected.to_string(),
            found: shown.escape_debug().collect(),
        }
    }
}
