//! What is published of a user's knowledge.

use bytes::Bytes;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Manifest, Outdated, Snapshot};

use super::Knowledge;
use super::stale::Stale;
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::{KnowledgePlace, Place};
use crate::objects::{Etag, Small};
use crate::sync::catalog::Catalog;
use crate::sync::declined::Declined;
use crate::sync::entry::Published;

/// How often a write is tried against others who write the same manifest.
const TRIES: usize = 3;

/// What becomes of a manifest that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is an error: it is not guessed what it said.
    IsTold,
    /// It is replaced: which epoch it is, is found out elsewhere.
    IsReplaced,
}

/// A manifest that nobody could read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manifest would be too long, bytes={bytes}, most={MANIFEST_MAX}; hint: a user has 300 devices at most"
)]
pub struct TooLong {
    bytes: usize,
}

impl Knowledge {
    /// The manifest of a user as it is now.
    pub(super) async fn manifest(&self, user: &UserName) -> Result<(Manifest, Option<Etag>)> {
        let key = KnowledgePlace::of(user).manifest();
        let Some(Small { bytes, etag }) = self.bucket.read(&key, MANIFEST_MAX).await? else {
            return Ok((Manifest::first(), None));
        };
        // It is not guessed what it said: that would begin another epoch.
        let manifest = serde_json::from_slice(&bytes).map_err(|error| {
            let what = format_args!("manifest cannot be read, reason={error}");
            Error::new(ErrorKind::Invalid, what, &key)
        })?;
        Ok((manifest, Some(etag)))
    }

    /// Moves the manifest to a snapshot that this device has pushed, while it
    /// has the lease.
    pub(super) async fn publish(
        &self,
        catalog: &Catalog,
        device: &DeviceId,
        epoch: u64,
        snapshot: &Snapshot,
    ) -> std::result::Result<Manifest, Declined> {
        match self.try_publish(catalog, device, epoch, snapshot).await {
            Ok((next, pushed)) => {
                self.archive(device, &next, &pushed).await;
                Ok(next)
            }
            Err(declined) => {
                let stale = Stale {
                    epoch,
                    cover: snapshot.cover(),
                    blob: snapshot.blob,
                };
                self.take_back(catalog, device, &stale).await;
                Err(declined)
            }
        }
    }

    async fn try_publish(
        &self,
        catalog: &Catalog,
        device: &DeviceId,
        epoch: u64,
        snapshot: &Snapshot,
    ) -> std::result::Result<(Manifest, Published), Declined> {
        let fence = self.check_lease(device).await?.fence;
        let pushed = self.pushed(catalog, device, snapshot).await?;
        let publish = |now: &Manifest| now.publish(epoch, snapshot.clone(), fence, self.now_ms());
        let next = self.move_published(&device.user, publish).await?;
        Ok((next, pushed))
    }

    /// What a device has pushed, if that is this snapshot.
    pub(super) async fn pushed(
        &self,
        catalog: &Catalog,
        device: &DeviceId,
        snapshot: &Snapshot,
    ) -> std::result::Result<Published, Declined> {
        let place = Place::of(&Artifact::Knowledge(snapshot.cover()), &device.user);
        let entry = catalog.read(&place).await?;
        let pushed = entry.and_then(|entry| entry.entry.published.clone());
        let is_it = |it: &Published| {
            it.blob == snapshot.blob && it.size == snapshot.size && it.etag == snapshot.etag
        };
        pushed.filter(is_it).ok_or_else(|| {
            let what = "the database that is published is another one; hint: push it again";
            Declined::new(Code::Conflict, what)
        })
    }

    /// Writes what `next` makes of the manifest as it is now, for a device.
    pub(super) async fn move_published(
        &self,
        user: &UserName,
        next: impl Fn(&Manifest) -> std::result::Result<Manifest, Outdated>,
    ) -> std::result::Result<Manifest, Declined> {
        let next =
            |now: &Manifest| next(now).map_err(|outdated| Declined::new(Code::Conflict, outdated));
        let moved = self.move_manifest(user, Unreadable::IsTold, next).await?;
        moved.ok_or_else(|| {
            let what = "too many write the manifest at once; hint: try again";
            Declined::new(Code::Overloaded, what)
        })
    }

    /// Writes what `next` makes of the manifest as it is now. `None` if others
    /// wrote it each time.
    pub(super) async fn move_manifest<E: From<Error> + From<TooLong>>(
        &self,
        user: &UserName,
        unreadable: Unreadable,
        next: impl Fn(&Manifest) -> std::result::Result<Manifest, E>,
    ) -> std::result::Result<Option<Manifest>, E> {
        for _ in 0..TRIES {
            let (now, etag) = match (self.manifest(user).await, unreadable) {
                (Err(error), Unreadable::IsReplaced) if error.kind() == ErrorKind::Invalid => {
                    self.guess_manifest(user, &error).await?
                }
                (now, _) => now?,
            };
            let next = next(&now)?;
            let bytes = encode(&next)?;
            if self.write_manifest(user, etag, bytes, &next).await? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Writes a manifest over the one with this tag, or where there was none; tells
    /// whether it is there. An answer that was lost is found out about.
    async fn write_manifest(
        &self,
        user: &UserName,
        old: Option<Etag>,
        bytes: Bytes,
        next: &Manifest,
    ) -> Result<bool> {
        let key = KnowledgePlace::of(user).manifest();
        let written = match old {
            Some(etag) => self.bucket.replace(&key, &etag, bytes).await,
            None => self.bucket.create(&key, bytes).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Changed | ErrorKind::Unavailable) => {
                let is_there = match self.manifest(user).await {
                    Ok((now, _)) => now == *next,
                    Err(again) if again.kind() == ErrorKind::Invalid => false,
                    Err(_) => return Err(error),
                };
                match is_there {
                    true => Ok(true),
                    false if error.kind() == ErrorKind::Changed => Ok(false),
                    false => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Its bytes, which can be read again.
fn encode(manifest: &Manifest) -> std::result::Result<Bytes, TooLong> {
    // Strings and numbers always become JSON.
    let bytes = serde_json::to_vec(manifest).unwrap_or_default();
    match bytes.len() {
        length if length <= MANIFEST_MAX => Ok(bytes.into()),
        bytes => Err(TooLong { bytes }),
    }
}

impl From<TooLong> for Declined {
    fn from(too_long: TooLong) -> Self {
        Self::new(Code::BadRequest, too_long)
    }
}
