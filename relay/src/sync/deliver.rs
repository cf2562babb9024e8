//! What devices ask of the catalog, over streams opened for it:
//!
//! ```text
//! GET    /artifacts             all that the device may pull
//! GET    /artifacts/NAME        one
//! DELETE /artifacts/NAME        takes it away, if it is the user's
//! GET    /index/NAME?blob=B3    the chunk index of that version
//! GET    /blob/NAME             bytes of it: needs Range and If-Match
//! POST   /url/NAME              a URL to read it without the relay: needs If-Match
//! any    /loras/… /done/NAME    see loras
//! ```
//!
//! An answer that is no bytes is JSON; an error is `{"error", "reason"}` with
//! the code's status.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_link::error::StreamError;
use ginnel_link::stream::{RecvHalf, Stream};
use ginnel_proto::artifact::Artifact;
use ginnel_proto::code::Code;
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::{DeviceId, LoraId};
use ginnel_proto::limits::HEAD_TIMEOUT;
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::debug;

use super::answer::Answer;
use super::catalog::{Versioned, Written};
use super::claim::Claim;
use super::declined::Declined;
use super::entry::{Entry, Published};
use super::loras::{self, Shop};
use super::{LARGE_ONE, Sync};
use crate::links::Connected;
use crate::objects::Etag;
use crate::objects::error::ErrorKind;
use crate::objects::layout::{Place, Shelf};
use crate::registry::Registry;
use crate::relay::Relay;

/// How long a URL is good for: a slow line gets a gigabyte in that time, and a
/// device asks for another one where it is not enough.
const URL_FOR: Duration = Duration::from_secs(15 * 60);

/// Artifacts of one listing: some 400 bytes each, and devices take 16 MiB.
const LISTED_MAX: usize = 20_000;

/// How long a request waits for its turn.
const ROOM_TIMEOUT: Duration = Duration::from_secs(20);

/// What the paths of ranges begin with.
const BLOBS: &str = "/blob/";

/// Serves a stream that a device opened to the catalog.
pub async fn serve(relay: &Arc<Relay>, device: &Connected, stream: Stream) {
    let Stream { mut send, mut recv } = stream;
    let Some(sync) = &relay.sync else {
        send.reset(Code::Denied);
        recv.stop(Code::Denied);
        return;
    };
    let head = match timeout(HEAD_TIMEOUT, recv.request()).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return send.reset(error.code()),
        Err(_) => return send.reset(Code::HeadTimeout),
    };
    let desk = Desk {
        sync,
        registry: &relay.registry,
        device: &device.id,
    };
    // Bytes of blobs stream; what else there is, is whole in memory until sent.
    let room = match head.path.path().starts_with(BLOBS) {
        true => &sync.ranges,
        false => &sync.answers,
    };
    let Ok(Ok(_room)) = timeout(ROOM_TIMEOUT, room.one(&device.id.user)).await else {
        return send.reset(Code::Overloaded);
    };
    let answer = match desk.body(&head, recv).await {
        Ok(body) => desk.answer(&head, &body).await,
        Err(declined) => Err(declined),
    };
    let answer = answer.unwrap_or_else(Answer::declined);
    let sent = timeout(answer.time(), answer.send(&mut send)).await;
    let sent = sent.unwrap_or(Err(StreamError::Stalled));
    if let Err(error) = sent {
        debug!(%error, device = %device.id, path = %head.path, "answer of the catalog broke off");
        let is_ours = matches!(error, StreamError::Source(_));
        send.reset(if is_ours {
            Code::BucketUnavailable
        } else {
            error.code()
        });
    }
}

struct Desk<'a> {
    sync: &'a Sync,
    registry: &'a Registry,
    device: &'a DeviceId,
}

