//! What a relay that died between two writes left behind, put right.

use std::collections::HashSet;
use std::sync::Mutex;

use ginnel_proto::artifact::Artifact;
use object_store::path::Path;
use tracing::info;

use super::catalog::{Versioned, Written};
use super::deliver::Found;
use super::{Sync, lock};
use crate::objects::error::Result;
use crate::objects::layout::Place;

impl Sync {
    /// An object has another tag than its entry says. If that is because a push
    /// was complete and not told, and nobody goes on with it, it is told now.
    pub(super) async fn settle(&self, artifact: &Artifact, found: &Found) -> Result<()> {
        let given_up = found.now.entry.given_up(self.now_ms()).is_some();
        // All of it is read: once is enough for all who ask.
        let Some(_alone) = Alone::with(&self.settling, found.place.object()) else {
            return Ok(());
        };
        if given_up && self.tell_completed(&found.place, &found.now).await? {
            info!(%artifact, "published what a relay left behind");
        }
        Ok(())
    }

    /// Publishes what an entry says is being pushed, if the object is that: the
    /// push was complete, and not told. Nobody may be going on with it.
    pub(super) async fn tell_completed(&self, place: &Place, now: &Versioned) -> Result<bool> {
        let Some(publishing) = now.entry.publishing.as_ref().filter(|it| !it.is_removal()) else {
            return Ok(false);
        };
        let object = self.bucket.head(place.object()).await?;
        let published = now.entry.published.as_ref().map(|it| &*it.etag);
        let is_another = object.is_some_and(|it| Some(it.etag.as_str()) != published);
        if !is_another {
            return Ok(false);
        }
        let there = self.holds(place, publishing.blob, publishing.size).await?;
        let index = self.index(place, &publishing.blob).await?;
        let (Some(etag), Some(index)) = (there, index) else {
            return Ok(false);
        };
        let (fence, now_ms) = (publishing.fence, self.now_ms());
        let told = now
            .entry
            .publish(fence, etag.as_str(), index.root(), now_ms);
        let Some(told) = told else {
            return Ok(false);
        };
        let written = self.catalog.write(place, Some(now), told).await?;
        Ok(matches!(written, Written::Yes(_)))
    }
}

/// Objects that are looked at.
pub(super) type Settling = Mutex<HashSet<Path>>;

/// The only one who looks at an object, until dropped.
struct Alone<'a>(&'a Settling, Path);

impl<'a> Alone<'a> {
    fn with(settling: &'a Settling, object: &Path) -> Option<Self> {
        let is_first = lock(settling).insert(object.clone());
        is_first.then(|| Self(settling, object.clone()))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}
