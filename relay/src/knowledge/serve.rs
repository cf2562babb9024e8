//! Answers what devices ask about their user's knowledge: HTTP exchanges with
//! the relay itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use ginnel_link::error::StreamError;
use ginnel_link::stream::{RecvHalf, Stream};
use ginnel_proto::code::Code;
use ginnel_proto::control::News;
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::{DeviceId, DeviceName};
use ginnel_proto::limits::HEAD_TIMEOUT;
use ginnel_proto::sync::batch::OBJECT_MAX;
use ginnel_proto::sync::horizon::{WORD_MAX, Word};
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Snapshot};
use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::Knowledge;
use super::log::Written;
use crate::links::Connected;
use crate::objects::Etag;
use crate::relay::Relay;
use crate::sync::answer::Answer;
use crate::sync::declined::Declined;
use crate::sync::shares::Share;

/// How long a request waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a device may send nothing of what it announced: it takes memory meanwhile.
const STALL_MAX: Duration = Duration::from_secs(20);

/// How long a batch may take to come, and the least speed of what takes longer, in
/// bytes a second: 8 MiB may take four minutes and a half.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const SPEED_LEAST: u64 = 32_000;

/// The longest list of what a device knows, in bytes.
const QUERY_MAX: usize = 48 << 10;

/// Serves a stream that a device opened.
pub async fn serve(relay: &Arc<Relay>, device: &Connected, stream: Stream) {
    let Stream { mut send, mut recv } = stream;
    let Some(knowledge) = &relay.knowledge else {
        send.reset(Code::Denied);
        recv.stop(Code::Denied);
        return;
    };
    let head = match timeout(HEAD_TIMEOUT, recv.request()).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return send.reset(error.code()),
        Err(_) => return send.reset(Code::HeadTimeout),
    };
    let room = knowledge.requests.one(&device.id.user);
    let Ok(Ok(_room)) = timeout(ROOM_TIMEOUT, room).await else {
        return send.reset(Code::Overloaded);
    };
    let desk = Desk {
        relay,
        knowledge,
        device: &device.id,
    };
    let answer = desk.answer(&head, recv).await;
    let answer = answer.unwrap_or_else(Answer::declined);
    let sent = timeout(answer.time(), answer.send(&mut send)).await;
    if let Err(error) = sent.unwrap_or(Err(StreamError::Stalled)) {
        debug!(%error, device = %device.id, path = %head.path, "answer about knowledge broke off");
        send.reset(error.code());
    }
}

struct Desk<'a> {
    relay: &'a Arc<Relay>,
    knowledge: &'a Knowledge,
    device: &'a DeviceId,
}

