//! What is in the folder and what is in the catalog, side by side.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use ginnel_proto::artifact::Artifact;
use ginnel_store::artifact::{self, Entry, LocalFile};
use ginnel_store::blob::BlobFolder;
use ginnel_store::blob::find::{Contents, Found, Stray};
use ginnel_store::blob::stamp::Stamp;
use ginnel_store::transfer;

use super::{Models, Result};

/// Files of the embedder's folder that are looked at: it has three.
const EMBEDDER_FILES_MAX: usize = 1000;

/// Everything there is.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The folder of the files.
    pub folder: PathBuf,
    /// By name.
    pub artifacts: Vec<Listed>,
    /// What lies in the folder and is no artifact's file.
    pub strays: Vec<Stray>,
}

/// An artifact, and what its file is like now.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What the catalog knows.
    pub entry: Entry,
    /// Where its file is or would be.
    pub place: PathBuf,
    /// Its file, if it is there.
    pub found: Option<Found>,
    /// Someone works with it, it is on its way, or it makes vectors.
    pub in_use: bool,
}

/// What is in use.
pub(super) struct Uses {
    /// On their way to or from the relay.
    moving: HashSet<Artifact>,
    /// Files of the model that makes vectors.
    embedder: HashSet<PathBuf>,
}

/// How an artifact's file and what is published belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is only here.
    Local,
    /// The file is what is published.
    Synced,
    /// The file is another than what is published, or was not read yet.
    Changed,
    /// It is only published.
    Remote,
    /// The catalog has a file that is not there: someone took it away.
    Missing,
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
            Self::Missing => "missing",
        }
    }
}

impl Listed {
    /// What the file is like, if it is there.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        self.found.as_ref().map(|found| found.stamp)
    }

    /// How file and published bytes belong together now.
    #[must_use]
    pub fn state(&self) -> State {
        let Some(stamp) = self.stamp() else {
            return match self.entry.file {
                Some(_) => State::Missing,
                None => State::Remote,
            };
        };
        let noted = self.entry.file.as_ref().map(|file| file.stamp);
        match self.entry.state() {
            artifact::State::Synced if noted == Some(stamp) => State::Synced,
            artifact::State::Synced | artifact::State::Changed => State::Changed,
            artifact::State::Local => State::Local,
            artifact::State::Remote => State::Changed,
        }
    }

    /// Bytes of its file; of what is published if that is not here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let published = self.entry.remote.as_ref().map(|remote| remote.size);
        let file = self.stamp().map(|stamp| stamp.size);
        file.or(published).unwrap_or_default()
    }

    /// Whether another name keeps the bytes on the disk when this file goes:
    /// it was taken over by a hard link.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.links > 1)
    }

    /// Whether chunks of it were found damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let file = self.entry.file.as_ref();
        file.is_some_and(|file| file.bad.is_some())
    }

    /// Why it would be a loss if its file went; `None` if it would not.
    #[must_use]
    pub fn loss(&self) -> Option<&'static str> {
        if self.entry.is_pinned {
            return Some("artifact is pinned");
        }
        if self.in_use {
            return Some("artifact is in use");
        }
        match self.state() {
            State::Local => Some("artifact is not published, so this may be the only copy"),
            State::Changed => Some("file is another than what is published"),
            State::Synced | State::Remote | State::Missing => None,
        }
    }
}

impl Models {
    /// Everything there is. Files that someone put into the folder come into
    /// the catalog by this.
    ///
    /// # Errors
    /// The folder or the catalog cannot be read.
    pub async fn list(&self) -> Result<Listing> {
        let blobs = self.blobs().await?;
        let Contents { files, mut strays } = blobs.apart(|blobs, _| blobs.contents()).await?;
        let mut entries = self.catalog().await?;
        let new = files.iter().filter(|found| {
            let entry = entries.get(&found.artifact);
            entry.is_none_or(|entry| entry.file.is_none())
        });
        let new: Vec<Found> = new.cloned().collect();
        if !new.is_empty() {
            strays.extend(self.take_in(blobs, new).await?);
            entries = self.catalog().await?;
        }
        strays.sort_by(|a, b| a.path.cmp(&b.path));
        let mut found: BTreeMap<Artifact, Found> = BTreeMap::new();
        for file in files {
            found.insert(file.artifact.clone(), file);
        }
        let uses = self.uses().await?;
        let listed = |(name, entry)| self.listed(blobs, entry, found.remove(&name), &uses);
        Ok(Listing {
            folder: blobs.root().to_owned(),
            artifacts: entries.into_iter().map(listed).collect(),
            strays,
        })
    }

    async fn catalog(&self) -> Result<BTreeMap<Artifact, Entry>> {
        let entries = self.store().artifacts().await?.into_iter();
        Ok(entries.map(|entry| (entry.name.clone(), entry)).collect())
    }

    /// Takes files into the catalog. Gives those that are no models.
    async fn take_in(&self, blobs: &BlobFolder, files: Vec<Found>) -> Result<Vec<Stray>> {
        let inspect = move |blobs: &BlobFolder, _: &_| {
            let inspect = |found: Found| {
                let inspected = blobs.inspect(&found.path);
                (found, inspected)
            };
            Ok(files.into_iter().map(inspect).collect::<Vec<_>>())
        };
        let mut strays = Vec::new();
        for (found, inspected) in blobs.apart(inspect).await? {
            let kept = match inspected {
                Ok(inspected) => {
                    let file = LocalFile::unread(inspected.stamp, inspected.format);
                    let kept = self.store().keep_artifact_file(found.artifact, file, None);
                    kept.await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                if error.is_retryable() {
                    return Err(error.into());
                }
                strays.push(Stray {
                    path: found.path.to_string(),
                    reason: error.to_string(),
                });
            }
        }
        Ok(strays)
    }

    pub(super) fn listed(
        &self,
        blobs: &BlobFolder,
        entry: Entry,
        found: Option<Found>,
        uses: &Uses,
    ) -> Listed {
        let place = blobs.place_of(&entry.path);
        let is_leased = self.inner.leases.has(&entry.name);
        let is_moving = uses.moving.contains(&entry.name);
        Listed {
            in_use: is_leased || is_moving || uses.embedder.contains(&place),
            place,
            found,
            entry,
        }
    }

    /// What is in use, but for leases.
    pub(super) async fn uses(&self) -> Result<Uses> {
        let transfers = self.store().transfers().await?.into_iter();
        // One that is paused or failed reads its file anew when it goes on.
        let moving = transfers.filter(|transfer| match transfer.state {
            transfer::State::Queued | transfer::State::Running => true,
            transfer::State::Paused | transfer::State::Failed | transfer::State::Done => false,
        });
        Ok(Uses {
            moving: moving.map(|transfer| transfer.artifact).collect(),
            embedder: self.used_by_embedder().await,
        })
    }

    /// The files of the model that makes vectors, wherever links lead.
    async fn used_by_embedder(&self) -> HashSet<PathBuf> {
        let Some(folder) = self.settings().embedder.clone() else {
            return HashSet::new();
        };
        let look = move || {
            let Ok(entries) = std::fs::read_dir(folder) else {
                return HashSet::new();
            };
            let entries = entries.flatten().take(EMBEDDER_FILES_MAX);
            let real = entries.filter_map(|entry| entry.path().canonicalize().ok());
            real.collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}
