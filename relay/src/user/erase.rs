//! Everything of a user, erased. Devices hear of it in the manifest, which stays.

use std::collections::BTreeSet;

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::UserName;
use serde::Serialize;

use super::belongings::{self, Belongings, Name};
use crate::knowledge::Knowledge;
use crate::knowledge::restore::RestoreError;
use crate::objects::Bucket;
use crate::objects::error::Error;
use crate::objects::layout::{KnowledgePlace, Shelf};
use crate::registry::Registry;
use crate::registry::users::ErasedRows;
use crate::sync::catalog::{Catalog, Written};

/// How often the bucket is looked at until there is nothing more.
const LOOKS: usize = 4;

/// What was erased, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Whose.
    pub user: String,
    /// When, milliseconds since 1970.
    pub erased_unix_ms: u64,
    /// The epoch in which devices begin anew, and by which they know.
    pub epoch: u64,
    /// Objects that were deleted from the bucket. What a bucket with versions keeps of
    /// them is not among them, and stays.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names on shelves for all, which stay the user's, so that nobody else gets them.
    pub names: Vec<String>,
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
    /// A device goes on pushing.
    #[error("a device pushes at this moment, artifact={artifact}; hint: try again")]
    Busy {
        /// What.
        artifact: Artifact,
    },
    /// Something came again and again.
    #[error("devices go on pushing, and not all is erased; hint: try again")]
    GoesOn,
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
    let (mut objects, mut bytes) = (0, 0);
    let mut names = BTreeSet::new();
    // What was being pushed or written when devices were told comes after the first
    // look.
    let mut is_done = false;
    for _ in 0..LOOKS {
        let found = belongings::find(bucket, &catalog, user).await?;
        let deleted = delete(bucket, user, &found).await?;
        is_done = deleted.0 == 0 && found.uploads.is_empty();
        objects += deleted.0;
        bytes += deleted.1;
        for name in found.names {
            if !name.is_bare {
                bare(&catalog, user, &name).await?;
            }
            names.insert(name.artifact.to_string());
        }
        if is_done {
            break;
        }
    }
    if !is_done {
        return Err(EraseError::GoesOn);
    }
    for folder in [
        KnowledgePlace::all(user),
        Shelf::ModelsOf(user.clone()).all(),
    ] {
        bucket.sweep(&folder).await?;
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
        names: names.into_iter().collect(),
        rows,
        devices: devices.map(|device| device.id.device.to_string()).collect(),
    })
}

/// Deletes all but what tells devices, and the names that stay. Gives how many objects,
/// and their bytes.
async fn delete(
    bucket: &Bucket,
    user: &UserName,
    found: &Belongings,
) -> Result<(u64, u64), EraseError> {
    for (key, upload) in &found.uploads {
        bucket.abort(key, upload).await?;
    }
    let place = KnowledgePlace::of(user);
    let mut stays = vec![place.manifest(), place.head()];
    stays.extend(found.names.iter().map(|name| name.place.entry()));
    let (mut objects, mut bytes) = (0, 0);
    for object in &found.objects {
        if !stays.contains(&object.key) {
            bucket.delete(&object.key).await?;
            objects += 1;
            bytes += object.size;
        }
    }
    Ok((objects, bytes))
}

/// Leaves of an entry that a name is a user's, and nothing else: devices of others that
/// pull it would get what somebody else pushes.
async fn bare(catalog: &Catalog, user: &UserName, name: &Name) -> Result<(), EraseError> {
    for _ in 0..LOOKS {
        let now = catalog.read(&name.place).await?;
        let Some(now) = now.filter(|now| now.entry.owner == *user) else {
            return Ok(());
        };
        let removed = now.entry.removed();
        if let Written::Yes(_) = catalog.write(&name.place, Some(&now), removed).await? {
            return Ok(());
        }
    }
    Err(EraseError::Busy {
        artifact: name.artifact.clone(),
    })
}
