//! The catalog of artifacts: which ones are here, which are published, and
//! whether both are the same.
//!
//! Names are those of [`ginnel_proto::artifact`]; files lie where
//! [`crate::blob`] says. Whoever changes a file notes it here; a file whose
//! [`Stamp`] is no longer the noted one was changed by someone else and has
//! to be read again.

mod row;

use ginnel_blob::format::Format;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;
use ginnel_proto::artifact::Artifact;
use rusqlite::{Connection, OptionalExtension};

use crate::Store;
use crate::blob::path::BlobPath;
use crate::blob::stamp::Stamp;
use crate::error::{Error, ErrorKind, Quoted, Result};
use crate::limits::{ARTIFACTS_MAX, ETAG_MAX};
use crate::write::Turn;

/// An artifact that is here, published, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Artifact,
    /// Where its file is or would be.
    pub path: BlobPath,
    /// Its file, if it has one here.
    pub file: Option<LocalFile>,
    /// What is published under its name, as far as this device knows.
    pub remote: Option<Remote>,
    /// It is never taken away to make room.
    pub is_pinned: bool,
    /// When it was last used, milliseconds since 1970.
    pub used_ms: u64,
    /// When it came into the catalog, milliseconds since 1970.
    pub created_ms: u64,
}

/// An artifact's file as it was when it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// What tells whether it is still the same.
    pub stamp: Stamp,
    /// Its kind.
    pub format: Format,
    /// The hash of its bytes; `None` until all were read.
    pub blob: Option<Hash>,
    /// Chunks of that blob which were found damaged in the file since, a bit
    /// each, see [`Chosen`]. `None` if nothing is known to be.
    pub bad: Option<Vec<u8>>,
}

/// What is published under an artifact's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The hash of its bytes.
    pub blob: Hash,
    /// In bytes.
    pub size: u64,
    /// The bucket's name for those bytes.
    pub etag: String,
    /// Which push of the artifact it is, if that was told.
    pub fence: Option<u64>,
}

/// How an artifact's file and what is published belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is only here.
    Local,
    /// The file is what is published.
    Synced,
    /// The file is another than what is published, or it is not known to be
    /// the same.
    Changed,
    /// It is only published.
    Remote,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Synced => "synced",
            Self::Changed => "changed",
            Self::Remote => "remote",
        }
    }
}

impl Entry {
    /// How file and published bytes belong together, by what the catalog
    /// knows: a file that was changed since it was read counts as it was.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.file, &self.remote) {
            (Some(_), None) => State::Local,
            (Some(file), Some(remote)) if file.blob == Some(remote.blob) => State::Synced,
            (Some(_), Some(_)) => State::Changed,
            (None, _) => State::Remote,
        }
    }
}

impl LocalFile {
    /// A file of which only the header was read.
    #[must_use]
    pub fn unread(stamp: Stamp, format: Format) -> Self {
        Self {
            stamp,
            format,
            blob: None,
            bad: None,
        }
    }

    /// A file that has these bytes.
    #[must_use]
    pub fn read(stamp: Stamp, format: Format, blob: Hash) -> Self {
        Self {
            blob: Some(blob),
            ..Self::unread(stamp, format)
        }
    }

    /// The chunks that were found damaged, of as many as its blob has.
    #[must_use]
    pub fn bad_chunks(&self, index: &ChunkIndex) -> Option<Chosen> {
        let bits = self.bad.as_ref()?;
        Chosen::decode(bits, index.chunks().len())
    }
}