impl Desk<'_> {
    /// What a request brings: little, and only where it is read.
    async fn body(&self, head: &RequestHead, recv: RecvHalf) -> Result<Bytes, Declined> {
        if head.end {
            return Ok(Bytes::new());
        }
        let body = Limited::new(recv.into_body(), loras::BODY_MAX).collect();
        match timeout(HEAD_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(Declined::new(Code::BadRequest, error)),
            Err(_) => Err(Declined::new(
                Code::IdleTimeout,
                "the body did not come in time",
            )),
        }
    }

    async fn answer(&self, head: &RequestHead, body: &[u8]) -> Result<Answer, Declined> {
        let path = head.path.path().trim_start_matches('/');
        let (what, name) = path.split_once('/').unwrap_or((path, ""));
        match (&head.method, what, name) {
            (&Method::GET, "artifacts", "") => self.list().await,
            (&Method::GET, "artifacts", name) => self.show(&named(name)?).await,
            (&Method::DELETE, "artifacts", name) => self.remove(&named(name)?).await,
            (&Method::GET, "index", name) => {
                let query = head.path.query().unwrap_or_default();
                self.index(&named(name)?, query).await
            }
            (&Method::GET, "blob", name) => self.blob(&named(name)?, &head.headers).await,
            (&Method::POST, "url", name) => self.url(&named(name)?, &head.headers).await,
            (&Method::POST, "done", name) => self.done(&named(name)?, &head.headers).await,
            (method, "loras", rest) => self.loras(method, rest, body).await,
            (method, ..) => {
                let what = format_args!("the catalog has no such thing, asked={method} /{path}");
                Err(Declined::new(Code::BadRequest, what))
            }
        }
    }

    async fn list(&self) -> Result<Answer, Declined> {
        let room = self.room_for_large().await?;
        let mut artifacts = Vec::new();
        let mut complete = true;
        // Last come those that all users have.
        for shelf in Shelf::of(&self.device.user).into_iter().rev() {
            for (artifact, entry) in self.sync.catalog.list(&shelf).await? {
                if self.sync.may_read(&artifact, &entry, self.device)
                    && let Some(published) = &entry.published
                {
                    if artifacts.len() == LISTED_MAX {
                        complete = false;
                        break;
                    }
                    artifacts.push(self.described(&artifact, &entry, published));
                }
            }
        }
        artifacts.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        let used = self.sync.used(&self.device.user).await?;
        Ok(Answer::json(&json!({
            "artifacts": artifacts,
            "complete": complete,
            "used": used,
            "quota": self.sync.quota,
        }))
        .keeping(room))
    }

    /// Room for an answer that may take megabytes until it is sent.
    async fn room_for_large(&self) -> Result<OwnedSemaphorePermit, Declined> {
        let room = Arc::clone(&self.sync.large).acquire_many_owned(LARGE_ONE);
        let overloaded = || {
            let what = "the relay answers too many at once; hint: try again";
            Declined::new(Code::Overloaded, what)
        };
        let room = timeout(ROOM_TIMEOUT, room).await;
        room.ok().and_then(Result::ok).ok_or_else(overloaded)
    }

    async fn show(&self, artifact: &Artifact) -> Result<Answer, Declined> {
        let found = self.published(artifact).await?;
        Ok(Answer::json(&self.described(
            artifact,
            &found.now.entry,
            &found.published,
        )))
    }

    fn described(&self, artifact: &Artifact, entry: &Entry, published: &Published) -> Value {
        json!({
            "name": artifact.to_string(),
            "owner": entry.owner.as_str(),
            "mine": entry.owner == self.device.user,
            "size": published.size,
            "blob": published.blob.to_string(),
            "etag": published.etag,
            "index": published.index.to_string(),
            "device": published.device.as_str(),
            "published_unix_ms": published.unix_ms,
            "direct": self.sync.bucket.signs(),
        })
    }

    /// Takes the entry's version away first: who reads it afterwards finds
    /// nothing.
    async fn remove(&self, artifact: &Artifact) -> Result<Answer, Declined> {
        let place = Place::of(artifact, &self.device.user);
        let now = self.sync.catalog.read(&place).await?;
        let Some(now) = now.filter(|now| self.sync.may_read(artifact, &now.entry, self.device))
        else {
            return Err(Declined::missing(artifact));
        };
        Entry::is_free(Some(&now.entry), self.device, self.sync.now_ms())
            .map_err(Declined::conflict)?;
        if now.entry.published.is_none() && now.entry.publishing.is_none() {
            return Err(Declined::missing(artifact));
        }
        // The name is held until all is gone: nothing that is pushed next is
        // taken away with it.
        let begun = now.entry.begin_removal(self.device, self.sync.now_ms());
        let written = self.sync.catalog.write(&place, Some(&now), begun).await?;
        let Written::Yes(begun) = written else {
            return Err(Declined::busy());
        };
        let mut claim = Claim::of_removal(self.sync, &place, begun);
        tokio::select! {
            biased;
            cleared = self.clear(artifact, &place, &now) => cleared?,
            lost = claim.keep() => return Err(lost),
        }
        self.sync.free(&place, &claim.into_entry()).await?;
        if let Some(published) = &now.entry.published {
            self.sync.clear_index(&place, published.blob).await?;
        }
        Ok(Answer::json(&json!({ "removed": artifact.to_string() })))
    }

    /// Takes the object away, and what lies beside it. What a removal that
    /// broke off left goes with the next one.
    async fn clear(
        &self,
        artifact: &Artifact,
        place: &Place,
        old: &Versioned,
    ) -> Result<(), Declined> {
        if let Artifact::Lora(id) = artifact {
            self.shop().remove(id).await?;
        }
        Ok(self.sync.clear(place, old).await?)
    }

    async fn index(&self, artifact: &Artifact, query: &str) -> Result<Answer, Declined> {
        let blob = query.strip_prefix("blob=").and_then(|it| it.parse().ok());
        let Some(blob): Option<Hash> = blob else {
            return Err(Declined::new(
                Code::BadRequest,
                "the blob's hash is missing",
            ));
        };
        let found = self.published(artifact).await?;
        if found.published.blob != blob {
            return Err(changed(artifact));
        }
        let room = self.room_for_large().await?;
        let key = found.place.index(&blob);
        let limit = ginnel_blob::index::ENCODED_MAX;
        let Some(small) = self.sync.bucket.read(&key, limit).await? else {
            let what = format_args!(
                "the chunk index is gone, name={artifact}; hint: push the artifact again"
            );
            return Err(Declined::new(Code::NoArtifact, what));
        };
        Ok(Answer::bytes(small.bytes).keeping(room))
    }

    async fn blob(&self, artifact: &Artifact, headers: &HeaderMap) -> Result<Answer, Declined> {
        let found = self.published(artifact).await?;
        let etag = asked_version(artifact, headers, &found.published)?;
        let place = asked_place(headers, found.published.size)?;
        let key = found.place.object();
        let stream = match self.sync.bucket.range(key, &etag, place.clone()).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::Changed => {
                self.sync.settle(artifact, &found).await?;
                return Err(changed(artifact));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Answer::ranged(stream, place, found.published.size, &etag))
    }

    async fn url(&self, artifact: &Artifact, headers: &HeaderMap) -> Result<Answer, Declined> {
        let found = self.published(artifact).await?;
        let etag = asked_version(artifact, headers, &found.published)?;
        // What the device would find there it could not put right.
        let object = self.sync.bucket.head(found.place.object()).await?;
        if object.is_none_or(|object| object.etag != etag) {
            self.sync.settle(artifact, &found).await?;
            return Err(changed(artifact));
        }
        let url = self.sync.bucket.presign(found.place.object(), URL_FOR);
        let Some(url) = url.await? else {
            let what = "the relay's bucket gives no URLs; hint: pull through the tunnel";
            return Err(Declined::new(Code::BadRequest, what));
        };
        let lasts = u64::try_from(URL_FOR.as_millis()).unwrap_or(u64::MAX);
        let expires = self.sync.now_ms().saturating_add(lasts);
        Ok(Answer::json(
            &json!({ "url": url, "expires_unix_ms": expires }),
        ))
    }

    async fn done(&self, artifact: &Artifact, headers: &HeaderMap) -> Result<Answer, Declined> {
        let found = self.published(artifact).await?;
        asked_version(artifact, headers, &found.published)?;
        let blob = *found.published.blob.as_bytes();
        Ok(Answer::json(&self.shop().done(artifact, blob).await?))
    }

    async fn loras(&self, method: &Method, rest: &str, body: &[u8]) -> Result<Answer, Declined> {
        let shop = self.shop();
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        let id = || {
            let id = LoraId::parse(id);
            id.map_err(|error| Declined::new(Code::BadRequest, error))
        };
        let answer = match (method, rest, what) {
            (&Method::GET, "", _) => shop.list().await?,
            (&Method::GET, _, "") => shop.show(&id()?).await?,
            (&Method::PUT, _, "") => shop.describe(&id()?, body).await?,
            (&Method::POST, _, "rating") => shop.rate(&id()?, body).await?,
            (method, ..) => {
                let what =
                    format_args!("the catalog has no such thing, asked={method} /loras/{rest}");
                return Err(Declined::new(Code::BadRequest, what));
            }
        };
        Ok(Answer::json(&answer))
    }

    fn shop(&self) -> Shop<'_> {
        Shop {
            sync: self.sync,
            registry: self.registry,
            device: self.device,
        }
    }

    /// What the device may pull under that name. To others it does not exist.
    async fn published(&self, artifact: &Artifact) -> Result<Found, Declined> {
        let place = Place::of(artifact, &self.device.user);
        let now = self.sync.catalog.read(&place).await?;
        let now = now.filter(|now| self.sync.may_read(artifact, &now.entry, self.device));
        let published = now.as_ref().and_then(|now| now.entry.published.clone());
        match (now, published) {
            (Some(now), Some(published)) => Ok(Found {
                place,
                now,
                published,
            }),
            _ => Err(Declined::missing(artifact)),
        }
    }
}

