//! Keeps what is published, an hour apart, and lets go what is older than a week:
//! snapshots, and the logs before the first of them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, TryStreamExt as _};
use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::keep::{KEPT_MS, Times, done_with, is_due};
use ginnel_proto::sync::manifest::{Kept, MANIFEST_MAX, Manifest};
use object_store::path::Path;
use tracing::{debug, warn};

use super::Knowledge;
use crate::objects::error::{ErrorKind, Result};
use crate::objects::layout::{KeptPart, KnowledgePlace, Place};
use crate::sync::entry::Published;

/// Batches that are deleted after one publication: of more, the rest goes after
/// the next ones.
const DELETED_MAX: usize = 2000;

/// The longest text about a snapshot, in bytes: one that a manifest has room for,
/// and its names.
const ABOUT_MAX: usize = 2 * MANIFEST_MAX;

/// Texts that are read at once.
const READS: usize = 16;

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
        let long_ago = now_ms.saturating_sub(KEPT_MS);
        let mut kept = self.kept_all(user).await?;
        // What cannot be read is of no use; a person may mend it for so long.
        let damaged: Vec<u64> = kept
            .extract_if(..long_ago, |_, kept| kept.is_none())
            .map(|(at, _)| at)
            .collect();
        let mut times = times(&kept);
        if !is_due(&times, manifest.epoch, now_ms) {
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
            if self.keep(user, &about).await? {
                times.insert(about.unix_ms, about.epoch);
                kept.insert(about.unix_ms, Some(about));
            }
        }
        for unix_ms in done_with(&times, now_ms).into_iter().chain(damaged) {
            self.forget(user, unix_ms).await?;
            kept.remove(&unix_ms);
        }
        // Until then every moment can be restored.
        let first = kept.into_values().flatten().next();
        match first.filter(|first| first.unix_ms <= long_ago) {
            Some(first) => self.clear_logs(user, &first, manifest).await,
            None => Ok(()),
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

    /// Keeps what is published. Tells whether that was still what it is about.
    async fn keep(&self, user: &UserName, about: &Kept) -> Result<bool> {
        let place = KnowledgePlace::of(user);
        let artifact = Place::of(&Artifact::Knowledge(about.snapshot.cover()), user);
        let at = |part| place.kept_at(about.unix_ms, part);
        let index = artifact.index(&about.snapshot.blob);
        self.bucket.copy(&index, &at(KeptPart::Index)).await?;
        self.bucket
            .copy(artifact.object(), &at(KeptPart::Database))
            .await?;
        // Looked at last: versions of one size are many, those of one tag are one.
        let now = self.bucket.head(artifact.object()).await?;
        if now.is_none_or(|now| now.etag.as_str() != about.snapshot.etag) {
            // Another one was published meanwhile, and is kept in its turn.
            self.forget(user, about.unix_ms).await?;
            return Ok(false);
        }
        let bytes = serde_json::to_vec(about).unwrap_or_default();
        let key = at(KeptPart::About);
        self.bucket.write(&key, bytes.into()).await?;
        Ok(true)
    }

    /// When snapshots were published that are kept, and in which epochs.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn kept(&self, user: &UserName) -> Result<Times> {
        Ok(times(&self.kept_all(user).await?))
    }

    /// All that is kept, by when it was published; `None` of what cannot be read.
    pub(super) async fn kept_all(&self, user: &UserName) -> Result<BTreeMap<u64, Option<Kept>>> {
        let listed = self.kept_times(user).await?;
        stream::iter(listed.into_iter().map(Ok))
            .map_ok(|unix_ms| async move { Ok((unix_ms, self.kept_at(user, unix_ms).await?)) })
            .try_buffered(READS)
            .try_collect()
            .await
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
        let small = match self.bucket.read(&key, ABOUT_MAX).await {
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok(None),
            small => small?,
        };
        // What cannot be read was not kept.
        Ok(small.and_then(|small| serde_json::from_slice(&small.bytes).ok()))
    }

    /// Lets batches go that are in the oldest snapshot that is kept, and all of the
    /// epochs before it: nobody reads them any more.
    async fn clear_logs(&self, user: &UserName, first: &Kept, manifest: &Manifest) -> Result<()> {
        let place = KnowledgePlace::of(user);
        let mut left = DELETED_MAX;
        let base = manifest.base.as_ref().map_or(u64::MAX, |base| base.epoch);
        let needed = first.epoch.min(base);
        for folder in self.bucket.folders(&place.all_logs()).await? {
            if KnowledgePlace::epoch(&folder).is_some_and(|epoch| epoch < needed) {
                self.clear(&folder, u64::MAX, &mut left).await?;
            }
        }
        for (device, sequence) in &first.snapshot.read {
            let log = place.log(first.epoch, device);
            self.clear(&log, *sequence, &mut left).await?;
        }
        Ok(())
    }

    /// Deletes the batches of a folder up to one of them, while some are left of those
    /// that may be deleted.
    async fn clear(&self, folder: &Path, last: u64, left: &mut usize) -> Result<()> {
        let listed = self.bucket.list(folder);
        let mut listed = std::pin::pin!(listed);
        while let Some(object) = listed.try_next().await? {
            let batch = KnowledgePlace::sequence(&object.key);
            if batch.is_none_or(|batch| batch > last) {
                continue;
            }
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            self.bucket.delete(&object.key).await?;
            debug!(key = %object.key, "a batch is in every snapshot that is kept");
        }
        Ok(())
    }
}

fn times(kept: &BTreeMap<u64, Option<Kept>>) -> Times {
    let known = kept
        .iter()
        .filter_map(|(at, kept)| Some((*at, kept.as_ref()?.epoch)));
    known.collect()
}
