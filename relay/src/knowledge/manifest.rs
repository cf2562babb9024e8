//! What is published of a user's knowledge.

use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Manifest, Outdated, Snapshot};

use super::Knowledge;
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::{KnowledgePlace, Place};
use crate::objects::{Etag, Small};
use crate::sync::catalog::Catalog;
use crate::sync::declined::Declined;
use crate::sync::entry::Published;

/// How often a write is tried against others who write the same manifest.
const TRIES: usize = 3;

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
        let fence = self.check_lease(device).await?;
        let pushed = self.pushed(catalog, device, snapshot).await?;
        let publish = |now: &Manifest| now.publish(epoch, snapshot.clone(), fence, self.now_ms());
        let next = self.move_manifest(&device.user, publish).await?;
        self.archive(device, &next, &pushed).await;
        Ok(next)
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

    /// Writes what `next` makes of the manifest as it is now.
    pub(super) async fn move_manifest(
        &self,
        user: &UserName,
        next: impl Fn(&Manifest) -> std::result::Result<Manifest, Outdated>,
    ) -> std::result::Result<Manifest, Declined> {
        let key = KnowledgePlace::of(user).manifest();
        for _ in 0..TRIES {
            let (now, etag) = self.manifest(user).await?;
            let next = next(&now).map_err(|outdated| Declined::new(Code::Conflict, outdated))?;
            let bytes = serde_json::to_vec(&next).unwrap_or_default().into();
            let written = match etag {
                Some(etag) => self.bucket.replace(&key, &etag, bytes).await,
                None => self.bucket.create(&key, bytes).await,
            };
            match written {
                Ok(_) => return Ok(next),
                Err(error) if error.kind() == ErrorKind::Changed => {}
                Err(error) => return Err(error.into()),
            }
        }
        let what = "too many write the manifest at once; hint: try again";
        Err(Declined::new(Code::Overloaded, what))
    }
}