impl Desk<'_> {
    async fn answer(&self, head: &RequestHead, recv: RecvHalf) -> Result<Answer, Declined> {
        let path = head.path.path().trim_start_matches('/');
        let steps: Vec<&str> = path.split('/').collect();
        match (&head.method, &*steps) {
            (&Method::GET, ["head"]) => self.head(head).await,
            (&Method::POST, ["logs"]) => self.logs(None, head, recv).await,
            (&Method::POST, ["logs", epoch]) => self.logs(Some(number(epoch)?), head, recv).await,
            (&Method::GET, ["log", epoch, device, sequence]) => {
                let device = DeviceName::parse(device).map_err(wrong)?;
                self.batch(number(epoch)?, &device, number(sequence)?).await
            }
            (&Method::PUT, ["log", epoch, sequence]) => {
                self.write(number(epoch)?, number(sequence)?, head, recv)
                    .await
            }
            (&Method::POST, ["lease", epoch]) => {
                let lease = self.knowledge.take_lease(self.device, number(epoch)?);
                let lease = lease.await?;
                Ok(Answer::json(&json!(lease)))
            }
            (&Method::GET, ["manifest"]) => {
                let (manifest, _) = self.knowledge.manifest(&self.device.user).await?;
                Ok(Answer::json(&json!(manifest)))
            }
            (&Method::GET, ["words"]) => {
                let words = self.knowledge.words(&self.device.user).await?;
                let now = self.knowledge.now_ms();
                Ok(Answer::json(&json!({ "unix_ms": now, "words": words })))
            }
            (&Method::PUT, ["word"]) => {
                let word = body(recv.into_body(), WORD_MAX, HEAD_TIMEOUT).await?;
                let word: Word = serde_json::from_slice(&word).map_err(wrong)?;
                self.knowledge.hear(self.device, word).await?;
                Ok(Answer::empty(StatusCode::CREATED))
            }
            (&Method::PUT, ["manifest", epoch]) => self.publish(number(epoch)?, recv).await,
            (&Method::PUT, ["cover", epoch]) => self.cover(number(epoch)?, recv).await,
            (method, _) => Err(wrong(format_args!(
                "there is no such thing, asked={method} /{path}"
            ))),
        }
    }

    async fn head(&self, head: &RequestHead) -> Result<Answer, Declined> {
        let known = head.headers.get(IF_NONE_MATCH);
        let known = known.and_then(|known| known.to_str().ok()).map(Etag::new);
        let now = self.knowledge.head(&self.device.user, known.as_ref());
        Ok(match now.await? {
            None => Answer::empty(StatusCode::NOT_MODIFIED),
            Some(None) => Answer::json(&json!({ "epoch": 0, "devices": {} })),
            Some(Some(small)) => Answer::bytes(small.bytes).tagged(&small.etag),
        })
    }

    /// The asker says how far it has read each log, for the answer to begin
    /// there.
    async fn logs(
        &self,
        epoch: Option<u64>,
        head: &RequestHead,
        recv: RecvHalf,
    ) -> Result<Answer, Declined> {
        let known = match head.end {
            true => Bytes::new(),
            false => body(recv.into_body(), QUERY_MAX, HEAD_TIMEOUT).await?,
        };
        let known: BTreeMap<DeviceName, u64> = match &*known {
            [] => BTreeMap::new(),
            known => serde_json::from_slice(known).map_err(wrong)?,
        };
        let user = &self.device.user;
        let (manifest, _) = self.knowledge.manifest(user).await?;
        let epoch = epoch.unwrap_or(manifest.epoch);
        let listed = self.knowledge.list(user, &manifest, epoch, &known);
        Ok(Answer::json(&json!(listed.await?)))
    }

    async fn batch(
        &self,
        epoch: u64,
        device: &DeviceName,
        sequence: u64,
    ) -> Result<Answer, Declined> {
        let user = &self.device.user;
        let found = self.knowledge.batch(user, epoch, device, sequence).await?;
        let memory = self.memory(found.size()).await?;
        let batch = found.all().await?;
        Ok(Answer::bytes(batch).sharing(memory))
    }

    async fn write(
        &self,
        epoch: u64,
        sequence: u64,
        head: &RequestHead,
        recv: RecvHalf,
    ) -> Result<Answer, Declined> {
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.filter(|length| *length <= OBJECT_MAX);
        let length = length.ok_or_else(|| {
            wrong(format_args!(
                "a batch needs a Content-Length of {OBJECT_MAX} at most"
            ))
        })?;
        let _memory = self.memory(length as u64).await?;
        let slow = Duration::from_secs(length as u64 / SPEED_LEAST);
        let batch = body(recv.into_body(), length, BODY_TIMEOUT + slow).await?;
        if batch.len() != length {
            return Err(wrong("the batch was cut short"));
        }
        let Self {
            relay,
            knowledge,
            device,
        } = self;
        let written = knowledge.write(device, epoch, sequence, batch).await?;
        let news = News {
            device: device.device.clone(),
            epoch,
            sequence,
        };
        relay.links.tell(device, &news);
        knowledge.heads.note(device, epoch, sequence, &relay.tasks);
        match written {
            Written::Now => Ok(Answer::empty(StatusCode::CREATED)),
            Written::Before => Ok(Answer::empty(StatusCode::PRECONDITION_FAILED)),
        }
    }

    async fn publish(&self, epoch: u64, recv: RecvHalf) -> Result<Answer, Declined> {
        let Some(sync) = &self.relay.sync else {
            return Err(wrong("the relay keeps no artifacts"));
        };
        let snapshot = snapshot(recv).await?;
        let published = self
            .knowledge
            .publish(&sync.catalog, self.device, epoch, &snapshot)
            .await?;
        Ok(Answer::json(&json!(published)))
    }

    async fn cover(&self, epoch: u64, recv: RecvHalf) -> Result<Answer, Declined> {
        let Some(sync) = &self.relay.sync else {
            return Err(wrong("the relay keeps no artifacts"));
        };
        let snapshot = snapshot(recv).await?;
        let covered = self
            .knowledge
            .cover(&sync.catalog, self.device, epoch, &snapshot)
            .await?;
        Ok(Answer::json(&json!(covered)))
    }

    /// Memory for a batch of so many bytes.
    async fn memory(&self, bytes: u64) -> Result<Share, Declined> {
        let mib = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let room = self.knowledge.memory.some(&self.device.user, mib.max(1));
        let room = timeout(ROOM_TIMEOUT, room).await;
        room.ok().and_then(Result::ok).ok_or_else(|| {
            let what = "the relay moves too many batches at once; hint: try again";
            Declined::new(Code::Overloaded, what)
        })
    }
}

