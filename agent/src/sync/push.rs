//! An artifact to the relay: offer → want → records → stored, part by part →
//! published. The function to read is [`Push::run`].
//!
//! What a break costs is bounded: see [`Flow`].

use std::sync::Arc;
use std::time::Duration;

use ginnel_blob::index::ChunkIndex;
use ginnel_blob::parts::Parting;
use ginnel_blob::plan::Chosen;
use ginnel_link::link::{Link, Priority};
use ginnel_link::stream::{RecvHalf, SendHalf, Stream};
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::limits::PARTS_IN_MESSAGE;
use ginnel_proto::open::Open;
use ginnel_proto::push::{Offer, Parts, PushAnswer, PushRequest, Want};
use ginnel_store::Store;
use ginnel_store::artifact::Remote;
use ginnel_store::blob::BlobFolder;
use ginnel_store::transfer::{Piece, Transfer};
use tokio::time::timeout;
use tracing::debug;

use super::bases;
use super::failure::{Failure, Then};
use super::flow::Flow;
use super::pace::Pace;
use super::records::{Record, Records};

/// How long the relay may say nothing while it is its turn: it puts parts into
/// the bucket, and tries again there for half a minute; at the end it makes
/// the object of them, or reads it once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);

/// How much of a record is sent at once, in bytes.
const STEP: usize = 64 << 10;

/// One push of one transfer.
pub(super) struct Push<'a> {
    pub(super) store: &'a Store,
    pub(super) folder: &'a BlobFolder,
    pub(super) link: &'a Link,
    pub(super) pace: &'a Pace,
    pub(super) transfer: Transfer,
}

/// What the relay said first.
enum First {
    Want(Want),
    Published(Remote),
    Failed(Failure),
}

