//! Answers what devices ask about their user's knowledge: HTTP exchanges with
//! the relay itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::debug;

use super::Knowledge;
use super::log::Written;
use crate::links::Connected;
use crate::objects::Etag;
use crate::relay::Relay;
use crate::sync::answer::Answer;
use crate::sync::declined::Declined;

/// How long a request waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a batch may take to come: 8 MiB over a line of 32 kB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

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
            (&Method::POST, ["lease"]) => {
                let lease = self.knowledge.take_lease(self.device).await?;
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
                let word = body(recv, WORD_MAX, HEAD_TIMEOUT).await?;
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
            false => body(recv, QUERY_MAX, HEAD_TIMEOUT).await?,
        };
        let known: BTreeMap<DeviceName, u64> = match &*known {
            [] => BTreeMap::new(),
            known => serde_json::from_slice(known).map_err(wrong)?,
        };
        let user = &self.device.user;
        let (manifest, _) = self.knowledge.manifest(user).await?;
        let epoch = epoch.unwrap_or(manifest.epoch);
        let logs = self.knowledge.list(user, epoch, &known).await?;
        let key = manifest.key();
        let answer = json!({ "epoch": epoch, "key": key, "logs": logs });
        Ok(Answer::json(&answer))
    }

    async fn batch(
        &self,
        epoch: u64,
        device: &DeviceName,
        sequence: u64,
    ) -> Result<Answer, Declined> {
        let memory = self.memory(OBJECT_MAX).await?;
        let user = &self.device.user;
        let batch = self.knowledge.batch(user, epoch, device, sequence).await?;
        Ok(Answer::bytes(batch).keeping(memory))
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
        let _memory = self.memory(length).await?;
        let batch = body(recv, length, BODY_TIMEOUT).await?;
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

    async fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Declined> {
        let mib = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.knowledge.memory).acquire_many_owned(mib.max(1));
        let room = timeout(ROOM_TIMEOUT, room).await;
        room.ok().and_then(Result::ok).ok_or_else(|| {
            let what = "the relay moves too many batches at once; hint: try again";
            Declined::new(Code::Overloaded, what)
        })
    }
}

async fn snapshot(recv: RecvHalf) -> Result<Snapshot, Declined> {
    let snapshot = body(recv, MANIFEST_MAX, HEAD_TIMEOUT).await?;
    serde_json::from_slice(&snapshot).map_err(wrong)
}

async fn body(recv: RecvHalf, most: usize, within: Duration) -> Result<Bytes, Declined> {
    let body = Limited::new(recv.into_body(), most).collect();
    match timeout(within, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(wrong(error)),
        Err(_) => Err(Declined::new(
            Code::IdleTimeout,
            "the body did not come in time",
        )),
    }
}

fn number(text: &str) -> Result<u64, Declined> {
    text.parse()
        .map_err(|_| wrong(format_args!("not a number, found={text:?}")))
}

fn wrong(what: impl std::fmt::Display) -> Declined {
    Declined::new(Code::BadRequest, what)
}