/// An artifact that may be pulled.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) now: Versioned,
    pub(super) published: Published,
}

fn named(name: &str) -> Result<Artifact, Declined> {
    let parsed = name.parse();
    parsed.map_err(|error| Declined::new(Code::BadRequest, error))
}

fn changed(artifact: &Artifact) -> Declined {
    let what = format_args!("another version is published by now; name={artifact}");
    Declined::new(Code::Conflict, what)
}

fn asked_version(
    artifact: &Artifact,
    headers: &HeaderMap,
    published: &Published,
) -> Result<Etag, Declined> {
    let asked = headers.get(IF_MATCH).and_then(|it| it.to_str().ok());
    match asked {
        Some(etag) if etag == published.etag => Ok(Etag::new(etag)),
        Some(_) => Err(changed(artifact)),
        None => Err(Declined::new(Code::BadRequest, "If-Match is missing")),
    }
}

/// One range with both ends (RFC 9110 §14.1.2): devices know what they want.
fn asked_place(headers: &HeaderMap, size: u64) -> Result<Range<u64>, Declined> {
    let wrong = || {
        let what = "Range must be bytes=FIRST-LAST within the blob";
        Declined::new(Code::BadRequest, what)
    };
    let text = headers.get(RANGE).and_then(|it| it.to_str().ok());
    let text = text.and_then(|text| text.strip_prefix("bytes="));
    let (first, last) = text
        .and_then(|text| text.split_once('-'))
        .ok_or_else(wrong)?;
    let (first, last): (u64, u64) = match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => (first, last),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => return Err(wrong()),
    };
    if first > last || last >= size {
        return Err(wrong());
    }
    Ok(first..last + 1)
}
