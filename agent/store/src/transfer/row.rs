//! A row of a transfer, as it is in the database and as what it means.

use ginnel_blob::hash::Hash;
use ginnel_proto::push::Upload;

use super::{Direction, Progress, State, Transfer, TransferId};
use crate::blob::path::BlobPath;
use crate::error::{Error, Result};

/// A row before it is understood.
pub(super) struct Row {
    id: i64,
    direction: String,
    artifact: String,
    path: String,
    blob: [u8; 32],
    size: u64,
    state: String,
    progress: Progress,
    upload: Option<Upload>,
    etag: Option<String>,
    attempts: u32,
    last_error: Option<String>,
    created_ms: u64,
    updated_ms: u64,
}

/// Asks for the columns that [`Row::read`] reads.
pub(super) fn select(which: &str) -> String {
    format!(
        "SELECT id, direction, artifact, path, blob, size, state, needed, reused, sent,
                upload, fence, part_size, etag, attempts, last_error, created_ms, updated_ms
         FROM transfer {which}"
    )
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let upload = match row.get::<_, Option<String>>(10)? {
            None => None,
            Some(id) => Some(Upload {
                id,
                fence: row.get(11)?,
                part_size: row.get(12)?,
            }),
        };
        Ok(Self {
            id: row.get(0)?,
            direction: row.get(1)?,
            artifact: row.get(2)?,
            path: row.get(3)?,
            blob: row.get(4)?,
            size: row.get(5)?,
            state: row.get(6)?,
            progress: Progress {
                needed: row.get(7)?,
                reused: row.get(8)?,
                sent: row.get(9)?,
            },
            upload,
            etag: row.get(13)?,
            attempts: row.get(14)?,
            last_error: row.get(15)?,
            created_ms: row.get(16)?,
            updated_ms: row.get(17)?,
        })
    }

    /// What it means.
    pub(super) fn transfer(self) -> Result<Transfer> {
        let id = TransferId(self.id);
        let corrupt =
            |reason: &str| Error::corrupt(format!("row cannot be read, {reason}, transfer={id}"));
        let (path, artifact) =
            BlobPath::parse(&self.path).map_err(|error| corrupt(&error.to_string()))?;
        if artifact.to_string() != self.artifact {
            return Err(corrupt("path is another artifact's"));
        }
        let direction = Direction::of_name(&self.direction);
        let state = State::of_name(&self.state);
        Ok(Transfer {
            id,
            direction: direction.ok_or_else(|| corrupt("direction"))?,
            artifact,
            path,
            blob: Hash::from_bytes(self.blob),
            size: self.size,
            state: state.ok_or_else(|| corrupt("state"))?,
            progress: self.progress,
            upload: self.upload,
            etag: self.etag,
            attempts: self.attempts,
            last_error: self.last_error,
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        })
    }
}
