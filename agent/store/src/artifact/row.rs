//! A row of the catalog, as it is in the database and as what it means.

use ginnel_blob::format::Format;
use ginnel_blob::hash::Hash;

use super::{Entry, LocalFile, Remote};
use crate::blob::path::BlobPath;
use crate::blob::stamp::Stamp;
use crate::error::{Error, Quoted, Result};

/// A row before it is understood.
pub(super) struct Row {
    name: String,
    path: String,
    file: Option<File>,
    remote: Option<Published>,
    is_pinned: bool,
    used_ms: u64,
    created_ms: u64,
}

struct File {
    stamp: Stamp,
    format: String,
    blob: Option<[u8; 32]>,
    bad: Option<Vec<u8>>,
}

struct Published {
    blob: [u8; 32],
    size: u64,
    etag: String,
    fence: Option<u64>,
}

/// Asks for the columns that [`Row::read`] reads.
pub(super) fn select(which: &str) -> String {
    format!(
        "SELECT name, path, size, mtime_ns, inode, format, blob, bad, remote_blob, remote_size,
                remote_etag, remote_fence, pinned, used_ms, created_ms
         FROM artifact {which}"
    )
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let file = match row.get::<_, Option<u64>>(2)? {
            None => None,
            Some(size) => Some(File {
                stamp: Stamp {
                    size,
                    mtime_ns: row.get(3)?,
                    inode: row.get::<_, i64>(4)?.cast_unsigned(),
                },
                format: row.get(5)?,
                blob: row.get(6)?,
                bad: row.get(7)?,
            }),
        };
        let remote = match row.get::<_, Option<[u8; 32]>>(8)? {
            None => None,
            Some(blob) => Some(Published {
                blob,
                size: row.get(9)?,
                etag: row.get(10)?,
                fence: row.get(11)?,
            }),
        };
        Ok(Self {
            name: row.get(0)?,
            path: row.get(1)?,
            file,
            remote,
            is_pinned: row.get(12)?,
            used_ms: row.get(13)?,
            created_ms: row.get(14)?,
        })
    }

    /// What it means.
    pub(super) fn entry(self) -> Result<Entry> {
        let corrupt = |reason: String| {
            let name = Quoted(&self.name);
            Error::corrupt(format!("row cannot be read, {reason}, artifact={name}"))
        };
        let (path, name) =
            BlobPath::parse(&self.path).map_err(|error| corrupt(error.to_string()))?;
        if name.to_string() != self.name {
            return Err(corrupt(format!("path is that of {name}")));
        }
        let file = match self.file {
            None => None,
            Some(file) => Some(LocalFile {
                stamp: file.stamp,
                format: format_of(&file.format)
                    .ok_or_else(|| corrupt(format!("format={}", Quoted(&file.format))))?,
                blob: file.blob.map(Hash::from_bytes),
                bad: file.bad,
            }),
        };
        Ok(Entry {
            name,
            path,
            file,
            remote: self.remote.map(|remote| Remote {
                blob: Hash::from_bytes(remote.blob),
                size: remote.size,
                etag: remote.etag,
                fence: remote.fence,
            }),
            is_pinned: self.is_pinned,
            used_ms: self.used_ms,
            created_ms: self.created_ms,
        })
    }
}

fn format_of(text: &str) -> Option<Format> {
    [Format::Safetensors, Format::Gguf, Format::Other]
        .into_iter()
        .find(|format| format.as_str() == text)
}
