//! What is published of a user's knowledge.

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Manifest, Snapshot};

use super::Knowledge;
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::{KnowledgePlace, Place};
use crate::objects::{Etag, Small};
use crate::sync::catalog::Catalog;
use crate::sync::declined::Declined;

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
        let place = Place::of(&Artifact::Knowledge(Cover::Plain), &device.user);
        let entry = catalog.read(&place).await?;
        let published = entry.and_then(|entry| entry.entry.published.clone());
        let is_it = published.as_ref().is_some_and(|it| {
            it.blob == snapshot.blob && it.size == snapshot.size && it.etag == snapshot.etag
        });
        if !is_it {
            let what = "the database that is published is another one; hint: push it again";
            return Err(Declined::new(Code::Conflict, what));
        }
        let key = KnowledgePlace::of(&device.user).manifest();
        for _ in 0..TRIES {
            let (now, etag) = self.manifest(&device.user).await?;
            let next = now.publish(epoch, snapshot.clone(), fence, self.now_ms());
            let next = next.map_err(|outdated| Declined::new(Code::Conflict, outdated))?;
            let bytes = serde_json::to_vec(&next).unwrap_or_default().into();
            let written = match etag {
                Some(etag) => self.bucket.replace(&key, &etag, bytes).await,
                None => self.bucket.create(&key, bytes).await,
            };
            match written {
                Ok(_) => {
                    if let Some(published) = published {
                        self.archive(device, &next, &published).await;
                    }
                    return Ok(next);
                }
                Err(error) if error.kind() == ErrorKind::Changed => {}
                Err(error) => return Err(error.into()),
            }
        }
        let what = "too many write the manifest at once; hint: try again";
        Err(Declined::new(Code::Overloaded, what))
    }
}
