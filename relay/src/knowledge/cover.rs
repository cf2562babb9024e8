//! Whether all that is kept of a user's knowledge is encrypted. That changes with
//! an epoch, which begins with a snapshot of the new kind; what is of the other
//! kind goes. Keys are no business of a relay: it knows only which one it is.

use futures_util::stream::TryStreamExt as _;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{Manifest, Snapshot};
use tracing::warn;

use super::Knowledge;
use crate::objects::error::Result;
use crate::objects::layout::{KnowledgePlace, Place};
use crate::sync::catalog::Catalog;
use crate::sync::declined::Declined;
use crate::sync::entry::{ENTRY_MAX, Entry};

impl Knowledge {
    /// Begins an epoch in which all is covered like this snapshot, which the
    /// device has pushed under its lease.
    pub(super) async fn cover(
        &self,
        catalog: &Catalog,
        device: &DeviceId,
        epoch: u64,
        snapshot: &Snapshot,
    ) -> std::result::Result<Manifest, Declined> {
        let fence = self.check_lease(device).await?.fence;
        self.pushed(catalog, device, snapshot).await?;
        let cover = |now: &Manifest| now.cover(epoch, snapshot.clone(), fence, self.now_ms());
        let user = &device.user;
        let next = self.move_published(user, cover).await?;
        // The manifest says all. What fails here is done with the next publication,
        // or found out later.
        let told = self.begin_head(user, next.epoch).await;
        let cleared = async {
            self.clear_uncovered(user, &next).await?;
            // What writers that died have left. Who writes now tries again.
            self.bucket.sweep(&KnowledgePlace::all(user)).await
        };
        let cleared = cleared.await;
        for failed in [told, cleared] {
            if let Err(error) = failed {
                warn!(%error, %user, "what was written before goes later");
            }
        }
        Ok(next)
    }

    /// Takes away what is covered otherwise than the manifest says: what was
    /// published, what is kept for a restore, and the logs but for their ends, if
    /// those are not in a snapshot yet.
    pub(super) async fn clear_uncovered(&self, user: &UserName, manifest: &Manifest) -> Result<()> {
        let Some(covered) = manifest.covered else {
            return Ok(());
        };
        let place = KnowledgePlace::of(user);
        for unix_ms in self.kept_times(user).await? {
            let kept = self.kept_at(user, unix_ms).await?;
            if kept.is_none_or(|kept| manifest.uncovers(kept.epoch)) {
                self.forget(user, unix_ms).await?;
            }
        }
        let other = match covered.key {
            Some(_) => Cover::Plain,
            None => Cover::Sealed,
        };
        self.clear_published(user, other).await?;
        for folder in self.bucket.folders(&place.all_logs()).await? {
            let epoch = KnowledgePlace::epoch(&folder);
            if epoch.is_none_or(|epoch| epoch >= covered.epoch) {
                continue;
            }
            let base = manifest.base.as_ref();
            let base = base.filter(|base| Some(base.epoch) == epoch);
            let mut listed = std::pin::pin!(self.bucket.list(&folder));
            while let Some(object) = listed.try_next().await? {
                let is_needed = base.is_some_and(|base| {
                    let batch = KnowledgePlace::sequence(&object.key).unwrap_or_default();
                    let device = KnowledgePlace::device(&object.key);
                    let read = device.and_then(|device| base.read.get(&device));
                    batch > read.copied().unwrap_or_default()
                });
                if !is_needed {
                    self.bucket.delete(&object.key).await?;
                }
            }
        }
        Ok(())
    }

    async fn clear_published(&self, user: &UserName, cover: Cover) -> Result<()> {
        let place = Place::of(&Artifact::Knowledge(cover), user);
        let Some(small) = self.bucket.read(&place.entry(), ENTRY_MAX).await? else {
            return Ok(());
        };
        self.bucket.delete(place.object()).await?;
        if let Ok(entry) = Entry::decode(&small.bytes)
            && let Some(published) = entry.published
        {
            self.bucket.delete(&place.index(&published.blob)).await?;
        }
        self.bucket.delete(&place.entry()).await
    }
}
