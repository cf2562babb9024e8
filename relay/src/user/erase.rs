//! Everything of a user, erased. Devices hear of it in the manifest, which stays.

use ginnel_proto::id::UserName;
use serde::Serialize;

use super::belongings;
use crate::knowledge::Knowledge;
use crate::knowledge::restore::RestoreError;
use crate::objects::Bucket;
use crate::objects::error::Error;
use crate::objects::layout::KnowledgePlace;
use crate::registry::Registry;
use crate::registry::users::ErasedRows;
use crate::sync::catalog::Catalog;

/// What was erased, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Whose.
    pub user: String,
    /// When, milliseconds since 1970.
    pub erased_unix_ms: u64,
    /// The epoch in which devices begin anew, and by which they know.
    pub epoch: u64,
    /// Objects that were deleted from the bucket, with their versions and indexes.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were deleted from the registry.
    pub rows: ErasedRows,
    /// Devices that erase what they have when they are next connected.
    pub devices: Vec<String>,
}

/// Why not everything was erased. What was is; the next try goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The bucket failed.
    #[error("cannot erase objects")]
    Bucket(#[from] Error),
    /// The manifest was written at the same time.
    #[error("cannot tell devices")]
    Manifest(#[from] RestoreError),
    /// The registry failed.
    #[error("cannot erase rows")]
    Registry(#[from] crate::registry::error::Error),
}

/// Erases everything of a user: first devices are told, so that none writes
/// anew what is deleted next.
///
/// # Errors
/// [`EraseError`] says what could not be done.
pub async fn erase(
    bucket: &Bucket,
    registry: &Registry,
    knowledge: &Knowledge,
    user: &UserName,
    now_ms: i64,
) -> Result<Receipt, EraseError> {
    let erased_unix_ms = now_ms.unsigned_abs();
    let manifest = knowledge.begin_erased(user, erased_unix_ms).await?;
    let catalog = Catalog::new(bucket.clone());
    let found = belongings::find(bucket, &catalog, user).await?;
    for (key, upload) in &found.uploads {
        bucket.abort(key, upload).await?;
    }
    let place = KnowledgePlace::of(user);
    let stays = [place.manifest(), place.head()];
    let (mut objects, mut bytes) = (0, 0);
    for object in &found.objects {
        if !stays.contains(&object.key) {
            bucket.delete(&object.key).await?;
            objects += 1;
            bytes += object.size;
        }
    }
    let rows = registry.erase_user(user).await?;
    let devices = registry.devices().await?.into_iter();
    let devices =
        devices.filter(|device| device.id.user == *user && device.revoked_at_ms.is_none());
    Ok(Receipt {
        user: user.to_string(),
        erased_unix_ms,
        epoch: manifest.epoch,
        objects,
        bytes,
        rows,
        devices: devices.map(|device| device.id.device.to_string()).collect(),
    })
}
