//! What the relay's catalog is asked, over the link.

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::{ChunkIndex, ENCODED_MAX};
use ginnel_link::body::RecvBody;
use ginnel_link::link::Link;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::http::ResponseHead;
use ginnel_proto::open::Open;
use ginnel_store::artifact::Remote;
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::ask::{self, collect, declined, json, unreadable};
use super::failure::{Failure, Then};

/// The longest answer that is not a blob's, in bytes: 20,000 artifacts.
const ANSWER_MAX: usize = 16 << 20;

/// An artifact as the relay's catalog has it.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Who pushed it first.
    pub owner: String,
    /// Whether that is this device's user.
    pub mine: bool,
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub blob: String,
    /// The bucket's name for them.
    pub etag: String,
    /// What identifies its chunk index.
    pub index: String,
    /// Which device pushed it.
    pub device: String,
    /// When, in milliseconds since 1970.
    pub published_unix_ms: u64,
    /// Whether the bucket can be read without the relay.
    pub direct: bool,
}

/// All that the device may pull.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Listing {
    /// The artifacts.
    pub artifacts: Vec<Listed>,
    /// Whether these are all.
    #[serde(default = "yes")]
    pub complete: bool,
    /// Bytes that the user's artifacts have.
    pub used: u64,
    /// Bytes that they may have.
    pub quota: u64,
}

fn yes() -> bool {
    true
}

/// A URL that reads an object without the relay.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DirectUrl {
    pub(super) url: String,
    pub(super) expires_unix_ms: u64,
}

/// A version of an artifact that can be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What it is.
    pub remote: Remote,
    /// What identifies its chunk index.
    pub index: Hash,
    /// Whether the bucket can be read without the relay.
    pub direct: bool,
}

/// The relay's catalog.
#[derive(Debug, Clone)]
pub struct Catalog(Link);

impl Catalog {
    /// Of the relay at the other end.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self(link)
    }

    /// All that the device may pull.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub async fn list(&self) -> Result<Listing, Failure> {
        let answer = self
            .whole(Method::GET, "/artifacts", HeaderMap::new())
            .await?;
        json(&answer)
    }

    /// The version that can be pulled under a name.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub async fn version(&self, artifact: &Artifact) -> Result<Version, Failure> {
        let path = format!("/artifacts/{artifact}");
        let listed: Listed = json(&self.whole(Method::GET, &path, HeaderMap::new()).await?)?;
        let hash = |text: &str| text.parse::<Hash>().map_err(unreadable);
        Ok(Version {
            remote: Remote {
                blob: hash(&listed.blob)?,
                size: listed.size,
                etag: listed.etag,
                fence: None,
            },
            index: hash(&listed.index)?,
            direct: listed.direct,
        })
    }

    /// Takes an artifact away from the relay.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub async fn remove(&self, artifact: &Artifact) -> Result<(), Failure> {
        let path = format!("/artifacts/{artifact}");
        self.whole(Method::DELETE, &path, HeaderMap::new()).await?;
        Ok(())
    }

    /// Tells that all bytes of a version have arrived.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub(super) async fn done(&self, artifact: &Artifact, etag: &str) -> Result<(), Failure> {
        let path = format!("/done/{artifact}");
        self.whole(Method::POST, &path, if_match(etag)?).await?;
        Ok(())
    }

    /// What the relay knows of adapters: `path` behind `/loras`, as
    /// docs/PROTOCOL.md has it.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub async fn loras(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<serde_json::Value, Failure> {
        let path = format!("/loras{path}");
        let (head, answer) = self.ask_with(method, &path, HeaderMap::new(), body).await?;
        if head.status != StatusCode::OK {
            return Err(declined(head.status, answer).await);
        }
        json(&collect(answer, ANSWER_MAX).await?)
    }

    /// The chunk index of a version, which has to be the one that the catalog
    /// names.
    ///
    /// # Errors
    /// It is another one; the relay's, or the link's.
    pub async fn index(
        &self,
        artifact: &Artifact,
        version: &Version,
    ) -> Result<ChunkIndex, Failure> {
        let path = format!("/index/{artifact}?blob={}", version.remote.blob);
        let bytes = self.whole(Method::GET, &path, HeaderMap::new()).await?;
        let decode = move || ChunkIndex::decode(&bytes);
        let decoded = tokio::task::spawn_blocking(decode)
            .await
            .map_err(unreadable)?;
        let index = decoded.map_err(unreadable)?;
        let remote = &version.remote;
        let is_right = index.blob() == remote.blob && index.size() == remote.size;
        if !is_right || index.root() != version.index {
            let what = format_args!(
                "the chunk index in the bucket is damaged, name={artifact}; hint: push the artifact again"
            );
            return Err(Failure::give(what));
        }
        Ok(index)
    }

    /// A URL that reads the version's bytes without the relay.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub(super) async fn url(&self, artifact: &Artifact, etag: &str) -> Result<DirectUrl, Failure> {
        let path = format!("/url/{artifact}");
        json(&self.whole(Method::POST, &path, if_match(etag)?).await?)
    }

    /// Bytes of a version, through the tunnel.
    ///
    /// # Errors
    /// The relay's, or the link's.
    pub async fn range(
        &self,
        artifact: &Artifact,
        etag: &str,
        place: &std::ops::Range<u64>,
    ) -> Result<RecvBody, Failure> {
        let path = format!("/blob/{artifact}");
        let mut headers = if_match(etag)?;
        headers.insert(RANGE, range_of(place)?);
        let (head, body) = self.ask(Method::GET, &path, headers).await?;
        if head.status == StatusCode::PARTIAL_CONTENT {
            return Ok(body);
        }
        Err(declined_read(head.status, body).await)
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Bytes, Failure> {
        let reads = method != Method::DELETE;
        let (head, body) = self.ask(method, path, headers).await?;
        match head.status {
            StatusCode::OK => collect(body, ANSWER_MAX.max(ENCODED_MAX)).await,
            status if reads => Err(declined_read(status, body).await),
            status => Err(declined(status, body).await),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<(ResponseHead, RecvBody), Failure> {
        self.ask_with(method, path, headers, None).await
    }

    async fn ask_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<(ResponseHead, RecvBody), Failure> {
        ask::ask(&self.0, &Open::Catalog, (method, path), headers, body).await
    }
}

/// How a range is asked for.
pub(super) fn range_of(place: &std::ops::Range<u64>) -> Result<HeaderValue, Failure> {
    let text = format!("bytes={}-{}", place.start, place.end.saturating_sub(1));
    HeaderValue::from_str(&text).map_err(unreadable)
}

/// Asks for one version only.
pub(super) fn if_match(etag: &str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(etag).map_err(unreadable)?;
    headers.insert(IF_MATCH, value);
    Ok(headers)
}

/// What the relay says instead to who reads: a conflict is that another version
/// was published meanwhile, which can be read.
async fn declined_read(status: StatusCode, body: RecvBody) -> Failure {
    let failure = declined(status, body).await;
    match status {
        StatusCode::CONFLICT => Failure {
            then: Then::Anew,
            ..failure
        },
        _ => failure,
    }
}
