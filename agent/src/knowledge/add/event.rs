//! What is told while files are added.

use ginnel_ingest::error::Error;
use serde::{Deserialize, Serialize};

/// Something that happened. One line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// How much there is to do.
    Counted {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A file is done.
    File {
        /// Where its documents come from.
        source: String,
        /// What became of it.
        outcome: FileOutcome,
        /// How many passages it has that it did not have before.
        #[serde(default)]
        passages: u64,
        /// Why it was skipped or failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// How many passages have got their vectors.
    Embedded {
        /// So many since this began.
        passages: u64,
        /// So many are left, about.
        left: u64,
    },
    /// Why it does not go on for now.
    Waiting {
        /// In words.
        problem: String,
    },
    /// All is done.
    Done(Summary),
    /// It ended early.
    Failed {
        /// In words.
        message: String,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOutcome {
    /// It is new.
    Added,
    /// It is known and differs.
    Changed,
    /// It is as it was.
    Unchanged,
    /// It is gone, or no text any more, and its documents with it.
    Removed,
    /// It is no text.
    Skipped,
    /// It could not be read; what is known of it stays, unless it is told as
    /// removed too.
    Failed,
}

/// All in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Files that are new.
    pub added: u64,
    /// Files that differed.
    pub changed: u64,
    /// Files that were as before.
    pub unchanged: u64,
    /// Files that are gone, or no text any more.
    pub removed: u64,
    /// Files that are no text.
    pub skipped: u64,
    /// Files that could not be read.
    pub failed: u64,
    /// Passages that are new.
    pub passages: u64,
    /// Texts that the model gave no vector of; they are found by words.
    #[serde(default)]
    pub without_vectors: u64,
    /// Why vectors are still missing, if so. They are made later; until then
    /// words are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Documents that went with their files, or are not in them any more.
    pub documents_removed: u64,
    /// The number of the last change.
    #[serde(skip)]
    pub last_change: i64,
}

impl Event {
    /// A file that is as it was.
    pub(in crate::knowledge) fn unchanged(source: String) -> Self {
        Self::file(source, FileOutcome::Unchanged)
    }

    /// A file, or a part of one, that gave no document.
    pub(in crate::knowledge) fn of_error(source: String, error: &Error) -> Self {
        let reason = error.reason().to_owned();
        match error.is_skip() {
            true => Self::skipped(source, reason),
            false => Self::failed(source, reason),
        }
    }

    /// A file that became this.
    #[must_use]
    pub fn file(source: String, outcome: FileOutcome) -> Self {
        Self::File {
            source,
            outcome,
            passages: 0,
            reason: None,
        }
    }

    /// A file that could not be read.
    #[must_use]
    pub fn failed(source: String, reason: String) -> Self {
        Self::File {
            source,
            outcome: FileOutcome::Failed,
            passages: 0,
            reason: Some(reason),
        }
    }

    /// A file that is no text.
    #[must_use]
    pub fn skipped(source: String, reason: String) -> Self {
        Self::File {
            source,
            outcome: FileOutcome::Skipped,
            passages: 0,
            reason: Some(reason),
        }
    }
}

impl Summary {
    /// Counts what happened.
    pub fn count(&mut self, event: &Event) {
        let Event::File {
            outcome, passages, ..
        } = event
        else {
            return;
        };
        self.passages += passages;
        let count = match outcome {
            FileOutcome::Added => &mut self.added,
            FileOutcome::Changed => &mut self.changed,
            FileOutcome::Unchanged => &mut self.unchanged,
            FileOutcome::Removed => &mut self.removed,
            FileOutcome::Skipped => &mut self.skipped,
            FileOutcome::Failed => &mut self.failed,
        };
        *count += 1;
    }

    /// Whether anything is different from before.
    #[must_use]
    pub fn changed_anything(&self) -> bool {
        self.added + self.changed + self.removed > 0
    }
}