impl Store {
    /// All artifacts, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn artifacts(&self) -> Result<Vec<Entry>> {
        self.inner.readers.run(list).await
    }

    /// An artifact, if the catalog has it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn artifact(&self, name: Artifact) -> Result<Option<Entry>> {
        let find = move |connection: &_| find(connection, &name);
        self.inner.readers.run(find).await
    }

    /// Notes an artifact's file, new or changed, and where its blob is cut if
    /// that is known. What is noted of what is published stays.
    ///
    /// # Errors
    /// `Invalid`: another artifact's path is the same but for case, the index
    /// is another blob's, or the catalog is full.
    pub async fn keep_artifact_file(
        &self,
        name: Artifact,
        file: LocalFile,
        index: Option<ChunkIndex>,
    ) -> Result<()> {
        let keep = move |turn: &mut Turn<'_>| keep_file(turn, &name, &file, index.as_ref());
        self.inner.writer.run(keep).await
    }

    /// Notes that an artifact has no file here any more. Without anything
    /// published, the artifact is forgotten.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn drop_artifact_file(&self, name: Artifact) -> Result<()> {
        let drop = move |turn: &mut Turn<'_>| drop_file(turn, &name);
        self.inner.writer.run(drop).await
    }

    /// Notes what is published under a name, and where that is cut if it is
    /// known.
    ///
    /// # Errors
    /// As [`Store::keep_artifact_file`].
    pub async fn keep_artifact_remote(
        &self,
        name: Artifact,
        remote: Remote,
        index: Option<ChunkIndex>,
    ) -> Result<()> {
        let keep = move |turn: &mut Turn<'_>| {
            keep_remote(turn, &name, &remote)?;
            keep_index(turn, remote.blob, index.as_ref())
        };
        self.inner.writer.run(keep).await
    }

    /// Notes that nothing is published under a name. Without a file here, the
    /// artifact is forgotten.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn drop_artifact_remote(&self, name: Artifact) -> Result<()> {
        let drop = move |turn: &mut Turn<'_>| drop_remote(turn, &name);
        self.inner.writer.run(drop).await
    }

    /// Forgets an artifact. Tells whether it was there.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_artifact(&self, name: Artifact) -> Result<bool> {
        let forget = move |turn: &mut Turn<'_>| forget(turn, &name);
        self.inner.writer.run(forget).await
    }

    /// Sets whether an artifact may be taken away to make room.
    ///
    /// # Errors
    /// `Missing` if there is no such artifact.
    pub async fn pin_artifact(&self, name: Artifact, is_pinned: bool) -> Result<()> {
        let pin = move |turn: &mut Turn<'_>| pin(turn, &name, is_pinned);
        self.inner.writer.run(pin).await
    }

    /// Notes that an artifact is used now. One that is not there is passed
    /// over.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn use_artifact(&self, name: Artifact) -> Result<()> {
        let touch = move |turn: &mut Turn<'_>| touch(turn, &name);
        self.inner.writer.run(touch).await
    }

    /// Notes which chunks of an artifact's file are damaged, none with `None`.
    ///
    /// # Errors
    /// `Missing` if there is no such file.
    pub async fn mark_artifact(&self, name: Artifact, bad: Option<Chosen>) -> Result<()> {
        let mark = move |turn: &mut Turn<'_>| mark(turn, &name, bad.as_ref());
        self.inner.writer.run(mark).await
    }

    /// Where a blob is cut, if it is known of any artifact or transfer.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn chunk_index(&self, blob: Hash) -> Result<Option<ChunkIndex>> {
        let find = move |connection: &_| index_of(connection, blob);
        self.inner.readers.run(find).await
    }
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<Entry>> {
    let mut find = connection.prepare_cached(&row::select("ORDER BY name"))?;
    let rows = find.query_map([], row::Row::read)?;
    rows.map(|row| row?.entry()).collect()
}

pub(crate) fn find(connection: &Connection, name: &Artifact) -> Result<Option<Entry>> {
    let mut find = connection.prepare_cached(&row::select("WHERE name = ?1"))?;
    let found = find.query_row([name.to_string()], row::Row::read);
    found.optional()?.map(row::Row::entry).transpose()
}

pub(crate) fn keep_file(
    turn: &mut Turn<'_>,
    name: &Artifact,
    file: &LocalFile,
    index: Option<&ChunkIndex>,
) -> Result<()> {
    if let Some(index) = index
        && (file.blob != Some(index.blob()) || file.stamp.size != index.size())
    {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("chunk index is another blob's, name={name}"),
        ));
    }
    let path = path_for(turn, name)?;
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO artifact
             (name, path, size, mtime_ns, inode, format, blob, bad, used_ms, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
         ON CONFLICT (name) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
             inode = excluded.inode, format = excluded.format, blob = excluded.blob,
             bad = excluded.bad",
    )?;
    keep.execute((
        name.to_string(),
        path.as_str(),
        file.stamp.size,
        file.stamp.mtime_ns,
        file.stamp.inode.cast_signed(),
        file.format.as_str(),
        file.blob.as_ref().map(Hash::as_bytes),
        &file.bad,
        turn.now(),
    ))?;
    if let Some(blob) = file.blob {
        keep_index(turn, blob, index)?;
    }
    drop_indexes(turn)
}

pub(crate) fn keep_remote(turn: &mut Turn<'_>, name: &Artifact, remote: &Remote) -> Result<()> {
    if remote.etag.len() > ETAG_MAX {
        let etag = Quoted(&remote.etag);
        return Err(Error::invalid(format!(
            "etag is longer than {ETAG_MAX} bytes, name={name}, etag={etag}"
        )));
    }
    let path = path_for(turn, name)?;
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO artifact
             (name, path, remote_blob, remote_size, remote_etag, remote_fence, used_ms, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         ON CONFLICT (name) DO UPDATE SET remote_blob = excluded.remote_blob,
             remote_size = excluded.remote_size, remote_etag = excluded.remote_etag,
             remote_fence = excluded.remote_fence",
    )?;
    keep.execute((
        name.to_string(),
        path.as_str(),
        remote.blob.as_bytes(),
        remote.size,
        &remote.etag,
        remote.fence,
        turn.now(),
    ))?;
    drop_indexes(turn)
}

