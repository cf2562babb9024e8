//! What is no longer wanted in the bucket, taken away.

use ginnel_blob::hash::Hash;

use super::Sync;
use super::catalog::Versioned;
use crate::objects::error::Result;
use crate::objects::layout::Place;

impl Sync {
    /// Deletes what an entry spoke of that is no longer wanted.
    pub(super) async fn clear(&self, place: &Place, old: &Versioned) -> Result<()> {
        if let Some(publishing) = &old.entry.publishing {
            self.bucket
                .abort(place.object(), &publishing.upload)
                .await?;
        }
        self.bucket.delete(place.object()).await
    }

    /// Deletes the index of a blob, unless an entry of the shelf still has it.
    pub(super) async fn clear_index(&self, place: &Place, blob: Hash) -> Result<()> {
        let entries = self.catalog.list(place.shelf()).await?;
        let is_used = entries.iter().any(|(_, entry)| {
            let published = entry.published.as_ref().map(|it| it.blob);
            let publishing = entry.publishing.as_ref().map(|it| it.blob);
            published == Some(blob) || publishing == Some(blob)
        });
        if is_used {
            return Ok(());
        }
        self.bucket.delete(&place.index(&blob)).await
    }
}