impl Push<'_> {
    /// Pushes, and notes how far it is.
    pub(super) async fn run(&self) -> Result<Remote, Failure> {
        let index = self.store.chunk_index(self.transfer.blob).await?;
        let Some(index) = index else {
            return Err(Failure::give(
                "the chunk index is gone; hint: push the file again",
            ));
        };
        let index = Arc::new(index);
        let records = self.records(Arc::clone(&index)).await?;
        let Stream { mut send, mut recv } = self.link.open(Priority::Bulk).await?;
        let offered = timeout(ANSWER_TIMEOUT, self.offer(&index, &mut send, &mut recv));
        let want = match offered.await {
            Ok(First::Want(want)) => want,
            Ok(First::Published(remote)) => return Ok(remote),
            Ok(First::Failed(failure)) => return Err(failure),
            Err(_) => return Err(Failure::retry("the relay does not answer the offer")),
        };
        let chosen = self.plan(&index, &want).await?;
        let records = Records {
            wanted: chosen.numbers().collect(),
            ..records
        };
        let flow = Flow::new(Arc::clone(&index), want.parts);
        let sending = self.send(records, &flow, &mut send);
        let hearing = self.hear(&flow, &mut recv);
        tokio::pin!(sending, hearing);
        let mut is_sent = false;
        loop {
            // The relay's last word counts, also while records are on their way.
            tokio::select! {
                biased;
                heard = &mut hearing => return heard,
                sent = &mut sending, if !is_sent => match sent {
                    Ok(()) => is_sent = true,
                    Err(failure) if failure.then == Then::Give => return Err(failure),
                    // It takes no more, and says why in its own words.
                    Err(failure) => {
                        debug!(%failure, "records are not taken any more");
                        let heard = timeout(ANSWER_TIMEOUT, &mut hearing).await;
                        return heard.unwrap_or(Err(failure));
                    }
                },
            }
        }
    }

    /// The file, if it can still be the one that was read: each chunk is held
    /// to its hash besides.
    async fn records(&self, index: Arc<ChunkIndex>) -> Result<Records, Failure> {
        let path = self.transfer.path.clone();
        let opened = self.folder.apart(move |folder, _| {
            let inspected = folder.inspect(&path)?;
            let (file, stamp) = folder.open_file(&path)?;
            Ok((inspected, file, stamp))
        });
        let (inspected, file, stamp) = opened.await?;
        if inspected.stamp != stamp || stamp.size != index.size() {
            let name = &self.transfer.artifact;
            let what = format_args!(
                "the file is another one than was to be pushed, name={name}; hint: push it again"
            );
            return Err(Failure::give(what));
        }
        Ok(Records {
            file,
            index,
            header: inspected.header,
            wanted: Vec::new(),
        })
    }

    /// Says what there is, and what is stored of it already.
    async fn offer(&self, index: &ChunkIndex, send: &mut SendHalf, recv: &mut RecvHalf) -> First {
        match self.try_offer(index, send, recv).await {
            Ok(first) => first,
            Err(failure) => First::Failed(failure),
        }
    }

    async fn try_offer(
        &self,
        index: &ChunkIndex,
        send: &mut SendHalf,
        recv: &mut RecvHalf,
    ) -> Result<First, Failure> {
        let encoded = index.encode();
        let length = u32::try_from(encoded.len()).map_err(Failure::give)?;
        let bases = bases::of(self.store, &self.transfer.artifact, index).await?;
        let offer = Offer {
            artifact: self.transfer.artifact.clone(),
            blob: *self.transfer.blob.as_bytes(),
            size: index.size(),
            index_length: length,
            bases,
            resume: self.transfer.upload.clone(),
        };
        let open = frame::whole(FrameType::Open, &Open::Push.encode());
        let offer = frame::whole(FrameType::Message, &PushRequest::Offer(offer).encode());
        let mut sent = vec![open, offer];
        if self.transfer.upload.is_some() {
            let tags = self.store.transfer_parts(self.transfer.id).await?;
            for parts in messages(tags) {
                let parts = PushRequest::Parts(parts).encode();
                sent.push(frame::whole(FrameType::Message, &parts));
            }
        }
        sent.push(frame::data_header(encoded.len()));
        sent.push(encoded);
        // A relay that declines may do so before it has read all.
        if let Err(error) = send.send(&mut sent).await {
            debug!(%error, "the offer is not taken");
        }
        match next(recv).await? {
            PushAnswer::Want(want) => Ok(First::Want(want)),
            PushAnswer::Published { etag, .. } => Ok(First::Published(self.remote(etag))),
            PushAnswer::Declined { code, reason } => Err(Failure::of_relay(code, reason)),
            PushAnswer::Stored { .. } => Err(out_of_turn()),
        }
    }

    /// Checks what the relay wants, and notes it: from here on a break costs
    /// little.
    async fn plan(&self, index: &ChunkIndex, want: &Want) -> Result<Chosen, Failure> {
        let parting = Parting::of(index.size());
        let strange = |what: &str| Failure::give(format_args!("the relay wants {what}"));
        if want.upload.part_size != parting.part_size() {
            return Err(strange("parts of another size than this version makes"));
        }
        let chunks = Chosen::decode(&want.chunks, index.chunks().len());
        let chosen = chunks.ok_or_else(|| strange("chunks that do not exist"))?;
        let id = self.transfer.id;
        let mut tags = self.store.transfer_parts(id).await?;
        let kept = usize::try_from(want.parts).unwrap_or(usize::MAX);
        let goes_on = self.transfer.upload.as_ref().map(|it| &*it.id) == Some(&*want.upload.id);
        if want.parts > parting.count() || kept > if goes_on { tags.len() } else { 0 } {
            return Err(strange("more than there is"));
        }
        // The upload may be the same, but its fence is a new one.
        tags.truncate(kept);
        self.store.forget_upload(id).await?;
        self.store
            .keep_upload(id, want.upload.clone(), None)
            .await?;
        let kept = (0..).zip(tags).map(|(number, tag)| Piece {
            number,
            tag,
            travelled: 0,
        });
        self.store.keep_parts(id, kept.collect()).await?;
        let lacking = chosen.length(index);
        let left = index.size() - parting.place(want.parts).start;
        let reused = left.saturating_sub(lacking);
        let reused = match goes_on {
            true => reused.max(self.transfer.progress.reused),
            false => reused,
        };
        self.store.plan_transfer(id, lacking, reused).await?;
        Ok(chosen)
    }

    /// Sends the records, as far as the window lets it.
    async fn send(
        &self,
        records: Records,
        flow: &Flow,
        send: &mut SendHalf,
    ) -> Result<(), Failure> {
        let mut records = records.begin();
        while let Some(record) = records.recv().await {
            let Record { chunk, bytes } = record?;
            flow.room(chunk.end()).await;
            let length = bytes.len();
            let mut left = bytes;
            // In small steps, so that a slow pace is no silence.
            while !left.is_empty() {
                let slice = left.split_to(left.len().min(STEP));
                self.pace.take(slice.len() as u64).await;
                send.send(&mut [frame::data_header(slice.len()), slice])
                    .await?;
                flow.moved();
            }
            flow.sent(chunk.offset, length as u64);
        }
        send.finish();
        Ok(())
    }

    /// Hears what is stored, to the end.
    async fn hear(&self, flow: &Flow, recv: &mut RecvHalf) -> Result<Remote, Failure> {
        let mut expected = flow.parts();
        loop {
            match self.next_in_time(flow, recv).await? {
                PushAnswer::Stored { number, tag } if number == expected => {
                    let piece = Piece {
                        number,
                        tag,
                        travelled: flow.stored(number),
                    };
                    self.store.keep_parts(self.transfer.id, vec![piece]).await?;
                    expected += 1;
                    flow.acknowledge(expected);
                }
                PushAnswer::Published { etag, .. } => return Ok(self.remote(etag)),
                PushAnswer::Declined { code, reason } => {
                    return Err(Failure::of_relay(code, reason));
                }
                PushAnswer::Want(_) | PushAnswer::Stored { .. } => return Err(out_of_turn()),
            }
        }
    }

    /// The relay's next word. It may take its time while records are on their
    /// way: a part is only stored when it is full.
    async fn next_in_time(&self, flow: &Flow, recv: &mut RecvHalf) -> Result<PushAnswer, Failure> {
        let mut next = std::pin::pin!(next(recv));
        loop {
            let moved = flow.steps();
            match timeout(ANSWER_TIMEOUT, next.as_mut()).await {
                Ok(answer) => return answer,
                Err(_) if flow.steps() != moved => {}
                Err(_) => return Err(Failure::retry("the relay says nothing for too long")),
            }
        }
    }

    fn remote(&self, etag: String) -> Remote {
        Remote {
            blob: self.transfer.blob,
            size: self.transfer.size,
            etag,
            fence: None,
        }
    }
}

/// The tags in as many messages as they need, one at least.
fn messages(tags: Vec<String>) -> Vec<Parts> {
    let mut messages: Vec<Parts> = tags
        .chunks(PARTS_IN_MESSAGE)
        .map(|tags| Parts {
            tags: tags.to_vec(),
            end: false,
        })
        .collect();
    match messages.last_mut() {
        Some(last) => last.end = true,
        None => messages.push(Parts {
            tags: Vec::new(),
            end: true,
        }),
    }
    messages
}

async fn next(recv: &mut RecvHalf) -> Result<PushAnswer, Failure> {
    let payload = recv.expect(FrameType::Message, "MSG").await?;
    PushAnswer::decode(payload).map_err(Failure::retry)
}

fn out_of_turn() -> Failure {
    Failure::retry("the relay says something out of turn")
}
