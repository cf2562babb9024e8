//! Ranges of a published blob: through the tunnel, or straight from the bucket.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, Bytes};
use ginnel_link::link::Link;
use ginnel_proto::artifact::Artifact;
use http::header::RANGE;
use http::{Request, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::catalog::{Catalog, DirectUrl, if_match, range_of};
use super::failure::{Failure, Then};
use super::pace::Pace;
use crate::web;

/// How long the bucket may take until its answer begins, and between two
/// pieces of it.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A URL is asked for anew when it has less than this left: the longest that a
/// range should take.
const URL_LEAST: Duration = Duration::from_secs(120);

/// Which way ranges come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Straight from the bucket where it can be read, else through the tunnel.
    #[default]
    Auto,
    /// Through the tunnel.
    Tunnel,
    /// Straight from the bucket, or not at all.
    Direct,
}

impl std::str::FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "tunnel" => Ok(Self::Tunnel),
            "direct" => Ok(Self::Direct),
            _ => Err(format!(
                "is none of auto, tunnel and direct, value={text:?}"
            )),
        }
    }
}

/// The client that reads buckets. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Web(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Web {
    /// Trusts the web's authorities.
    #[must_use]
    pub fn new() -> Self {
        let connector = web::connector(SILENCE_MAX);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Default for Web {
    fn default() -> Self {
        Self::new()
    }
}

/// Where ranges of one version come from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) link: &'a Link,
    pub(super) web: &'a Web,
    pub(super) pace: &'a Pace,
    pub(super) artifact: &'a Artifact,
    pub(super) etag: &'a str,
    /// The direct way, while it works.
    direct: Mutex<Option<Arc<Direct>>>,
    way: Way,
    /// The direct way failed, and is not tried again by this attempt.
    gave_up: AtomicBool,
}

/// The direct way.
#[derive(Debug)]
struct Direct {
    url: DirectUrl,
}

/// A range on its way.
#[derive(Debug)]
pub(super) struct Ranged {
    body: Arriving,
    left: u64,
}

/// How it comes.
#[derive(Debug)]
enum Arriving {
    Tunnel(ginnel_link::body::RecvBody),
    Direct(hyper::body::Incoming),
}

impl<'a> Source<'a> {
    pub(super) fn new(
        link: &'a Link,
        web: &'a Web,
        pace: &'a Pace,
        (artifact, etag): (&'a Artifact, &'a str),
        way: Way,
    ) -> Self {
        Self {
            link,
            web,
            pace,
            artifact,
            etag,
            direct: Mutex::new(None),
            way,
            gave_up: AtomicBool::new(false),
        }
    }

    /// Begins to fetch a range. Where the direct way fails and the other may
    /// be taken, it is.
    pub(super) async fn begin(&self, place: &Range<u64>) -> Result<Ranged, Failure> {
        let left = place.end - place.start;
        if self.way != Way::Tunnel && !self.gave_up.load(Ordering::Relaxed) {
            match self.directly(place).await {
                Ok(body) => {
                    let body = Arriving::Direct(body);
                    return Ok(Ranged { body, left });
                }
                Err(failure) if self.way == Way::Direct => return Err(failure),
                Err(failure) => {
                    debug!(%failure, "the direct way does not work");
                    self.gave_up.store(true, Ordering::Relaxed);
                }
            }
        }
        self.through_tunnel(place).await
    }

    /// Begins to fetch a range through the tunnel, whatever was chosen.
    pub(super) async fn through_tunnel(&self, place: &Range<u64>) -> Result<Ranged, Failure> {
        let catalog = Catalog::new(self.link.clone());
        let body = catalog.range(self.artifact, self.etag, place).await?;
        Ok(Ranged {
            body: Arriving::Tunnel(body),
            left: place.end - place.start,
        })
    }

