//! Models, adapters and data sets on this device: the folder of their files
//! and the catalog of what is known of them, put together.
//!
//! Whoever sends or fetches them builds on this. Nothing here goes over the
//! network: an artifact that is only published is known, and its file is not
//! here.

pub mod event;
pub mod import;
pub mod lease;
pub mod list;
pub mod repair;
pub mod room;
pub mod settings;
pub mod verify;

#[cfg(test)]
#[cfg(unix)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use ginnel_blob::format::Header;
use ginnel_blob::index::ChunkIndex;
use ginnel_proto::artifact::Artifact;
use ginnel_store::Store;
use ginnel_store::artifact::{Entry, LocalFile};
use ginnel_store::blob::BlobFolder;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::error::ErrorKind;
use tokio::sync::OnceCell;

use lease::{Lease, Leases};
use list::{Listed, State};
use settings::ModelsSettings;

/// A result with a [`ModelsError`].
pub type Result<T> = std::result::Result<T, ModelsError>;

/// Why something about models could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// There is no artifact of that name.
    #[error("no such artifact, name={0}; hint: ginnel models ls")]
    Missing(Artifact),
    /// It is only published.
    #[error("artifact has no file here, name={0}")]
    NoFile(Artifact),
    /// It would be a loss; the caller may insist.
    #[error("{0}; hint: --force does it all the same")]
    Refused(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The folder or the catalog is in the way.
    #[error(transparent)]
    Store(#[from] ginnel_store::error::Error),
}

/// Whether to go on where it would be a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insist {
    /// Not without being told.
    No,
    /// All the same.
    Yes,
}

/// Models of this device. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Models {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: ModelsSettings,
    /// Opened when it is first needed: its disk may come later than we do.
    blobs: OnceCell<BlobFolder>,
    leases: Arc<Leases>,
}

/// What a file's header says, or why it cannot be told.
pub type Told = std::result::Result<Option<Header>, String>;

