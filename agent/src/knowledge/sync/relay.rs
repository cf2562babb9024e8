//! What the relay is asked about the user's logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use ginnel_link::link::Link;
use ginnel_proto::id::DeviceName;
use ginnel_proto::open::Open;
use ginnel_proto::sync::batch::OBJECT_MAX;
use ginnel_proto::sync::head::{HEAD_MAX, Head};
use ginnel_proto::sync::horizon::Word;
use ginnel_proto::sync::lease::{LEASE_MAX, Lease};
use ginnel_proto::sync::manifest::{MANIFEST_MAX, Manifest, Snapshot};
use ginnel_proto::sync::seal::KeyId;
use http::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use crate::sync::ask::{ask, collect, declined, json, unreadable};
use crate::sync::failure::Failure;

/// The longest list of batches, in bytes: 1,000 of 300 devices.
const LIST_MAX: usize = 8 << 20;

/// The relay at the other end of a link.
#[derive(Debug, Clone)]
pub(super) struct Relay(Link);

/// All logs behind what the asker knows.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Logs {
    /// In which epoch.
    pub(super) epoch: u64,
    /// With which key all is encrypted, if it is.
    #[serde(default)]
    pub(super) key: Option<KeyId>,
    /// The batches of each device, in their order.
    pub(super) logs: BTreeMap<DeviceName, Vec<u64>>,
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
    pub(super) fn new(link: Link) -> Self {
        Self(link)
    }

    /// How long the logs are, unless that is what `known` says.
    pub(super) async fn head(
        &self,
        known: Option<&HeaderValue>,
    ) -> Result<Option<(Head, Option<HeaderValue>)>, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, known.clone());
        }
        let (head, body) = self.ask((Method::GET, "/head"), headers, None).await?;
        match head.status {
            StatusCode::OK => {
                let etag = head.headers.get(ETAG).cloned();
                let found = json(&collect(body, HEAD_MAX).await?)?;
                Ok(Some((found, etag)))
            }
            StatusCode::NOT_MODIFIED => Ok(None),
            status => Err(declined(status, body).await),
        }
    }

    /// The batches of all logs behind what was read.
    pub(super) async fn logs(&self, read: &BTreeMap<DeviceName, u64>) -> Result<Logs, Failure> {
        self.logs_at("/logs", read).await
    }

    /// The same, in an epoch of before.
    pub(super) async fn logs_of(
        &self,
        epoch: u64,
        read: &BTreeMap<DeviceName, u64>,
    ) -> Result<Logs, Failure> {
        self.logs_at(&format!("/logs/{epoch}"), read).await
    }

    async fn logs_at(&self, path: &str, read: &BTreeMap<DeviceName, u64>) -> Result<Logs, Failure> {
        let read = serde_json::to_vec(read).map_err(unreadable)?;
        let ask = self.ask((Method::POST, path), HeaderMap::new(), Some(read.into()));
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => json(&collect(body, LIST_MAX).await?),
            status => Err(declined(status, body).await),
        }
    }

    /// A batch; `None` if there is none.
    pub(super) async fn batch(
        &self,
        epoch: u64,
        device: &DeviceName,
        sequence: u64,
    ) -> Result<Option<Bytes>, Failure> {
        let path = format!("/log/{epoch}/{device}/{sequence}");
        let ask = self.ask((Method::GET, &path), HeaderMap::new(), None);
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => collect(body, OBJECT_MAX).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(declined(status, body).await),
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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(batch.len()));
        let (head, body) = self.ask((Method::PUT, &path), headers, Some(batch)).await?;
        match head.status {
            StatusCode::CREATED => Ok(Put::Written),
            StatusCode::PRECONDITION_FAILED => Ok(Put::Taken),
            status => Err(declined(status, body).await),
        }
    }

    /// Takes the lease, or renews it.
    pub(super) async fn take_lease(&self) -> Result<Lease, Failure> {
        let ask = self.ask((Method::POST, "/lease"), HeaderMap::new(), None);
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => json(&collect(body, LEASE_MAX).await?),
            status => Err(declined(status, body).await),
        }
    }

    /// Tells how far this device is.
    pub(super) async fn say(&self, word: &Word) -> Result<(), Failure> {
        let word = serde_json::to_vec(word).map_err(unreadable)?;
        let ask = self.ask((Method::PUT, "/word"), HeaderMap::new(), Some(word.into()));
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::CREATED => Ok(()),
            status => Err(declined(status, body).await),
        }
    }

    /// How far all devices are, as far as they said so.
    pub(super) async fn words(&self) -> Result<Words, Failure> {
        let ask = self.ask((Method::GET, "/words"), HeaderMap::new(), None);
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => json(&collect(body, LIST_MAX).await?),
            status => Err(declined(status, body).await),
        }
    }

    /// What is published.
    pub(super) async fn manifest(&self) -> Result<Manifest, Failure> {
        let ask = self.ask((Method::GET, "/manifest"), HeaderMap::new(), None);
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => json(&collect(body, MANIFEST_MAX).await?),
            status => Err(declined(status, body).await),
        }
    }

    /// Publishes a snapshot that was pushed.
    pub(super) async fn publish(&self, epoch: u64, snapshot: &Snapshot) -> Result<(), Failure> {
        let path = format!("/manifest/{epoch}");
        self.put_snapshot(&path, snapshot).await.map(drop)
    }

    /// Begins an epoch in which all is covered like a snapshot that was pushed.
    pub(super) async fn cover(&self, epoch: u64, snapshot: &Snapshot) -> Result<Manifest, Failure> {
        self.put_snapshot(&format!("/cover/{epoch}"), snapshot)
            .await
    }

    async fn put_snapshot(&self, path: &str, snapshot: &Snapshot) -> Result<Manifest, Failure> {
        let snapshot = serde_json::to_vec(snapshot).map_err(unreadable)?;
        let ask = self.ask((Method::PUT, path), HeaderMap::new(), Some(snapshot.into()));
        let (head, body) = ask.await?;
        match head.status {
            StatusCode::OK => json(&collect(body, MANIFEST_MAX).await?),
            status => Err(declined(status, body).await),
        }
    }

    async fn ask(
        &self,
        what: (Method, &str),
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<
        (
            ginnel_proto::http::ResponseHead,
            ginnel_link::body::RecvBody,
        ),
        Failure,
    > {
        ask(&self.0, &Open::Knowledge, what, headers, body).await
    }
}
