//! What the relay is asked about the user's logs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ginnel_link::link::Link;
use ginnel_proto::id::DeviceName;
use ginnel_proto::open::Open;
use ginnel_proto::sync::batch::OBJECT_MAX;
use ginnel_proto::sync::head::{HEAD_MAX, Head};
use ginnel_proto::sync::horizon::Word;
use ginnel_proto::sync::lease::{LEASE_MAX, Lease};
use ginnel_proto::sync::listing::Logs;
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Manifest, Snapshot};
use http::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::sync::ask::{DECLINED_MAX, ask, collect, json, told, unreadable};
use crate::sync::failure::Failure;

/// The longest list of batches, in bytes: 1,000 of 300 devices.
const LIST_MAX: usize = 8 << 20;

/// The relay at the other end of a link. Clones are the same.
#[derive(Clone)]
pub struct Relay(Arc<dyn Exchange>);

/// What carries a question about knowledge to a relay and its answer back: a link,
/// or what a simulation puts in its place.
pub trait Exchange: Send + Sync {
    /// Asks, and gives all of the answer, of which `most` bytes are taken.
    fn exchange(
        &self,
        request: Request<Option<Bytes>>,
        most: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, Failure>>;
}

impl Exchange for Link {
    fn exchange(
        &self,
        request: Request<Option<Bytes>>,
        most: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let what = (parts.method, parts.uri.path());
            let asked = ask(self, &Open::Knowledge, what, parts.headers, body);
            let (head, body) = asked.await?;
            let mut response = Response::new(collect(body, most.max(DECLINED_MAX)).await?);
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            Ok(response)
        })
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

/// Tells of the relay of the link, whichever it is at the moment. Ends with the
/// link's owner, or with the last who wants to know.
pub async fn follow(mut link: watch::Receiver<Option<Link>>, relay: watch::Sender<Option<Relay>>) {
    loop {
        let now = link.borrow_and_update().clone();
        relay.send_replace(now.map(Relay::new));
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            () = relay.closed() => return,
        }
    }
}

/// How far all devices are.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Words {
    /// The relay's clock, milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// What each said.
    pub(super) words: BTreeMap<DeviceName, Word>,
}

/// What became of a batch that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the log.
    Written,
    /// The log has another one there, or has this one already.
    Taken,
}

impl Relay {
    /// The relay that answers these exchanges.
    #[must_use]
    pub fn new(exchange: impl Exchange + 'static) -> Self {
        Self(Arc::new(exchange))
    }

    /// How long the logs are, unless that is what `known` says.
    pub(super) async fn head(
        &self,
        known: Option<&HeaderValue>,
    ) -> Result<Option<(Head, Option<HeaderValue>)>, Failure> {
        let mut request = request(Method::GET, "/head", None)?;
        if let Some(known) = known {
            request.headers_mut().insert(IF_NONE_MATCH, known.clone());
        }
        let answer = self.0.exchange(request, HEAD_MAX).await?;
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(ETAG).cloned();
                Ok(Some((json(answer.body())?, etag)))
            }
            StatusCode::NOT_MODIFIED => Ok(None),
            status => Err(told(status, answer.body())),
        }
    }

    /// The batches of all logs behind what was read.
    pub(super) async fn logs(&self, read: &BTreeMap<DeviceName, u64>) -> Result<Logs, Failure> {
        self.of_json(Method::POST, "/logs", read, LIST_MAX).await
    }

    /// The same, in an epoch of before.
    pub(super) async fn logs_of(
        &self,
        epoch: u64,
        read: &BTreeMap<DeviceName, u64>,
    ) -> Result<Logs, Failure> {
        let path = format!("/logs/{epoch}");
        self.of_json(Method::POST, &path, read, LIST_MAX).await
    }

    /// A batch; `None` if there is none.
    pub(super) async fn batch(
        &self,
        epoch: u64,
        device: &DeviceName,
        sequence: u64,
    ) -> Result<Option<Bytes>, Failure> {
        let path = format!("/log/{epoch}/{device}/{sequence}");
        let answer = self.ask(Method::GET, &path, None, OBJECT_MAX).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.into_body())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(told(status, answer.body())),
        }
    }

    /// Writes a batch of this device.
    pub(super) async fn write(
        &self,
        epoch: u64,
        sequence: u64,
        batch: Bytes,
    ) -> Result<Put, Failure> {
        let path = format!("/log/{epoch}/{sequence}");
        let mut request = request(Method::PUT, &path, Some(batch))?;
        if let Some(batch) = request.body() {
            let length = HeaderValue::from(batch.len());
            request.headers_mut().insert(CONTENT_LENGTH, length);
        }
        let answer = self.0.exchange(request, 0).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Put::Written),
            StatusCode::PRECONDITION_FAILED => Ok(Put::Taken),
            status => Err(told(status, answer.body())),
        }
    }

    /// Takes the lease in an epoch, or renews it.
    pub(super) async fn take_lease(&self, epoch: u64) -> Result<Lease, Failure> {
        let path = format!("/lease/{epoch}");
        let answer = self.ask(Method::POST, &path, None, LEASE_MAX);
        found(&answer.await?)
    }

    /// Tells how far this device is.
    pub(super) async fn say(&self, word: &Word) -> Result<(), Failure> {
        let word = serde_json::to_vec(word).map_err(unreadable)?;
        let answer = self.ask(Method::PUT, "/word", Some(word.into()), 0).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            status => Err(told(status, answer.body())),
        }
    }

    /// How far all devices are, as far as they said so.
    pub(super) async fn words(&self) -> Result<Words, Failure> {
        found(&self.ask(Method::GET, "/words", None, LIST_MAX).await?)
    }

    /// What is published.
    pub(super) async fn manifest(&self) -> Result<Manifest, Failure> {
        let answer = self.ask(Method::GET, "/manifest", None, MANIFEST_MAX);
        found(&answer.await?)
    }

    /// Publishes a snapshot that was pushed.
    pub(super) async fn publish(
        &self,
        epoch: u64,
        snapshot: &Snapshot,
    ) -> Result<Manifest, Failure> {
        let path = format!("/manifest/{epoch}");
        self.of_json(Method::PUT, &path, snapshot, MANIFEST_MAX)
            .await
    }

    /// Begins an epoch in which all is covered like a snapshot that was pushed.
    pub(super) async fn cover(&self, epoch: u64, snapshot: &Snapshot) -> Result<Manifest, Failure> {
        let path = format!("/cover/{epoch}");
        self.of_json(Method::PUT, &path, snapshot, MANIFEST_MAX)
            .await
    }

    async fn of_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        question: &impl Serialize,
        most: usize,
    ) -> Result<T, Failure> {
        let question = serde_json::to_vec(question).map_err(unreadable)?;
        found(&self.ask(method, path, Some(question.into()), most).await?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, Failure> {
        self.0.exchange(request(method, path, body)?, most).await
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<Request<Option<Bytes>>, Failure> {
    let request = Request::builder().method(method).uri(path);
    request.body(body).map_err(unreadable)
}

/// What a good answer says.
fn found<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, Failure> {
    match answer.status() {
        StatusCode::OK => json(answer.body()),
        status => Err(told(status, answer.body())),
    }
}
