//! Which epoch it is where the manifest cannot be read, so that a user can be erased
//! all the same.

use ginnel_proto::id::UserName;
use ginnel_proto::sync::head::{HEAD_MAX, Head};
use ginnel_proto::sync::manifest::{FIRST_EPOCH, Manifest};
use tracing::warn;

use super::Knowledge;
use crate::objects::Etag;
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::KnowledgePlace;

impl Knowledge {
    /// A manifest of the latest epoch that anything else speaks of, and the tag of
    /// what cannot be read. What begins next is of a later one than any device
    /// knows: the head is written when an epoch begins, and the lease in it.
    pub(super) async fn guess_manifest(
        &self,
        user: &UserName,
        why: &Error,
    ) -> Result<(Manifest, Option<Etag>)> {
        let place = KnowledgePlace::of(user);
        let there = self.bucket.head(&place.manifest()).await?;
        let folders = self.bucket.folders(&place.all_logs()).await?;
        let folders = folders.iter().filter_map(KnowledgePlace::epoch).max();
        let kept = self.kept(user).await?.into_values().max();
        let (lease, _) = self.read_lease(&place.lease()).await?;
        let head = self.head_epoch(user).await?;
        let known = [folders, kept, lease.map(|lease| lease.epoch), head];
        let epoch = known.into_iter().flatten().max().unwrap_or(FIRST_EPOCH);
        warn!(%why, %user, epoch, "the manifest is made anew");
        let manifest = Manifest {
            epoch: epoch.max(FIRST_EPOCH),
            ..Manifest::first()
        };
        Ok((manifest, there.map(|there| there.etag)))
    }

    async fn head_epoch(&self, user: &UserName) -> Result<Option<u64>> {
        let key = KnowledgePlace::of(user).head();
        let small = match self.bucket.read(&key, HEAD_MAX).await {
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok(None),
            small => small?,
        };
        let head = small.and_then(|small| serde_json::from_slice(&small.bytes).ok());
        Ok(head.map(|head: Head| head.epoch))
    }
}
