//! A push's hold on an artifact's name, from its claim to its end.

use std::ops::ControlFlow;
use std::time::Duration;

use ginnel_blob::hash::Hash;
use ginnel_proto::push::Upload;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::Sync;
use super::catalog::{Versioned, Written};
use super::declined::Declined;
use super::entry::{CLAIM_FOR, Entry, Published, RENEW_EVERY, Wish};
use crate::objects::Etag;
use crate::objects::layout::Place;

/// How often a write is tried against others who write the same entry.
const TRIES: usize = 5;

/// An object is only replaced while so much of the claim is left, and while it
/// is renewed.
const MARGIN: Duration = Duration::from_secs(45);

/// What a claim is, as it was when it was taken.
#[derive(Debug)]
pub(super) struct Held {
    /// Its number.
    pub(super) fence: u64,
    /// The bucket's name for the upload.
    pub(super) upload: String,
    /// The version that is published meanwhile.
    pub(super) published: Option<Published>,
}

/// The name is this push's, unless the claim has run out.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    sync: &'a Sync,
    place: &'a Place,
    fence: u64,
    /// The bucket's name for the upload.
    upload: String,
    /// The entry as last written or read.
    entry: Versioned,
    ends: Instant,
}

impl<'a> Claim<'a> {
    /// Claims the name, and goes on with the device's upload if it is still
    /// that of the entry; else begins one. What was uploaded there before is
    /// deleted.
    pub(super) async fn take(
        sync: &'a Sync,
        place: &'a Place,
        wish: &Wish<'_>,
        resume: Option<&Upload>,
    ) -> Result<Self, Declined> {
        for _ in 0..TRIES {
            let now = sync.catalog.read(place).await?;
            let entry = now.as_ref().map(|now| &*now.entry);
            Entry::may_push(entry, wish.device, sync.now_ms()).map_err(Declined::conflict)?;
            if entry.is_none() {
                sync.check_names(&wish.device.user).await?;
            }
            let left = entry.and_then(|entry| entry.publishing.as_ref());
            let goes_on = left.filter(|left| {
                let same = left.blob == wish.blob && left.size == wish.size;
                same && resume.is_some_and(|resume| resume.id == left.upload)
            });
            let goes_on = goes_on.map(|left| left.upload.clone());
            if let (None, Some(left), Some(now)) = (&goes_on, left, &now) {
                // It may be complete, and only not told: what it replaced is not
                // there any more.
                if !left.is_removal() {
                    sync.bucket.abort(place.object(), &left.upload).await?;
                }
                if sync.tell_completed(place, now).await? {
                    continue;
                }
            }
            let upload = match &goes_on {
                Some(upload) => upload.clone(),
                None => sync.bucket.begin_upload(place.object()).await?,
            };
            let claimed = Entry::claim(entry, wish, &upload, sync.now_ms());
            let claimed = claimed.map_err(Declined::conflict)?;
            let fence = claimed.fence;
            let begun = Instant::now();
            match sync.catalog.write(place, now.as_ref(), claimed).await? {
                Written::Yes(entry) => {
                    return Ok(Self {
                        sync,
                        place,
                        fence,
                        upload,
                        entry,
                        ends: begun + CLAIM_FOR,
                    });
                }
                Written::Lost(_) if goes_on.is_none() => {
                    sync.bucket.abort(place.object(), &upload).await?;
                }
                Written::Lost(_) => {}
            }
        }
        Err(Declined::busy())
    }

    /// The claim of a removal, as the entry has it.
    pub(super) fn of_removal(sync: &'a Sync, place: &'a Place, begun: Versioned) -> Self {
        Self {
            sync,
            place,
            fence: begun.entry.fence,
            upload: String::new(),
            entry: begun,
            ends: Instant::now() + CLAIM_FOR,
        }
    }

    /// The entry as it was last written or read.
    pub(super) fn into_entry(self) -> Versioned {
        self.entry
    }

    /// What the claim is, while it is kept elsewhere.
    pub(super) fn held(&self) -> Held {
        Held {
            fence: self.fence,
            upload: self.upload.clone(),
            published: self.entry.entry.published.clone(),
        }
    }