/// The path for an artifact, after a look whether it may have it.
fn path_for(turn: &Turn<'_>, name: &Artifact) -> Result<BlobPath> {
    let path = BlobPath::of(name)?;
    let mut find = turn
        .connection
        .prepare_cached("SELECT name FROM artifact WHERE path = ?1")?;
    let holder: Option<String> = find
        .query_row([path.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(holder) = &holder
        && *holder != name.to_string()
    {
        return Err(Error::invalid(format!(
            "names differ only in case, name={name}, other={holder}; hint: rename one of the files"
        )));
    }
    if holder.is_none() {
        let count: usize =
            turn.connection
                .query_row("SELECT count(*) FROM artifact", [], |row| row.get(0))?;
        if count >= ARTIFACTS_MAX {
            return Err(Error::invalid(format!(
                "the catalog is full, artifacts={count}; hint: ginnel models rm"
            )));
        }
    }
    Ok(path)
}

fn drop_file(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1 AND remote_blob IS NULL")?;
    forget.execute([name.to_string()])?;
    let mut clear = turn.connection.prepare_cached(
        "UPDATE artifact SET size = NULL, mtime_ns = NULL, inode = NULL, format = NULL,
             blob = NULL, bad = NULL WHERE name = ?1",
    )?;
    clear.execute([name.to_string()])?;
    drop_indexes(turn)
}

fn drop_remote(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1 AND size IS NULL")?;
    forget.execute([name.to_string()])?;
    let mut clear = turn.connection.prepare_cached(
        "UPDATE artifact SET remote_blob = NULL, remote_size = NULL, remote_etag = NULL,
             remote_fence = NULL WHERE name = ?1",
    )?;
    clear.execute([name.to_string()])?;
    drop_indexes(turn)
}

fn forget(turn: &mut Turn<'_>, name: &Artifact) -> Result<bool> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM artifact WHERE name = ?1")?;
    let was_there = forget.execute([name.to_string()])? > 0;
    drop_indexes(turn)?;
    Ok(was_there)
}

fn pin(turn: &mut Turn<'_>, name: &Artifact, is_pinned: bool) -> Result<()> {
    let mut pin = turn
        .connection
        .prepare_cached("UPDATE artifact SET pinned = ?2 WHERE name = ?1")?;
    match pin.execute((name.to_string(), is_pinned))? {
        0 => Err(missing(name)),
        _ => Ok(()),
    }
}

/// Times of use only grow, whatever the clock does.
fn touch(turn: &mut Turn<'_>, name: &Artifact) -> Result<()> {
    let mut touch = turn
        .connection
        .prepare_cached("UPDATE artifact SET used_ms = max(used_ms, ?2) WHERE name = ?1")?;
    touch.execute((name.to_string(), turn.now()))?;
    Ok(())
}

fn mark(turn: &mut Turn<'_>, name: &Artifact, bad: Option<&Chosen>) -> Result<()> {
    let mut mark = turn
        .connection
        .prepare_cached("UPDATE artifact SET bad = ?2 WHERE name = ?1 AND blob IS NOT NULL")?;
    let bits = bad.map(|bad| bad.encode().to_vec());
    match mark.execute((name.to_string(), bits))? {
        0 => Err(missing(name)),
        _ => Ok(()),
    }
}

fn missing(name: &Artifact) -> Error {
    let message = format!("no such artifact, name={name}; hint: ginnel models ls");
    Error::new(ErrorKind::Missing, message)
}

/// Keeps where a blob is cut.
pub(crate) fn keep_index(turn: &Turn<'_>, blob: Hash, index: Option<&ChunkIndex>) -> Result<()> {
    let Some(index) = index else { return Ok(()) };
    if index.blob() != blob {
        return Err(Error::new(
            ErrorKind::Internal,
            format!(
                "chunk index is another blob's, blob={blob}, found={}",
                index.blob()
            ),
        ));
    }
    let mut keep = turn.connection.prepare_cached(
        "INSERT INTO chunk_index (blob, bytes) VALUES (?1, ?2)
         ON CONFLICT (blob) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
    )?;
    keep.execute((blob.as_bytes(), &*index.encode()))?;
    Ok(())
}

pub(crate) fn index_of(connection: &Connection, blob: Hash) -> Result<Option<ChunkIndex>> {
    let mut find = connection.prepare_cached("SELECT bytes FROM chunk_index WHERE blob = ?1")?;
    let found = find.query_row([blob.as_bytes()], |row| {
        let bytes = row.get_ref(0)?.as_blob()?;
        Ok(ChunkIndex::decode(bytes))
    });
    let Some(decoded) = found.optional()? else {
        return Ok(None);
    };
    match decoded {
        Ok(index) if index.blob() == blob => Ok(Some(index)),
        Ok(index) => Err(Error::corrupt(format!(
            "chunk index is another blob's, blob={blob}, found={}",
            index.blob()
        ))),
        Err(error) => Err(Error::corrupt(format!("{error}, blob={blob}"))),
    }
}

/// Forgets where blobs are cut that nobody names any more.
pub(crate) fn drop_indexes(turn: &Turn<'_>) -> Result<()> {
    let mut drop = turn.connection.prepare_cached(
        "DELETE FROM chunk_index WHERE blob NOT IN (
             SELECT blob FROM artifact WHERE blob IS NOT NULL
             UNION SELECT remote_blob FROM artifact WHERE remote_blob IS NOT NULL
             UNION SELECT blob FROM transfer WHERE state <> 'done')",
    )?;
    drop.execute([])?;
    Ok(())
}
