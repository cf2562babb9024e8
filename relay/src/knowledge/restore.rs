//! Knowledge as it was: a new epoch that begins with a snapshot and the changes
//! after it, until a time. Devices begin anew with it, also those that come later.

use std::collections::BTreeSet;

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::Manifest;

use super::Knowledge;
use crate::objects::error::{Error, ErrorKind};
use crate::objects::layout::{KeptPart, KnowledgePlace, Place};
use crate::sync::catalog::{Catalog, Written};
use crate::sync::entry::{Entry, Wish};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no snapshot of that time or before.
    #[error(
        "nothing is kept of that time, user={user}{oldest}; hint: ginnel-relay knowledge ls {user}"
    )]
    NotKept {
        /// Whose.
        user: UserName,
        /// The oldest that is, in words.
        oldest: String,
    },
    /// The time lies after the last restore, and nothing was published since.
    #[error(
        "nothing was published since the last restore, user={user}; hint: ginnel sync publish on a device, or a time before it"
    )]
    NotPublished {
        /// Whose.
        user: UserName,
    },
    /// Something else was written meanwhile.
    #[error("a device publishes at this moment, user={user}; hint: try again")]
    Busy {
        /// Whose.
        user: UserName,
    },
    /// The bucket failed.
    #[error("cannot restore")]
    Bucket(#[from] Error),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The epoch that begins with it.
    pub epoch: u64,
    /// When the snapshot was published that it begins with.
    pub snapshot_unix_ms: u64,
}

impl Knowledge {
    /// When snapshots were published that are kept, milliseconds since 1970.
    ///
    /// # Errors
    /// The bucket's.
    pub async fn kept(&self, user: &UserName) -> Result<BTreeSet<u64>, Error> {
        self.kept_times(user).await
    }

    /// Makes knowledge as it was at a time.
    ///
    /// # Errors
    /// [`RestoreError`] says why not; nothing is changed then.
    pub async fn restore(
        &self,
        catalog: &Catalog,
        user: &UserName,
        at_unix_ms: u64,
    ) -> Result<Restored, RestoreError> {
        let not_kept = |oldest| RestoreError::NotKept {
            user: user.clone(),
            oldest,
        };
        let times = self.kept_times(user).await?;
        let oldest = times.first().map_or_else(String::new, |oldest| {
            format!(", oldest={}", crate::cli::when::utc(oldest.cast_signed()))
        });
        let time = times.range(..=at_unix_ms).next_back();
        let time = time.ok_or_else(|| not_kept(oldest.clone()))?;
        let kept = self.kept_at(user, *time).await?;
        let kept = kept.ok_or_else(|| not_kept(oldest))?;
        let (manifest, _) = self.manifest(user).await?;
        if manifest.uncovers(kept.epoch) {
            return Err(not_kept(String::new()));
        }
        if kept.epoch != manifest.epoch && at_unix_ms >= manifest.began_unix_ms {
            return Err(RestoreError::NotPublished { user: user.clone() });
        }
        let etag = self.put_back(catalog, user, &kept).await?;
        let restored = self.begin(user, |now| {
            now.restore(&kept, etag.clone(), at_unix_ms, self.now_ms())
        });
        Ok(Restored {
            epoch: restored.await?.epoch,
            snapshot_unix_ms: kept.unix_ms,
        })
    }

    /// Puts a kept database where the published one is. Gives its tag there.
    async fn put_back(
        &self,
        catalog: &Catalog,
        user: &UserName,
        kept: &ginnel_proto::sync::manifest::Kept,
    ) -> Result<String, RestoreError> {
        let place = KnowledgePlace::of(user);
        let artifact = Place::of(&Artifact::Knowledge(kept.snapshot.cover()), user);
        let from = |part| place.kept_at(kept.unix_ms, part);
        let index = artifact.index(&kept.snapshot.blob);
        self.bucket.copy(&from(KeptPart::Index), &index).await?;
        let busy = || RestoreError::Busy { user: user.clone() };
        let now = catalog.read(&artifact).await?;
        // As if its device pushed it again: whoever pushes now has lost.
        let wish = Wish {
            device: &DeviceId::new(user.clone(), kept.device.clone()),
            blob: kept.snapshot.blob,
            size: kept.snapshot.size,
        };
        let entry = now.as_ref().map(|now| &*now.entry);
        let claimed = Entry::claim(entry, &wish, "", self.now_ms()).map_err(|_| busy())?;
        let fence = claimed.fence;
        let Written::Yes(claimed) = catalog.write(&artifact, now.as_ref(), claimed).await? else {
            return Err(busy());
        };
        let database = from(KeptPart::Database);
        let copy = self.bucket.copy(&database, artifact.object()).await?;
        if copy.size != kept.snapshot.size {
            let what = "kept database is damaged";
            return Err(Error::new(ErrorKind::Invalid, what, &database).into());
        }
        let etag = copy.etag.as_str().to_owned();
        let published = claimed
            .entry
            .publish(fence, &etag, kept.index, self.now_ms());
        let published = published.ok_or_else(busy)?;
        match catalog.write(&artifact, Some(&claimed), published).await? {
            Written::Yes(_) => Ok(etag),
            Written::Lost(_) => Err(busy()),
        }
    }

    /// Writes the manifest that `next` makes of the present one.
    pub(crate) async fn begin(
        &self,
        user: &UserName,
        next: impl Fn(&Manifest) -> Manifest,
    ) -> Result<Manifest, RestoreError> {
        let key = KnowledgePlace::of(user).manifest();
        let (now, etag) = self.manifest(user).await?;
        let next = next(&now);
        let bytes = serde_json::to_vec(&next).unwrap_or_default().into();
        let written = match etag {
            Some(etag) => self.bucket.replace(&key, &etag, bytes).await,
            None => self.bucket.create(&key, bytes).await,
        };
        match written {
            Ok(_) => {
                self.begin_head(user, next.epoch).await?;
                Ok(next)
            }
            Err(error) if error.kind() == ErrorKind::Changed => {
                Err(RestoreError::Busy { user: user.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }
}
