//! Knowledge as it was: a new epoch that begins with a snapshot and the changes
//! after it, until a time. Devices begin anew with it, also those that come later.
//!
//! ```text
//! choose ─▶ look at the kept database ─▶ claim ─▶ copy it ─▶ manifest ─▶ publish
//!  nothing is changed                      │ nobody pushes meanwhile      │
//! ```

use std::collections::BTreeMap;

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{Kept, Manifest};
use tracing::warn;

use super::Knowledge;
use super::manifest::{TooLong, Unreadable};
use crate::cli::when::utc;
use crate::objects::error::{Error, ErrorKind};
use crate::objects::layout::{KeptPart, KnowledgePlace, Place};
use crate::sync::catalog::{Catalog, Versioned, Written};
use crate::sync::entry::{Entry, Wish};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Nobody knows what will be.
    #[error("the time is in the future, now={now}; hint: a time before that")]
    Future {
        /// The relay's time, in words.
        now: String,
    },
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
    /// The snapshot before that time is of another epoch: what was written in the one of
    /// that time is not in it.
    #[error(
        "nothing was published between the beginning of that time's epoch and that time, user={user}, \
         epoch={epoch}, began={began}; hint: a time before it began, or one after the epoch's first \
         publication, see ginnel-relay knowledge ls {user}; ginnel sync publish on a device makes one"
    )]
    NotPublished {
        /// Whose.
        user: UserName,
        /// Which epoch it was.
        epoch: u64,
        /// When it began, in words.
        began: String,
    },
    /// It is so long ago that it is not known which epoch it was.
    #[error("it is not known any more what belonged to that time, user={user}; hint: a later time")]
    NotKnown {
        /// Whose.
        user: UserName,
    },
    /// The manifest says nothing.
    #[error(
        "what is published cannot be read, user={user}; hint: put an earlier version of the object \
         back, if the bucket keeps versions; or ginnel store backup on a device, and then \
         ginnel-relay user erase {user}, after which files can be added again"
    )]
    Unreadable {
        /// Whose.
        user: UserName,
        /// Why not.
        source: Error,
    },
    /// Something else was written meanwhile.
    #[error("a device publishes at this moment, user={user}; hint: try again")]
    Busy {
        /// Whose.
        user: UserName,
    },
    /// The kept database is in its place, and the epoch that begins with it did not
    /// begin.
    #[error(
        "the restored database is in its place, but devices do not begin with it, user={user}; \
         hint: the same again, or ginnel sync publish on a device to stay with what is now"
    )]
    HalfWay {
        /// Whose.
        user: UserName,
        /// Why not.
        source: Box<Self>,
    },
    /// Nobody could read the manifest again.
    #[error("cannot restore")]
    TooLong(#[from] TooLong),
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

/// A kept database that lies where the published one does. Nobody pushes there until
/// it is published.
struct PutBack {
    place: Place,
    claimed: Versioned,
    etag: String,
}

impl Knowledge {
    /// Makes knowledge as it was at a time.
    ///
    /// # Errors
    /// [`RestoreError`] says why not. Nothing is changed then, but where it is
    /// [`RestoreError::HalfWay`].
    pub async fn restore(
        &self,
        catalog: &Catalog,
        user: &UserName,
        at_unix_ms: u64,
    ) -> Result<Restored, RestoreError> {
        let now_ms = self.now_ms();
        if at_unix_ms > now_ms {
            let now = utc(now_ms.cast_signed());
            return Err(RestoreError::Future { now });
        }
        let manifest = self.manifest(user).await.map(|(manifest, _)| manifest);
        let manifest = manifest.map_err(|source| match source.kind() {
            ErrorKind::Invalid => RestoreError::Unreadable {
                user: user.clone(),
                source,
            },
            ErrorKind::Changed
            | ErrorKind::Missing
            | ErrorKind::Denied
            | ErrorKind::Unavailable => source.into(),
        })?;
        let kept = self.kept_all(user).await?;
        let kept = choose(&kept, &manifest, user, at_unix_ms)?;
        let put = self.put_back(catalog, user, kept).await?;
        let restore = |now: &Manifest| match now.epoch == manifest.epoch {
            true => Ok(now.restore(kept, put.etag.clone(), at_unix_ms, self.now_ms())),
            false => Err(RestoreError::Busy { user: user.clone() }),
        };
        let began = self.begin(user, Unreadable::IsTold, restore).await;
        let epoch = match began {
            Ok(began) => began.epoch,
            Err(source) => {
                self.give_up(catalog, &put.place, &put.claimed).await;
                return Err(RestoreError::HalfWay {
                    user: user.clone(),
                    source: Box::new(source),
                });
            }
        };
        self.publish_back(catalog, kept, &put).await;
        Ok(Restored {
            epoch,
            snapshot_unix_ms: kept.unix_ms,
        })
    }

    /// Puts a kept database where the published one is.
    async fn put_back(
        &self,
        catalog: &Catalog,
        user: &UserName,
        kept: &Kept,
    ) -> Result<PutBack, RestoreError> {
        let place = Place::of(&Artifact::Knowledge(kept.snapshot.cover()), user);
        let from = |part| KnowledgePlace::of(user).kept_at(kept.unix_ms, part);
        let database = from(KeptPart::Database);
        let there = self.bucket.head(&database).await?;
        let hash = match &there {
            Some(there) => Some(self.bucket.hash(there).await?),
            None => None,
        };
        if hash != Some(kept.snapshot.blob) {
            let what = "kept database is damaged; hint: another time";
            return Err(Error::new(ErrorKind::Invalid, what, &database).into());
        }
        let index = place.index(&kept.snapshot.blob);
        self.bucket.copy(&from(KeptPart::Index), &index).await?;
        let claimed = self.claim(catalog, &place, user, kept).await?;
        let put = match self.bucket.copy(&database, place.object()).await {
            Ok(copy) => Ok(PutBack {
                etag: copy.etag.as_str().to_owned(),
                place: place.clone(),
                claimed: claimed.clone(),
            }),
            Err(error) => Err(error.into()),
        };
        if put.is_err() {
            self.give_up(catalog, &place, &claimed).await;
        }
        put
    }

    /// Takes the name as if it was removed, which keeps everybody from pushing: who
    /// did so already has lost.
    async fn claim(
        &self,
        catalog: &Catalog,
        place: &Place,
        user: &UserName,
        kept: &Kept,
    ) -> Result<Versioned, RestoreError> {
        let busy = || RestoreError::Busy { user: user.clone() };
        let now = catalog.read(place).await?;
        let entry = now.as_ref().map(|now| &*now.entry);
        let device = DeviceId::new(user.clone(), kept.device.clone());
        let wish = Wish {
            device: &device,
            blob: kept.snapshot.blob,
            size: kept.snapshot.size,
        };
        let claimed = Entry::claim(entry, &wish, "", self.now_ms()).map_err(|_| busy())?;
        let Written::Yes(claimed) = catalog.write(place, now.as_ref(), claimed).await? else {
            return Err(busy());
        };
        // What is complete after this replaces nothing any more.
        if let Some(before) = entry.and_then(|entry| entry.publishing.as_ref())
            && let Err(error) = self.bucket.abort(place.object(), &before.upload).await
        {
            self.give_up(catalog, place, &claimed).await;
            return Err(error.into());
        }
        Ok(claimed)
    }

    /// The entry speaks of what is there now. Where that fails, new devices wait for the
    /// next publication.
    async fn publish_back(&self, catalog: &Catalog, kept: &Kept, put: &PutBack) {
        let entry = &put.claimed.entry;
        let published = entry.publish(entry.fence, &put.etag, kept.index, self.now_ms());
        let Some(published) = published else { return };
        let written = catalog
            .write(&put.place, Some(&put.claimed), published)
            .await;
        match written {
            Ok(Written::Yes(_)) => {}
            Ok(Written::Lost(_)) => warn!("something newer was pushed over what was restored"),
            Err(error) => warn!(%error, "new devices wait until a device publishes"),
        }
    }

    /// Lets the name go. The entry speaks of no object but the one that is there.
    async fn give_up(&self, catalog: &Catalog, place: &Place, claimed: &Versioned) {
        let entry = &claimed.entry;
        let before = entry.published.as_ref().map(|it| &*it.etag);
        let is_as_before = match self.bucket.head(place.object()).await {
            Ok(now) => now.as_ref().map(|now| now.etag.as_str()) == before,
            Err(_) => false,
        };
        let let_go = match is_as_before {
            true => entry.released(entry.fence),
            false => Some(entry.removed()),
        };
        let Some(let_go) = let_go else { return };
        if let Err(error) = catalog.write(place, Some(claimed), let_go).await {
            warn!(%error, "cannot let a name go; its claim will run out");
        }
    }

    /// Begins the epoch whose manifest `next` makes of the present one.
    pub(super) async fn begin(
        &self,
        user: &UserName,
        unreadable: Unreadable,
        next: impl Fn(&Manifest) -> Result<Manifest, RestoreError>,
    ) -> Result<Manifest, RestoreError> {
        let moved = self.move_manifest(user, unreadable, next).await?;
        let next = moved.ok_or_else(|| RestoreError::Busy { user: user.clone() })?;
        // The manifest says it. Devices hear of it with the next batch or publication.
        if let Err(error) = self.begin_head(user, next.epoch).await {
            warn!(%error, %user, "devices may hear later of the new epoch");
        }
        Ok(next)
    }

    /// Begins the epoch in which everything of a user is erased, also where the
    /// manifest is damaged.
    ///
    /// # Errors
    /// [`RestoreError::Busy`], or the bucket's.
    pub(crate) async fn begin_erased(
        &self,
        user: &UserName,
        erased_unix_ms: u64,
    ) -> Result<Manifest, RestoreError> {
        let erase = |now: &Manifest| Ok(now.erase(erased_unix_ms));
        self.begin(user, Unreadable::IsReplaced, erase).await
    }
}

/// The snapshot that a moment is restored from: the last one before it, of its epoch.
fn choose<'a>(
    kept: &'a BTreeMap<u64, Option<Kept>>,
    manifest: &Manifest,
    user: &UserName,
    at_unix_ms: u64,
) -> Result<&'a Kept, RestoreError> {
    let user = || user.clone();
    let all = kept.values().flatten();
    // An erasure that stopped half-way may have left some.
    let is_to_go = |epoch| manifest.uncovers(epoch) || manifest.erases(epoch);
    let mut all = all.filter(|kept| !is_to_go(kept.epoch)).peekable();
    let oldest = all.peek().map_or_else(String::new, |oldest| {
        format!(", oldest={}", utc(oldest.unix_ms.cast_signed()))
    });
    let before = all.take_while(|kept| kept.unix_ms <= at_unix_ms).last();
    let Some(before) = before else {
        let user = user();
        return Err(RestoreError::NotKept { user, oldest });
    };
    match manifest.epoch_at(at_unix_ms) {
        Some(then) if then.epoch == before.epoch => Ok(before),
        Some(then) => Err(RestoreError::NotPublished {
            user: user(),
            epoch: then.epoch,
            began: utc(then.unix_ms.cast_signed()),
        }),
        None => Err(RestoreError::NotKnown { user: user() }),
    }
}
