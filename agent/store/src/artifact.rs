//! The catalog of artifacts: which ones are here, which are published, and
//! whether both are the same.
//!
//! Names are those of [`ginnel_proto::artifact`]; files lie where
//! [`crate::blob`] says. Whoever changes a file notes it here; a file whose
//! [`Stamp`] is no longer the noted one was changed by someone else and has
//! to be read again.

pub(crate) mod catalog;

mod row;

use ginnel_blob::format::Format;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;
use ginnel_proto::artifact::Artifact;

use crate::Store;
use crate::blob::path::BlobPath;
use crate::blob::stamp::Stamp;
use crate::error::Result;
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
        self.inner.readers.run(catalog::list).await
    }

    /// An artifact, if the catalog has it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn artifact(&self, name: Artifact) -> Result<Option<Entry>> {
        let find = move |connection: &_| catalog::find(connection, &name);
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
        let keep =
            move |turn: &mut Turn<'_>| catalog::keep_file(turn, &name, &file, index.as_ref());
        self.inner.writer.run(keep).await
    }

    /// Notes that an artifact has no file here any more. Without anything
    /// published, the artifact is forgotten.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn drop_artifact_file(&self, name: Artifact) -> Result<()> {
        let drop = move |turn: &mut Turn<'_>| catalog::drop_file(turn, &name);
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
            catalog::keep_remote(turn, &name, &remote)?;
            catalog::keep_index(turn, remote.blob, index.as_ref())
        };
        self.inner.writer.run(keep).await
    }

    /// Notes that nothing is published under a name. Without a file here, the
    /// artifact is forgotten.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn drop_artifact_remote(&self, name: Artifact) -> Result<()> {
        let drop = move |turn: &mut Turn<'_>| catalog::drop_remote(turn, &name);
        self.inner.writer.run(drop).await
    }

    /// Forgets an artifact. Tells whether it was there.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_artifact(&self, name: Artifact) -> Result<bool> {
        let forget = move |turn: &mut Turn<'_>| catalog::forget(turn, &name);
        self.inner.writer.run(forget).await
    }

    /// Sets whether an artifact may be taken away to make room.
    ///
    /// # Errors
    /// `Missing` if there is no such artifact.
    pub async fn pin_artifact(&self, name: Artifact, is_pinned: bool) -> Result<()> {
        let pin = move |turn: &mut Turn<'_>| catalog::pin(turn, &name, is_pinned);
        self.inner.writer.run(pin).await
    }

    /// Notes that an artifact is used now. One that is not there is passed
    /// over.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn use_artifact(&self, name: Artifact) -> Result<()> {
        let touch = move |turn: &mut Turn<'_>| catalog::touch(turn, &name);
        self.inner.writer.run(touch).await
    }

    /// Notes which chunks of an artifact's file are damaged, none with `None`.
    ///
    /// # Errors
    /// `Missing` if there is no such file.
    pub async fn mark_artifact(&self, name: Artifact, bad: Option<Chosen>) -> Result<()> {
        let mark = move |turn: &mut Turn<'_>| catalog::mark(turn, &name, bad.as_ref());
        self.inner.writer.run(mark).await
    }

    /// Where a blob is cut, if it is known of any artifact or transfer.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn chunk_index(&self, blob: Hash) -> Result<Option<ChunkIndex>> {
        let find = move |connection: &_| catalog::index_of(connection, blob);
        self.inner.readers.run(find).await
    }
}
