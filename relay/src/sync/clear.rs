//! What is no longer wanted in the bucket, taken away.

use ginnel_blob::hash::Hash;

use super::Sync;
use super::catalog::{Versioned, Written};
use super::declined::Declined;
use crate::objects::error::Result;
use crate::objects::layout::{Place, Shelf};

impl Sync {
    /// Deletes what an entry spoke of that is no longer wanted.
    pub(super) async fn clear(&self, place: &Place, old: &Versioned) -> Result<()> {
        let publishing = old.entry.publishing.as_ref();
        if let Some(publishing) = publishing.filter(|it| !it.is_removal()) {
            self.bucket
                .abort(place.object(), &publishing.upload)
                .await?;
        }
        self.bucket.delete(place.object()).await
    }

    /// Lets go of a name whose artifact was taken away. One on a user's own
    /// shelf is free again; another stays its owner's, or devices that pull it
    /// would get what somebody else pushes.
    pub(super) async fn free(
        &self,
        place: &Place,
        begun: &Versioned,
    ) -> std::result::Result<(), Declined> {
        if matches!(place.shelf(), Shelf::ModelsOf(_)) {
            return Ok(self.bucket.delete(&place.entry()).await?);
        }
        let removed = begun.entry.removed();
        match self.catalog.write(place, Some(begun), removed).await? {
            Written::Yes(_) => Ok(()),
            Written::Lost(_) => Err(Declined::busy()),
        }
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
