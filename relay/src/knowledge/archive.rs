//! Keeps what is published, an hour apart, and lets go what is older than a week:
//! snapshots, and the logs before the first of them.

use std::collections::BTreeSet;

use futures_util::stream::TryStreamExt as _;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::keep::{KEPT_MS, done_with, is_due};
use ginnel_proto::sync::manifest::{Kept, MANIFEST_MAX, Manifest};
use tracing::{debug, warn};

use super::Knowledge;
use crate::objects::error::Result;
use crate::objects::layout::{KeptPart, KnowledgePlace, Place};
use crate::sync::entry::Published;

/// Batches that are deleted after one publication: of more, the rest goes after
/// the next ones.
const DELETED_MAX: usize = 2000;

impl Knowledge {
    /// Keeps what was just published, if it is time. What fails now is done after
    /// the next publication.
    pub(super) async fn archive(
        &self,
        device: &DeviceId,
        manifest: &Manifest,
        published: &Published,
    ) {
        if let Err(error) = self.try_archive(device, manifest, published).await {
            warn!(%error, user = %device.user, "what was published is not kept for a restore");
        }
    }

    async fn try_archive(
        &self,
        device: &DeviceId,
        manifest: &Manifest,
        published: &Published,
    ) -> Result<()> {
        let user = &device.user;
        self.clear_uncovered(user, manifest).await?;
        let now_ms = self.now_ms();
        let mut kept = self.kept_times(user).await?;
        if !is_due(&kept, now_ms) {
            return Ok(());
        }
        if let Some(snapshot) = &manifest.snapshot {
            let about = Kept {
                epoch: manifest.epoch,
                snapshot: snapshot.clone(),
                unix_ms: manifest.unix_ms,
                device: device.device.clone(),
                index: published.index,
            };
            self.keep(user, &about).await?;
            kept.insert(about.unix_ms);
        }
        for unix_ms in done_with(&kept, now_ms) {
            self.forget(user, unix_ms).await?;
            kept.remove(&unix_ms);
        }
        // Until then every moment can be restored.
        let long_ago = now_ms.saturating_sub(KEPT_MS);
        match kept.first() {
            Some(first) if *first <= long_ago => self.clear_logs(user, *first).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Lets go what was kept at a time.
    pub(super) async fn forget(&self, user: &UserName, unix_ms: u64) -> Result<()> {
        let place = KnowledgePlace::of(user);
        // What says what it is goes first.
        for part in [KeptPart::About, KeptPart::Index, KeptPart::Database] {
            self.bucket.delete(&place.kept_at(unix_ms, part)).await?;
        }
        Ok(())
    }

    async fn keep(&self, user: &UserName, about: &Kept) -> Result<()> {
        let place = KnowledgePlace::of(user);
        let artifact = Place::of(&Artifact::Knowledge(about.snapshot.cover()), user);
        let at = |part| place.kept_at(about.unix_ms, part);
        let index = artifact.index(&about.snapshot.blob);
        self.bucket.copy(&index, &at(KeptPart::Index)).await?;
        let database = at(KeptPart::Database);
        let copy = self.bucket.copy(artifact.object(), &database).await?;
        if copy.size != about.snapshot.size {
            // Another one was published meanwhile, and is kept in its turn.
            return self.bucket.delete(&database).await;
        }
        let bytes = serde_json::to_vec(about).unwrap_or_default();
        self.bucket
            .write(&at(KeptPart::About), bytes.into())
            .await
            .map(drop)
    }

    /// When what is kept was published.
    pub(super) async fn kept_times(&self, user: &UserName) -> Result<BTreeSet<u64>> {
        let listed = self.bucket.list(&KnowledgePlace::of(user).kept());
        listed
            .try_filter_map(|object| std::future::ready(Ok(KnowledgePlace::kept_time(&object.key))))
            .try_collect()
            .await
    }

    /// What was kept at a time.
    pub(super) async fn kept_at(&self, user: &UserName, unix_ms: u64) -> Result<Option<Kept>> {
        let key = KnowledgePlace::of(user).kept_at(unix_ms, KeptPart::About);
        let small = self.bucket.read(&key, MANIFEST_MAX).await?;
        // What cannot be read was not kept.
        Ok(small.and_then(|small| serde_json::from_slice(&small.bytes).ok()))
    }

    /// Lets batches go that are in the oldest snapshot that is kept: nobody reads
    /// them any more.
    async fn clear_logs(&self, user: &UserName, first_unix_ms: u64) -> Result<()> {
        let Some(first) = self.kept_at(user, first_unix_ms).await? else {
            return Ok(());
        };
        let place = KnowledgePlace::of(user);
        let mut left = DELETED_MAX;
        for (device, sequence) in &first.snapshot.read {
            let listed = self.bucket.list(&place.log(first.epoch, device));
            let mut listed = std::pin::pin!(listed);
            while let Some(object) = listed.try_next().await? {
                let batch = KnowledgePlace::sequence(&object.key);
                if batch.is_none_or(|batch| batch > *sequence) {
                    continue;
                }
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                self.bucket.delete(&object.key).await?;
                debug!(key = %object.key, "a batch is in every snapshot that is kept");
            }
        }
        Ok(())
    }
}