    /// Renews the claim for as long as it is polled; returns when it is lost.
    /// What was being written when it is dropped is found out about later.
    pub(super) async fn keep(&mut self) -> Declined {
        loop {
            sleep(RENEW_EVERY).await;
            match self.renew().await {
                Ok(()) => {}
                Err(error) if error.is_retryable() && Instant::now() + MARGIN < self.ends => {
                    warn!(reason = %error, "cannot renew the claim on a name; trying again");
                }
                Err(error) => return error,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Declined> {
        let (fence, now_ms) = (self.fence, self.sync.now_ms());
        let begun = Instant::now();
        self.write(|entry| entry.renewed(fence, now_ms)).await?;
        self.ends = begun + CLAIM_FOR;
        Ok(())
    }

    /// Makes the object of its parts, and publishes it.
    pub(super) async fn publish(
        mut self,
        wish: &Wish<'_>,
        tags: Vec<String>,
        index: Hash,
    ) -> Result<Etag, Declined> {
        if Instant::now() + MARGIN > self.ends {
            self.renew().await?;
        }
        let (sync, key, upload) = (self.sync, self.place.object(), self.upload.clone());
        // Of thousands of parts this may take minutes.
        let completed = tokio::select! {
            biased;
            completed = sync.bucket.complete(key, &upload, tags) => completed,
            lost = self.keep() => return Err(lost),
        };
        let etag = match completed {
            Ok(etag) => etag,
            // The answer was lost, or another relay was as far: what counts is
            // what is there.
            Err(error) => match self.sync.holds(self.place, wish.blob, wish.size).await? {
                Some(etag) => etag,
                None => return Err(error.into()),
            },
        };
        self.publish_as(etag, index).await
    }

    /// Publishes the object that is there already: the upload that was begun is
    /// not needed.
    pub(super) async fn publish_there(self, etag: Etag, index: Hash) -> Result<Etag, Declined> {
        let (sync, key, upload) = (self.sync, self.place.object(), self.upload.clone());
        let published = self.publish_as(etag, index).await?;
        if let Err(error) = sync.bucket.abort(key, &upload).await {
            debug!(%error, "cannot end an upload that nobody needs; the bucket will");
        }
        Ok(published)
    }

    async fn publish_as(mut self, etag: Etag, index: Hash) -> Result<Etag, Declined> {
        let (fence, now_ms) = (self.fence, self.sync.now_ms());
        self.write(|entry| entry.publish(fence, etag.as_str(), index, now_ms))
            .await?;
        Ok(etag)
    }

    /// Lets the name go and deletes what was uploaded: this push will not be
    /// gone on with.
    pub(super) async fn release(mut self) {
        let fence = self.fence;
        if let Err(error) = self.write(|entry| entry.released(fence)).await {
            debug!(reason = %error, "cannot let a name go; its claim will run out");
            // Whoever has the name now has ended the upload, or goes on with it.
            return;
        }
        let key = self.place.object();
        if let Err(error) = self.sync.bucket.abort(key, &self.upload).await {
            debug!(%error, "cannot end an upload; the bucket will");
        }
    }

    /// Writes the entry that `change` makes of the present one, which is
    /// `None` where the name is lost.
    async fn write(&mut self, change: impl Fn(&Entry) -> Option<Entry>) -> Result<(), Declined> {
        for _ in 0..TRIES {
            let Some(entry) = change(&self.entry.entry) else {
                return Err(Declined::lost());
            };
            let written = self
                .sync
                .catalog
                .write(self.place, Some(&self.entry), entry);
            let step = match written.await? {
                Written::Yes(entry) => ControlFlow::Break(entry),
                Written::Lost(Some(entry)) => ControlFlow::Continue(entry),
                Written::Lost(None) => return Err(Declined::lost()),
            };
            match step {
                ControlFlow::Break(entry) => {
                    self.entry = entry;
                    return Ok(());
                }
                ControlFlow::Continue(entry) => self.entry = entry,
            }
        }
        Err(Declined::busy())
    }
}
