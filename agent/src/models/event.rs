//! What is told of long work on models, as it goes: the lines of JSON that
//! the API and the command line give.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// How often progress is told: often enough for a bar.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Work on a file goes on.
    Progress {
        /// The artifact.
        name: String,
        /// Bytes that are done.
        bytes: u64,
        /// Of so many.
        of: u64,
    },
    /// A file was held to what is known of it.
    Verified(Verified),
    /// A file of another program that can be taken over.
    Found(Candidate),
    /// A file was taken over.
    Imported {
        /// The artifact.
        name: String,
        /// What it is called where it came from.
        origin: String,
        /// `reflink`, `hard link` or `copy`.
        how: String,
        /// Its size.
        bytes: u64,
    },
    /// Something could not be done; without a name, nothing more will.
    Failed {
        /// The artifact, or what it is called where it came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What happened, and what to do.
        message: String,
    },
    /// The end.
    Done {
        /// Artifacts that are as they should be.
        good: u64,
        /// Those that are not.
        bad: u64,
    },
}

impl Event {
    /// Whether it tells of a file that is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Verified(verified) if verified.outcome.is_good())
    }
}

/// What came of holding a file to what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The artifact.
    pub name: String,
    /// What it is.
    pub outcome: Outcome,
    /// Bytes of the file.
    pub bytes: u64,
    /// Chunks that it should have.
    pub chunks: u64,
    /// BLAKE3 of what it should be.
    pub blob: String,
    /// Which bytes are not as they should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<Range>,
    /// Bytes behind its end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra: u64,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Byte by byte what was read before.
    Whole,
    /// It was read for the first time, or taken as it is: what it is from now
    /// on is noted.
    Recorded,
    /// Its bytes are others, though nobody wrote to it.
    Damaged,
    /// Its bytes are others, and it was written to.
    Changed,
    /// It was damaged, and is whole again.
    Repaired,
}

impl Outcome {
    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_good(self) -> bool {
        match self {
            Self::Whole | Self::Recorded | Self::Repaired => true,
            Self::Damaged | Self::Changed => false,
        }
    }
}

/// Chunks in a row, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first chunk.
    pub first: u64,
    /// The last chunk.
    pub last: u64,
    /// The first byte.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
}

/// A file of another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is called there.
    pub origin: String,
    /// Where it is.
    pub path: String,
    /// What it would be called here; empty if it cannot be taken over.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// `safetensors`, `gguf` or `other`.
    pub format: String,
    /// There is an artifact of that name and size already.
    pub present: bool,
    /// Why it cannot be taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Tells how far the work on one file is, now and then.
pub(super) fn progress(
    events: mpsc::Sender<Event>,
    name: String,
    of: u64,
) -> impl FnMut(u64) + Send + 'static {
    let mut told: Option<Instant> = None;
    move |bytes| {
        if told.is_some_and(|told| told.elapsed() < TELL_EVERY) && bytes < of {
            return;
        }
        told = Some(Instant::now());
        let name = name.clone();
        // Nobody may listen any more; then the work is told to stop.
        let _ = events.blocking_send(Event::Progress { name, bytes, of });
    }
}