async fn snapshot(recv: RecvHalf) -> Result<Snapshot, Declined> {
    let snapshot = body(recv.into_body(), MANIFEST_MAX, HEAD_TIMEOUT).await?;
    serde_json::from_slice(&snapshot).map_err(wrong)
}

/// All of a body of so many bytes at most, which may take so long, and may not stop for
/// long on its way.
async fn body<B>(body: B, most: usize, within: Duration) -> Result<Bytes, Declined>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let late = |what| Declined::new(Code::IdleTimeout, what);
    let mut body = Limited::new(body, most);
    let read = async {
        // The system gives memory as it is written to.
        let mut all = BytesMut::with_capacity(most);
        loop {
            let frame = timeout(STALL_MAX, body.frame()).await;
            let frame = frame.map_err(|_| late("the body stopped on its way; hint: try again"))?;
            let Some(frame) = frame else {
                return Ok(all.freeze());
            };
            if let Ok(piece) = frame.map_err(wrong)?.into_data() {
                all.put(piece);
            }
        }
    };
    let read = timeout(within, read).await;
    read.unwrap_or_else(|_| Err(late("the body did not come in time; hint: try again")))
}

fn number(text: &str) -> Result<u64, Declined> {
    text.parse()
        .map_err(|_| wrong(format_args!("not a number, found={text:?}")))
}

fn wrong(what: impl std::fmt::Display) -> Declined {
    Declined::new(Code::BadRequest, what)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// So many pieces of ten bytes, each so long after the one before, and then nothing
    /// more for ever.
    fn slow(pieces: usize, apart: Duration) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            sleep(apart).await;
            Ok(Frame::data(Bytes::from_static(b"0123456789")))
        });
        StreamBody::new(Box::pin(pieces.chain(stream::pending())))
    }

    fn late(read: Result<Bytes, Declined>, says: &str) {
        let declined = read.expect_err("late");
        assert_eq!(declined.code, Code::IdleTimeout, "{declined}");
        assert!(declined.reason.contains(says), "{declined}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_gives_its_memory_back_soon() {
        let began = Instant::now();
        let read = body(
            slow(0, Duration::ZERO),
            OBJECT_MAX,
            Duration::from_secs(300),
        );
        late(read.await, "stopped on its way");
        assert_eq!(began.elapsed().as_secs(), STALL_MAX.as_secs());
        // Or stops in the middle.
        let read = body(slow(2, STALL_MAX / 2), OBJECT_MAX, Duration::from_secs(300));
        late(read.await, "stopped on its way");
        assert_eq!(began.elapsed().as_secs(), 3 * STALL_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_little_now_and_then_does_not_keep_it_for_ever() {
        let began = Instant::now();
        let within = Duration::from_secs(100);
        late(
            body(slow(99, STALL_MAX / 2), OBJECT_MAX, within).await,
            "did not come in time",
        );
        assert_eq!(began.elapsed(), within);
    }

    #[tokio::test]
    async fn a_body_is_taken_whole_or_not() {
        let whole = http_body_util::Full::new(Bytes::from_static(b"all of it"));
        let read = body(whole.clone(), 9, Duration::from_secs(9)).await;
        assert_eq!(read.as_deref(), Ok(&b"all of it"[..]));
        let read = body(whole, 8, Duration::from_secs(9)).await;
        assert_eq!(read.expect_err("too long").code, Code::BadRequest);
    }
}
