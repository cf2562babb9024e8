//! A push: offer → claim → want → records and base ranges become parts →
//! verified → published. The function to read is [`Push::run`].
//!
//! Nothing is kept here of a push that breaks off: the device has the tags of
//! the parts that are stored, and the entry in the bucket has the claim.

use std::sync::Arc;

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::CHUNKS_MAX;
use ginnel_blob::parts::{PartHash, Parting};
use ginnel_blob::plan::{Chosen, Source, Stock};
use ginnel_link::stream::{RecvHalf, SendHalf, Stream};
use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::DeviceId;
use ginnel_proto::limits::PARTS_MAX;
use ginnel_proto::push::{PushAnswer, Upload, Want};
use ginnel_proto::sync::lease::Lease;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::Sync;
use super::claim::{Claim, Held};
use super::declined::Declined;
use super::ended::Ended;
use super::entry::{Entry, Wish};
use super::offer::Offered;
use super::seal::{self, Opened};
use super::splice::{Base, Part, Splice};
use crate::knowledge::Knowledge;
use crate::knowledge::stale::Stale;
use crate::links::Connected;
use crate::objects::Etag;
use crate::objects::error::ErrorKind;
use crate::objects::layout::Place;
use crate::relay::Relay;

/// Serves a stream that a device opened to push an artifact.
pub async fn serve(relay: &Arc<Relay>, device: &Connected, stream: Stream) {
    let Stream { mut send, mut recv } = stream;
    let Some(sync) = &relay.sync else {
        send.reset(Code::Denied);
        recv.stop(Code::Denied);
        return;
    };
    let push = Push {
        sync,
        knowledge: relay.knowledge.as_ref(),
        device: &device.id,
    };
    let declined = match push.run(&mut send, &mut recv).await {
        Ok(()) => return send.finish(),
        Err(Ended::Stream(error)) => {
            debug!(%error, device = %device.id, "push broke off");
            let code = error.code();
            send.reset(code);
            return recv.stop(code);
        }
        Err(Ended::Declined(declined)) => declined,
        Err(Ended::BadBase(etag)) => {
            sync.distrust(etag);
            let what = "an object in the bucket is damaged that was to give chunks; \
                        hint: push again, it will not be used";
            Declined::new(Code::BucketUnavailable, what)
        }
        Err(Ended::Elsewhere) => Declined::new(Code::Internal, "a part of the push ended"),
    };
    info!(reason = %declined, device = %device.id, "push declined");
    let Declined { code, reason } = declined;
    let answer = PushAnswer::Declined { code, reason };
    // Who does not read it any more needs no answer.
    if tell(&mut send, &answer).await.is_ok() {
        send.finish();
    }
    recv.stop(code);
}

struct Push<'a> {
    sync: &'a Sync,
    knowledge: Option<&'a Knowledge>,
    device: &'a DeviceId,
}

/// What is stored of an upload that is gone on with.
#[derive(Default)]
struct Stored {
    hashes: Vec<PartHash>,
    etags: Vec<String>,
}

