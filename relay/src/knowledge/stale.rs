//! What a device pushed for an epoch that was over, taken away again: after an
//! erasure it is what was erased.
//!
//! A push is refused before it replaces anything ([`lease`](super::lease)). This is for
//! the moment between the last look and the write.

use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::id::DeviceId;
use tracing::{info, warn};

use super::Knowledge;
use crate::objects::error::Result;
use crate::objects::layout::Place;
use crate::sync::catalog::{Catalog, Written};

/// What was pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stale {
    /// For which epoch.
    pub(crate) epoch: u64,
    /// As what.
    pub(crate) cover: Cover,
    /// Its bytes.
    pub(crate) blob: Hash,
}

impl Knowledge {
    /// Takes it away if its epoch is over and nothing is published in the present
    /// one. Where something is, that replaced it, or the next publication does.
    pub(crate) async fn take_back(&self, catalog: &Catalog, device: &DeviceId, stale: &Stale) {
        match self.try_take_back(catalog, device, stale).await {
            Ok(false) => {}
            Ok(true) => info!(%device, "what was pushed too late is taken away"),
            Err(error) => warn!(%error, %device, "what was pushed too late is there"),
        }
    }

    async fn try_take_back(
        &self,
        catalog: &Catalog,
        device: &DeviceId,
        stale: &Stale,
    ) -> Result<bool> {
        let (manifest, _) = self.manifest(&device.user).await?;
        if manifest.epoch == stale.epoch || manifest.snapshot.is_some() {
            return Ok(false);
        }
        let place = Place::of(&Artifact::Knowledge(stale.cover), &device.user);
        let Some(now) = catalog.read(&place).await? else {
            return Ok(false);
        };
        let published = now.entry.published.as_ref().map(|it| it.blob);
        if published != Some(stale.blob) {
            return Ok(false);
        }
        // Who pushes at this moment replaces it, and is not disturbed.
        if now.entry.publishing.is_some() {
            return Ok(false);
        }
        let begun = now.entry.begin_removal(device, self.now_ms());
        let Written::Yes(_) = catalog.write(&place, Some(&now), begun).await? else {
            return Ok(false);
        };
        for key in [
            place.object().clone(),
            place.index(&stale.blob),
            place.entry(),
        ] {
            self.bucket.delete(&key).await?;
        }
        Ok(true)
    }
}