impl Models {
    /// Models in a folder, with their catalog in a store.
    #[must_use]
    pub fn new(store: Store, settings: ModelsSettings) -> Self {
        let inner = Inner {
            store,
            settings,
            blobs: OnceCell::new(),
            leases: Arc::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The catalog.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// How they are kept.
    #[must_use]
    pub fn settings(&self) -> &ModelsSettings {
        &self.inner.settings
    }

    /// The folder of the files, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn blobs(&self) -> Result<&BlobFolder> {
        let folder = self.inner.settings.folder.clone();
        let open = async {
            let open = move || BlobFolder::open(&folder);
            let opened = tokio::task::spawn_blocking(open).await;
            let broken_off = |_| ModelsError::Invalid("the models folder cannot be opened".into());
            Ok(opened.map_err(broken_off)??)
        };
        self.inner.blobs.get_or_try_init(|| open).await
    }

    /// Keeps an artifact's file from being taken away to make room, until
    /// dropped.
    #[must_use]
    pub fn lease(&self, name: &Artifact) -> Lease {
        Lease::take(&self.inner.leases, name)
    }

    /// An artifact, and what its file is like now. One whose file was put
    /// into the folder by someone else comes into the catalog by this.
    ///
    /// # Errors
    /// `Missing` if there is neither; or its file is no model.
    pub async fn find(&self, name: &Artifact) -> Result<Listed> {
        let path = BlobPath::of(name)?;
        let blobs = self.blobs().await?;
        let looked = path.clone();
        let found = blobs.apart(move |blobs, _| blobs.found(&looked)).await?;
        let mut entry = self.store().artifact(name.clone()).await?;
        if found.is_some() && entry.as_ref().is_none_or(|entry| entry.file.is_none()) {
            let inspected = blobs.apart(move |blobs, _| blobs.inspect(&path)).await?;
            let file = LocalFile::unread(inspected.stamp, inspected.format);
            let store = self.store();
            store.keep_artifact_file(name.clone(), file, None).await?;
            entry = store.artifact(name.clone()).await?;
        }
        let entry = entry.ok_or_else(|| ModelsError::Missing(name.clone()))?;
        let uses = self.uses().await?;
        Ok(self.listed(blobs, entry, found, &uses))
    }

    /// What an artifact's header says, read from its file.
    ///
    /// # Errors
    /// The file cannot be read; what is wrong with its header is told within.
    pub async fn header(&self, name: &Artifact) -> Result<Told> {
        let path = BlobPath::of(name)?;
        let blobs = self.blobs().await?;
        match blobs.apart(move |blobs, _| blobs.inspect(&path)).await {
            Ok(inspected) => Ok(Ok(inspected.header)),
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// An artifact with a file, and where its bytes are cut: from the catalog
    /// while the file is what was read, else read now. `progress` is told how
    /// many bytes are done.
    ///
    /// # Errors
    /// There is no such artifact or file, or it cannot be read.
    pub async fn index(
        &self,
        name: &Artifact,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<(Entry, ChunkIndex)> {
        let listed = self.find(name).await?;
        if listed.found.is_none() {
            return Err(ModelsError::NoFile(name.clone()));
        }
        if let Some(index) = self.known_index(&listed).await? {
            return Ok((listed.entry, index));
        }
        let index = self.read(name, progress).await?;
        let entry = self.store().artifact(name.clone()).await?;
        let entry = entry.ok_or_else(|| ModelsError::Missing(name.clone()))?;
        Ok((entry, index))
    }

    /// Where the file is cut, if it is what was read and that is known.
    async fn known_index(&self, listed: &Listed) -> Result<Option<ChunkIndex>> {
        let file = listed.entry.file.as_ref();
        let file = file.filter(|file| Some(file.stamp) == listed.stamp());
        match file.and_then(|file| file.blob) {
            Some(blob) => Ok(self.store().chunk_index(blob).await?),
            None => Ok(None),
        }
    }

    /// Reads all of a file and notes it.
    async fn read(
        &self,
        name: &Artifact,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<ChunkIndex> {
        let path = BlobPath::of(name)?;
        let blobs = self.blobs().await?;
        let read = blobs.apart(move |blobs, stop| blobs.index(&path, stop, progress));
        let indexed = read.await?;
        let (file, index) = (indexed.file(), indexed.index);
        let store = self.store();
        let kept = store.keep_artifact_file(name.clone(), file, Some(index.clone()));
        kept.await?;
        Ok(index)
    }

    /// Sets whether an artifact's file may be taken away to make room.
    ///
    /// # Errors
    /// There is no such artifact.
    pub async fn pin(&self, name: &Artifact, is_pinned: bool) -> Result<Listed> {
        self.find(name).await?;
        self.store().pin_artifact(name.clone(), is_pinned).await?;
        self.find(name).await
    }

    /// Where an artifact's file is, for someone who uses it from now on.
    ///
    /// # Errors
    /// There is no such artifact, or its file is not here.
    pub async fn use_file(&self, name: &Artifact) -> Result<PathBuf> {
        let listed = self.find(name).await?;
        if listed.found.is_none() {
            return Err(ModelsError::NoFile(name.clone()));
        }
        self.store().use_artifact(name.clone()).await?;
        Ok(listed.place)
    }

    /// Takes an artifact's file away. What is published stays published; an
    /// artifact that has no file here is forgotten.
    ///
    /// # Errors
    /// `Refused`: it is pinned, in use, or nowhere else; or it cannot be taken
    /// away.
    pub async fn remove(&self, name: &Artifact, insist: Insist) -> Result<Listed> {
        // Not by `find`: a file that is no model can be taken away too.
        let path = BlobPath::of(name)?;
        let blobs = self.blobs().await?;
        let looked = path.clone();
        let found = blobs.apart(move |blobs, _| blobs.found(&looked)).await?;
        let Some(entry) = self.store().artifact(name.clone()).await? else {
            if found.is_none() {
                return Err(ModelsError::Missing(name.clone()));
            }
            let listed = self.find(name).await?;
            return Box::pin(self.remove_listed(listed, path, insist)).await;
        };
        let uses = self.uses().await?;
        let listed = self.listed(blobs, entry, found, &uses);
        self.remove_listed(listed, path, insist).await
    }

    async fn remove_listed(
        &self,
        listed: Listed,
        path: BlobPath,
        insist: Insist,
    ) -> Result<Listed> {
        let name = listed.entry.name.clone();
        if insist == Insist::No
            && let Some(reason) = listed.loss()
        {
            let message = format!("{reason}, name={name}");
            return Err(ModelsError::Refused(message));
        }
        if listed.found.is_none() && listed.state() == State::Remote {
            self.store().forget_artifact(name).await?;
            return Ok(listed);
        }
        let blobs = self.blobs().await?;
        blobs.apart(move |blobs, _| blobs.remove(&path)).await?;
        self.store().drop_artifact_file(name).await?;
        Ok(listed)
    }
}
