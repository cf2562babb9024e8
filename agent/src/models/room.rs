//! Making room: files that can be had again go, the longest unused first.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::Artifact;
use ginnel_store::blob::BlobFolder;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::blob::stamp::Stamp;
use ginnel_store::transfer;
use serde::{Deserialize, Serialize};

use super::list::{Listed, State};
use super::{Models, Result};

/// Unfinished files that nobody wrote to for so long go: buckets keep an
/// unfinished upload for as long.
const UNFINISHED_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether to do it or only tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Do it.
    Wet,
    /// Only tell.
    Dry,
}

/// What the relay has at this moment. What this device remembers may have been
/// taken away by another one since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayHas {
    /// These blobs, under these names.
    These(HashSet<(Artifact, Hash)>),
    /// It cannot be asked.
    Unknown,
}

impl RelayHas {
    fn has(&self, listed: &Listed) -> bool {
        let blob = listed.entry.remote.as_ref().map(|remote| remote.blob);
        match (self, blob) {
            (Self::These(these), Some(blob)) => these.contains(&(listed.entry.name.clone(), blob)),
            (Self::These(_) | Self::Unknown, _) => false,
        }
    }
}

/// What making room came to. Bytes of files that another program has too are
/// not counted: they stay on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that models may take; `None` if as many as there are.
    pub budget: Option<u64>,
    /// Bytes that they took.
    pub before: u64,
    /// Bytes that they take now, or would.
    pub after: u64,
    /// Files that went, or would: they are still published.
    pub evicted: Vec<Evicted>,
    /// Bytes of unfinished files that went.
    pub unfinished: u64,
    /// What stays, by why, in bytes.
    pub kept: Kept,
}

/// A file that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The artifact.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last used, milliseconds since 1970.
    pub used_ms: u64,
}

/// Bytes of files that do not go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// They are pinned.
    pub pinned: u64,
    /// Someone works with them, or they make vectors.
    pub in_use: u64,
    /// They are not published, or are others than what is.
    pub unsynced: u64,
    /// They were published, and the relay does not say that they still are.
    pub unconfirmed: u64,
}

impl Models {
    /// Takes files away until all of them fit the budget, the longest unused
    /// first. Only files go that the relay has just as they are and that
    /// nobody pinned or works with. Unfinished files that are forgotten go
    /// too.
    ///
    /// # Errors
    /// The catalog or the folder cannot be read, or a file not be taken away.
    pub async fn make_room(&self, budget: Option<u64>, run: Run, relay: &RelayHas) -> Result<Room> {
        let budget = budget.or_else(|| self.settings().budget);
        let listing = self.list().await?;
        let with_bytes = |listed: &Listed| listed.found.is_some() && !listed.is_shared();
        let mut files: Vec<Listed> = listing.artifacts;
        files.retain(with_bytes);
        let before = files.iter().map(Listed::bytes).sum();
        let mut room = Room {
            budget,
            before,
            after: before,
            ..Room::default()
        };
        files.sort_by_key(|listed| (listed.entry.used_ms, listed.entry.name.clone()));
        for listed in files {
            if !room.takes(&listed, relay) {
                continue;
            }
            if budget.is_none_or(|budget| room.after <= budget) {
                continue;
            }
            if run == Run::Wet && !self.evict(&listed).await? {
                continue;
            }
            room.after -= listed.bytes();
            room.evicted.push(Evicted {
                name: listed.entry.name.to_string(),
                bytes: listed.bytes(),
                used_ms: listed.entry.used_ms,
            });
        }
        if run == Run::Wet {
            room.unfinished = self.discard_unfinished().await?;
        }
        Ok(room)
    }

    /// Takes one file away, unless something became of it meanwhile.
    async fn evict(&self, listed: &Listed) -> Result<bool> {
        let name = &listed.entry.name;
        let now = self.find(name).await?;
        let same = now.stamp() == listed.stamp() && now.entry == listed.entry;
        if !same || now.loss().is_some() {
            return Ok(false);
        }
        let (path, stamp) = (listed.entry.path.clone(), listed.stamp());
        let blobs = self.blobs().await?;
        let gone = blobs.apart(move |blobs, _| remove_if(blobs, &path, stamp));
        if gone.await? {
            self.store().drop_artifact_file(name.clone()).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn discard_unfinished(&self) -> Result<u64> {
        let blobs = self.blobs().await?;
        let transfers = self.store().transfers().await?.into_iter();
        let waiting = transfers.filter(|transfer| transfer.state != transfer::State::Done);
        let wanted: HashSet<PathBuf> = waiting
            .map(|transfer| blobs.unfinished_of(&transfer.path, transfer.blob))
            .collect();
        let discard = move |blobs: &BlobFolder, _: &_| {
            blobs.discard_stale(UNFINISHED_IDLE, |place| wanted.contains(place))
        };
        Ok(blobs.apart(discard).await?)
    }
}

impl Room {
    /// Whether a file may go; if not, it is counted.
    fn takes(&mut self, listed: &Listed, relay: &RelayHas) -> bool {
        let kept = &mut self.kept;
        let why = if listed.entry.is_pinned {
            &mut kept.pinned
        } else if listed.in_use {
            &mut kept.in_use
        } else if listed.state() != State::Synced || listed.is_damaged() {
            &mut kept.unsynced
        } else if !relay.has(listed) {
            &mut kept.unconfirmed
        } else {
            return true;
        };
        *why += listed.bytes();
        false
    }
}

fn remove_if(
    blobs: &BlobFolder,
    path: &BlobPath,
    stamp: Option<Stamp>,
) -> ginnel_store::error::Result<bool> {
    match blobs.stamp(path)? == stamp {
        true => blobs.remove(path),
        false => Ok(false),
    }
}