impl Push<'_> {
    async fn run(&self, send: &mut SendHalf, recv: &mut RecvHalf) -> Result<(), Ended> {
        let _room = self.sync.room_for(&self.device.user).ok_or_else(|| {
            let what = "the relay has as many pushes as it can serve; hint: try again later";
            Declined::new(Code::Overloaded, what)
        })?;
        let offered = Offered::read(recv, &self.device.user).await?;
        let wish = Wish {
            device: self.device,
            blob: Hash::from_bytes(offered.offer.blob),
            size: offered.offer.size,
        };
        let lease = self.lease(&offered.offer.artifact).await?;
        if let Some(etag) = self.unchanged(&offered, &wish).await? {
            let unchanged = true;
            return tell(send, &PushAnswer::Published { etag, unchanged }).await;
        }
        let resume = offered.offer.resume.as_ref();
        let mut claim = Claim::take(self.sync, &offered.place, &wish, resume).await?;
        let held = claim.held();
        let before = held.published.as_ref().map(|published| published.blob);
        let published = tokio::select! {
            biased;
            lost = claim.keep() => Err(lost.into()),
            published = self.publish(&offered, &wish, &held, send, recv) => published,
        };
        // Who lost it half-way publishes nothing.
        if published.is_ok()
            && let Err(lost) = self.recheck(lease.as_ref()).await
        {
            claim.release().await;
            return Err(lost.into());
        }
        let etag = match published {
            Ok(Ready::Parts { tags, index }) => claim.publish(&wish, tags, index).await?,
            Ok(Ready::There { etag, index }) => claim.publish_there(etag, index).await?,
            Err(ended) => {
                // What cannot be gone on with should not stand in others' way.
                if let Ended::Declined(declined) = &ended
                    && !declined.is_retryable()
                    && declined.code != Code::IdleTimeout
                {
                    claim.release().await;
                }
                return Err(ended);
            }
        };
        // Or in the moment in which the object was replaced.
        if let Err(lost) = self.recheck(lease.as_ref()).await {
            self.take_back(&offered.offer.artifact, &wish, lease.as_ref())
                .await;
            return Err(lost.into());
        }
        info!(
            artifact = %offered.offer.artifact, size = wish.size, blob = %wish.blob,
            device = %self.device, "artifact published"
        );
        // Who removed another artifact of the same bytes meanwhile may have taken
        // the index for one that nobody needs.
        let key = offered.place.index(&wish.blob);
        if self.sync.bucket.head(&key).await?.is_none() {
            self.store_index(&offered, wish.blob).await?;
        }
        if let Artifact::Lora(id) = &offered.offer.artifact {
            self.sync.renew_metadata(id, &wish, &etag).await?;
        }
        let etag = etag.as_str().to_owned();
        let unchanged = false;
        tell(send, &PushAnswer::Published { etag, unchanged }).await?;
        if let Some(before) = before.filter(|before| *before != wish.blob)
            && let Err(error) = self.sync.clear_index(&offered.place, before).await
        {
            debug!(%error, "an index stays that nobody needs");
        }
        Ok(())
    }

    /// Knowledge is pushed by one device at a time, in the epoch that it is: with
    /// this lease. `None` where none is needed.
    async fn lease(&self, artifact: &Artifact) -> Result<Option<Lease>, Declined> {
        match (artifact, self.knowledge) {
            (Artifact::Knowledge(_), Some(knowledge)) => {
                knowledge.check_lease(self.device).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether the device still has it.
    async fn recheck(&self, lease: Option<&Lease>) -> Result<(), Declined> {
        match (lease, self.knowledge) {
            (Some(lease), Some(knowledge)) => knowledge.recheck_lease(self.device, lease).await,
            _ => Ok(()),
        }
    }

    /// Takes away what was pushed in an epoch that ended in that moment.
    async fn take_back(&self, artifact: &Artifact, wish: &Wish<'_>, lease: Option<&Lease>) {
        let (Artifact::Knowledge(cover), Some(knowledge)) = (artifact, self.knowledge) else {
            return;
        };
        let stale = Stale {
            epoch: lease.map_or(0, |lease| lease.epoch),
            cover: *cover,
            blob: wish.blob,
        };
        knowledge
            .take_back(&self.sync.catalog, self.device, &stale)
            .await;
    }

    /// The bucket's tag if the same is published already, and is really there.
    async fn unchanged(&self, offered: &Offered, wish: &Wish<'_>) -> Result<Option<String>, Ended> {
        let Some(now) = self.sync.catalog.read(&offered.place).await? else {
            return Ok(None);
        };
        if now.entry.owner != self.device.user {
            Entry::is_free(Some(&now.entry), self.device, self.sync.now_ms())
                .map_err(Declined::conflict)?;
        }
        let Some(published) = &now.entry.published else {
            return Ok(None);
        };
        if published.blob != wish.blob || published.size != wish.size {
            return Ok(None);
        }
        let object = self.sync.bucket.head(offered.place.object()).await?;
        let is_there = object.is_some_and(|it| it.etag.as_str() == published.etag);
        let index = self
            .sync
            .bucket
            .head(&offered.place.index(&wish.blob))
            .await?;
        Ok((is_there && index.is_some()).then(|| published.etag.clone()))
    }

    /// All between the claim and the last write.
    async fn publish(
        &self,
        offered: &Offered,
        wish: &Wish<'_>,
        held: &Held,
        send: &mut SendHalf,
        recv: &mut RecvHalf,
    ) -> Result<Ready, Ended> {
        self.sync.check_quota(&self.device.user).await?;
        if let Some(etag) = self.left_behind(offered, wish, held).await? {
            let index = self.store_index(offered, wish.blob).await?;
            return Ok(Ready::There { etag, index });
        }
        let (bases, sources) = self.bases(offered, held).await?;
        let parting = Parting::of(wish.size);
        let upload = &held.upload;
        let mut stored = self.stored(offered, upload, parting);
        let splice = Splice {
            bucket: &self.sync.bucket,
            index: &offered.index,
            parting,
            sources: &sources,
            bases: &bases,
            first: u32::try_from(stored.etags.len()).unwrap_or(PARTS_MAX),
        };
        let want = want(&splice, held.fence, upload);
        tell(send, &PushAnswer::Want(want)).await?;

        let (queue, parts) = mpsc::channel(1);
        tokio::try_join!(
            splice.run(recv, queue),
            self.store(offered, upload, parts, &mut stored, send),
        )?;
        if parting.join(&stored.hashes) != Some(wish.blob) {
            let what = "all chunks are right, but the file has another hash than was offered; \
                        hint: push it again";
            return Err(Declined::new(Code::Corrupt, what).into());
        }
        let index = self.store_index(offered, wish.blob).await?;
        Ok(Ready::Parts {
            tags: stored.etags,
            index,
        })
    }

    /// The object's tag if an earlier push of the same was complete, but not
    /// told: a relay died between two writes.
    async fn left_behind(
        &self,
        offered: &Offered,
        wish: &Wish<'_>,
        held: &Held,
    ) -> Result<Option<Etag>, Ended> {
        let Some(object) = self.sync.bucket.head(offered.place.object()).await? else {
            return Ok(None);
        };
        let published = held.published.as_ref().map(|published| &*published.etag);
        if object.size != wish.size || published == Some(object.etag.as_str()) {
            return Ok(None);
        }
        let there = self
            .sync
            .holds(&offered.place, wish.blob, wish.size)
            .await?;
        Ok(there)
    }

    /// Blobs that have some of the chunks: what is published under the name,
    /// and what the device says is like it.
    async fn bases(
        &self,
        offered: &Offered,
        held: &Held,
    ) -> Result<(Vec<Base>, Vec<Source>), Ended> {
        let mut bases = Vec::new();
        let mut stock = Stock::default();
        let mut chunks = 0;
        let own = held.published.clone();
        let mut candidates = vec![(offered.place.clone(), own)];
        for artifact in &offered.offer.bases {
            let place = Place::of(artifact, &self.device.user);
            let entry = self.sync.catalog.read(&place).await?;
            let readable = entry.filter(|it| self.sync.may_read(artifact, &it.entry, self.device));
            let published = readable.and_then(|it| it.entry.published.clone());
            candidates.push((place, published));
        }
        for (place, published) in candidates {
            let Some(published) = published else { continue };
            let etag = Etag::new(&published.etag);
            if self.sync.is_distrusted(&etag) {
                continue;
            }
            // A base without an index only saves nothing.
            let Ok(Some(index)) = self.sync.index(&place, &published.blob).await else {
                continue;
            };
            chunks += index.chunks().len();
            if chunks > 2 * CHUNKS_MAX {
                break;
            }
            stock.add(bases.len(), &index);
            let key = place.object().clone();
            bases.push(Base { key, etag });
        }
        let sources = stock.sources(&offered.index);
        Ok((bases, sources))
    }

    /// The parts that are stored, from the first on without a gap: only tags
    /// that this relay sealed for this upload count.
    fn stored(&self, offered: &Offered, upload: &str, parting: Parting) -> Stored {
        let mut stored = Stored::default();
        let resume = offered.offer.resume.as_ref();
        let same = resume.is_some_and(|it| it.id == upload && it.part_size == parting.part_size());
        if !same {
            return stored;
        }
        let count = usize::try_from(parting.count()).unwrap_or(usize::MAX);
        for (number, tag) in (0..).zip(offered.tags.iter().take(count)) {
            let part = seal::Part {
                key: offered.place.object(),
                upload,
                size: parting.size(),
                number,
            };
            let Some(Opened { hash, etag }) = self.sync.seal_key.open(&part, tag) else {
                break;
            };
            stored.hashes.push(hash);
            stored.etags.push(etag);
        }
        stored
    }

    /// Stores parts as they come, one at a time, and tells the device of each.
    async fn store(
        &self,
        offered: &Offered,
        upload: &str,
        mut parts: mpsc::Receiver<Part>,
        stored: &mut Stored,
        send: &mut SendHalf,
    ) -> Result<(), Ended> {
        let key = offered.place.object();
        while let Some(Part {
            number,
            pieces,
            hash,
        }) = parts.recv().await
        {
            let length: usize = pieces.iter().map(Bytes::len).sum();
            let put = self.sync.bucket.put_part(key, upload, number, pieces);
            let etag = match put.await {
                Ok(etag) => etag,
                // Its tags are good for nothing: the device begins anew.
                Err(error) if error.kind() == ErrorKind::Missing => {
                    warn!(%error, "an upload is gone that was gone on with");
                    return Err(Declined::new(
                        Code::NoArtifact,
                        "the upload is gone from the bucket; hint: push again, it begins anew",
                    )
                    .into());
                }
                Err(error) => return Err(error.into()),
            };
            self.sync.stored(length as u64);
            let part = seal::Part {
                key,
                upload,
                size: offered.offer.size,
                number,
            };
            let opened = Opened { hash, etag };
            let Some(tag) = self.sync.seal_key.seal(&part, &opened) else {
                let what = "the bucket's tags are longer than the protocol has room for";
                return Err(Declined::new(Code::Internal, what).into());
            };
            stored.hashes.push(opened.hash);
            stored.etags.push(opened.etag);
            tell(send, &PushAnswer::Stored { number, tag }).await?;
        }
        Ok(())
    }

    /// Stores the chunk index, before the object is complete: what is
    /// published has one. If the blob has one already, that stays. Returns
    /// what identifies the one that is there.
    async fn store_index(&self, offered: &Offered, blob: Hash) -> Result<Hash, Ended> {
        let key = offered.place.index(&blob);
        let encoded = offered.index.encode();
        match self.sync.bucket.create(&key, encoded).await {
            Ok(_) => return Ok(offered.index.root()),
            Err(error) if error.kind() == ErrorKind::Changed => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(index) = self.sync.index(&offered.place, &blob).await? {
            return Ok(index.root());
        }
        // What lies there is damaged.
        let encoded = offered.index.encode();
        self.sync.bucket.write(&key, encoded).await?;
        Ok(offered.index.root())
    }
}

/// What is left to do.
enum Ready {
    /// The parts become the object.
    Parts { tags: Vec<String>, index: Hash },
    /// The object is there.
    There { etag: Etag, index: Hash },
}

/// What the device is to send.
fn want(splice: &Splice<'_>, fence: u64, upload: &str) -> Want {
    let first = splice.first_chunk();
    let mut chosen = Chosen::none(splice.sources.len());
    for (number, source) in splice.sources.iter().enumerate().skip(first) {
        if *source == Source::Lacking {
            chosen.add(number);
        }
    }
    Want {
        upload: Upload {
            id: upload.to_owned(),
            fence,
            part_size: splice.parting.part_size(),
        },
        parts: splice.first,
        chunks: chosen.encode(),
    }
}

async fn tell(send: &mut SendHalf, answer: &PushAnswer) -> Result<(), Ended> {
    Ok(send
        .send_frame(FrameType::Message, &answer.encode())
        .await?)
}