    async fn directly(&self, place: &Range<u64>) -> Result<hyper::body::Incoming, Failure> {
        let direct = self.url().await?;
        let mut request = Request::get(&direct.url.url).body(Empty::new());
        if let Ok(request) = &mut request {
            // The tag keeps out another version that took the key meanwhile.
            request.headers_mut().extend(if_match(self.etag)?);
            request.headers_mut().insert(RANGE, range_of(place)?);
        }
        let request = request.map_err(Failure::give)?;
        let answered = timeout(SILENCE_MAX, self.web.0.request(request)).await;
        let answered = answered.map_err(|_| Failure::retry("the bucket does not answer"))?;
        let response = answered.map_err(|error| {
            Failure::retry(format_args!(
                "the bucket cannot be reached: {}",
                cause(&error)
            ))
        })?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response.into_body()),
            StatusCode::PRECONDITION_FAILED => {
                let reason = "another version was published meanwhile".to_owned();
                let then = Then::Anew;
                Err(Failure { then, reason })
            }
            status => {
                // The next range asks for a URL of its own.
                *self.direct.lock().await = None;
                Err(Failure::retry(format_args!(
                    "the bucket answers with {status}"
                )))
            }
        }
    }

    /// One URL serves many ranges.
    async fn url(&self) -> Result<Arc<Direct>, Failure> {
        let mut direct = self.direct.lock().await;
        if let Some(direct) = &*direct
            && direct.lasts() > URL_LEAST
        {
            return Ok(Arc::clone(direct));
        }
        let catalog = Catalog::new(self.link.clone());
        let url = catalog.url(self.artifact, self.etag).await?;
        // A socket for both families tells IPv4 addresses as IPv6 ones.
        let relay = self.link.stats().remote.ip().to_canonical();
        check_url(&url.url, relay.is_loopback())?;
        let fresh = Arc::new(Direct { url });
        *direct = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

/// The relay must not make this device ask just any host of its network: only
/// over TLS, whose certificate names the host, and never with a credential. In
/// development, with the relay on this machine, plain HTTP on it is enough.
fn check_url(url: &str, relay_is_here: bool) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Failure::give(format_args!(
            "the relay's URL is not followed: {why}; hint: models.pull = \"tunnel\""
        ))
    };
    let uri: Uri = url.parse().map_err(|_| wrong("it is none"))?;
    let Some(authority) = uri.authority() else {
        return Err(wrong("it names no host"));
    };
    if authority.as_str().contains('@') {
        return Err(wrong("it brings a credential"));
    }
    let host = authority.host();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let address = address.map(|address| address.to_canonical());
    // Who connects to no address at all reaches this machine too.
    let leads_here = |it: IpAddr| it.is_loopback() || it.is_unspecified();
    let is_here = host == "localhost" || address.is_some_and(leads_here);
    match uri.scheme_str() {
        Some("http" | "https") if is_here && relay_is_here => Ok(()),
        _ if is_here => Err(wrong("it leads to this machine")),
        Some("https") => Ok(()),
        _ => Err(wrong("it is not over TLS")),
    }
}

impl Direct {
    fn lasts(&self) -> Duration {
        let until = UNIX_EPOCH + Duration::from_millis(self.url.expires_unix_ms);
        until.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl Ranged {
    /// The next bytes; `None` when all that was asked for has come.
    pub(super) async fn next(&mut self, pace: &Pace) -> Result<Option<Bytes>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match &mut self.body {
            Arriving::Tunnel(body) => piece(body).await?.map(|mut chunks| {
                let length = chunks.remaining();
                chunks.copy_to_bytes(length)
            }),
            Arriving::Direct(body) => piece(body).await?,
        };
        let Some(piece) = piece else {
            return Err(Failure::retry("the answer was cut short"));
        };
        let Some(left) = self.left.checked_sub(piece.len() as u64) else {
            return Err(Failure::retry("more came than was asked for"));
        };
        self.left = left;
        let length = piece.len() as u64;
        match self.body {
            Arriving::Tunnel(_) => pace.take(length).await,
            Arriving::Direct(_) => pace.take_directly(length).await,
        }
        Ok(Some(piece))
    }
}

/// The next data of a body.
async fn piece<B>(body: &mut B) -> Result<Option<B::Data>, Failure>
where
    B: Body + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let frame = timeout(SILENCE_MAX, body.frame()).await;
        let frame = frame.map_err(|_| Failure::retry("the answer stands still"))?;
        let Some(frame) = frame else { return Ok(None) };
        let frame =
            frame.map_err(|error| Failure::retry(format_args!("the answer broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// The innermost reason: the outer ones say only that there was one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_cannot_lead_anywhere() {
        for url in [
            "https://account.r2.cloudflarestorage.com/models/phi.gguf?X-Amz-Signature=1",
            "https://s3.example.com:8443/models/phi.gguf",
        ] {
            assert!(check_url(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://192.168.1.1/admin",
            "http://169.254.169.254/latest/meta-data",
            "https://localhost:7411/v1/stop",
            "http://127.0.0.1:7411/v1/status",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://0.0.0.0:7411/v1/stop",
            "https://[::]/",
            "https://user:word@s3.example.com/",
            "file:///etc/passwd",
            "/models",
            "",
        ] {
            let refused = check_url(url, false).expect_err(url);
            assert!(refused.reason.contains("tunnel"), "{refused}");
        }
        assert!(check_url("http://127.0.0.1:9000/b", true).is_ok());
        assert!(check_url("http://192.168.1.1/b", true).is_err());
    }
}
