//! A device's request to a cloud API: allow list → credential → call → meter.
//!
//! The device names an upstream, never a host, and never sees the credential.

pub(crate) mod connect;
pub mod meter;
pub mod tokens;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ginnel_link::body::send_body;
use ginnel_link::chunks::Chunks;
use ginnel_link::error::StreamError;
use ginnel_link::stream::{SendHalf, Stream};
use ginnel_proto::code::Code;
use ginnel_proto::hop::{strip_forwarded, strip_hop_by_hop};
use ginnel_proto::http::{RequestHead, ResponseHead};
use ginnel_proto::id::UpstreamName;
use ginnel_proto::limits::HEAD_TIMEOUT;
use ginnel_proto::message::announce_body;
use http::header::{ACCEPT_ENCODING, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use tracing::debug;

use self::connect::Connector;
use self::meter::{Meter, Uploaded};
use crate::links::Connected;
use crate::relay::Relay;

/// The cloud APIs that devices may reach.
pub type Upstreams = BTreeMap<UpstreamName, Upstream>;

/// One cloud API, and the client that reaches it.
#[derive(Debug)]
pub struct Upstream {
    /// Scheme, host and path prefix.
    base: Uri,
    /// The field that carries the credential, and its value.
    credential: Option<(HeaderName, HeaderValue)>,
    client: Client<Connector, RequestBody>,
}

impl Upstream {
    /// The API at `base`, whose certificate comes from the web's authorities
    /// or those in `ca_file`. `credential` is added to each request; its value
    /// should be marked sensitive, so that it is never printed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(
        base: Uri,
        credential: Option<(HeaderName, HeaderValue)>,
        ca_file: Option<&Path>,
    ) -> Result<Self, ginnel_certs::error::Error> {
        let roots = connect::roots(ca_file)?;
        let client = Client::builder(TokioExecutor::new());
        Ok(Self {
            base,
            credential,
            client: client.build(Connector::new(roots)),
        })
    }
}

/// Serves a stream that a device opened for an upstream.
pub async fn serve(
    relay: &Arc<Relay>,
    device: &Connected,
    name: &UpstreamName,
    mut stream: Stream,
) {
    let Some(upstream) = relay.upstreams.get(name) else {
        stream.send.reset(Code::UnknownUpstream);
        stream.recv.stop(Code::UnknownUpstream);
        return;
    };
    let meter = Meter::new(relay, device.id.clone(), name.clone());
    let Stream { mut send, recv } = stream;
    if let Err((code, error)) = exchange(upstream, meter, &mut send, recv).await {
        debug!(%error, %code, device = %device.id, upstream = %name, "upstream request ended early");
        send.reset(code);
    }
}

/// Why a request ended early: the code for the device, the reason for the log.
type Ended = (Code, String);

/// The body of a request to an upstream.
type RequestBody = Either<Uploaded, Empty<Chunks>>;

async fn exchange(
    upstream: &Upstream,
    mut meter: Meter,
    send: &mut SendHalf,
    mut recv: ginnel_link::stream::RecvHalf,
) -> Result<(), Ended> {
    let head = match timeout(HEAD_TIMEOUT, recv.request()).await {
        Ok(head) => head.map_err(ended)?,
        Err(_) => return Err((Code::HeadTimeout, "no HEAD in time".into())),
    };
    let body = match head.end {
        true => Either::Right(Empty::new()),
        false => Either::Left(meter.watch_request(recv.into_body())),
    };
    let request = request(upstream, head, body)?;
    let answered = tokio::select! {
        biased;
        answered = upstream.client.request(request) => answered,
        error = send.stopped() => return Err(ended(error)),
    };
    let response = answered.map_err(|error| unanswered(&error))?;
    answer(response, &mut meter, send).await
}

/// The request as the upstream sees it.
fn request(
    upstream: &Upstream,
    mut head: RequestHead,
    body: RequestBody,
) -> Result<Request<RequestBody>, Ended> {
    strip_hop_by_hop(&mut head.headers);
    strip_origin(&mut head.headers);
    // Usage can only be counted in what can be read.
    let identity = HeaderValue::from_static("identity");
    head.headers.insert(ACCEPT_ENCODING, identity);
    if let Some((name, value)) = &upstream.credential {
        head.headers.insert(name.clone(), value.clone());
    }
    // TRACE would be answered with the credential (RFC 9110 §9.3.8).
    if head.method == Method::TRACE {
        return Err((Code::BadRequest, "TRACE is not passed on".into()));
    }
    if climbs(head.path.path()) {
        let reason = "the path leaves the upstream's: it has a segment that is .. or .";
        return Err((Code::BadRequest, reason.into()));
    }
    announce_body(&mut head);
    let uri = join(&upstream.base, head.path.as_str())
        .map_err(|error| (Code::BadRequest, error.to_string()))?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers;
    Ok(request)
}

/// Fields that speak of the device's own network, not of the request. Cookies
/// are not bound to a port: what came may be another local program's.
fn strip_origin(headers: &mut HeaderMap) {
    strip_forwarded(headers);
    headers.remove(HOST);
    headers.remove(http::header::ORIGIN);
    headers.remove(http::header::REFERER);
    headers.remove(http::header::COOKIE);
}

/// Whether a path has a dot segment (RFC 3986 §3.3), however it is written:
/// with the credential added, it must not reach beside the configured path.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        // What an encoded slash or a parameter hides is a segment to some.
        let dots = dots.replace("%2f", "/").replace("%5c", "/");
        dots.split(['/', ';'])
            .any(|part| part == "." || part == "..")
    })
}

/// `https://api.example.com/v1` and `/chat?x` make
/// `https://api.example.com/v1/chat?x`.
fn join(base: &Uri, path: &str) -> Result<Uri, http::Error> {
    let prefix = base.path().trim_end_matches('/');
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(format!("{prefix}{path}").try_into()?);
    Ok(Uri::from_parts(parts)?)
}

/// Streams the upstream's answer back, counting as it goes.
async fn answer(
    response: Response<Incoming>,
    meter: &mut Meter,
    send: &mut SendHalf,
) -> Result<(), Ended> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err((Code::UpstreamFailed, "it switched protocols unasked".into()));
    }
    strip_hop_by_hop(&mut parts.headers);
    meter.begin(parts.status, &parts.headers);
    let head = ResponseHead {
        status: parts.status,
        headers: parts.headers,
        upgrade: None,
        end: body.is_end_stream(),
    };
    send.send_response(&head).await.map_err(ended)?;
    let body = meter.watch(body);
    match send_body(send, body).await {
        Ok(_) => Ok(()),
        Err(StreamError::Source(reason)) => Err((Code::UpstreamFailed, reason)),
        Err(error) => Err(ended(error)),
    }
}

fn ended(error: StreamError) -> Ended {
    (error.code(), error.to_string())
}

/// Why there is no answer: the upstream cannot be reached, or the device broke
/// its request off.
fn unanswered(error: &hyper_util::client::legacy::Error) -> Ended {
    let mut code = Code::UpstreamUnreachable;
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<StreamError>() {
            code = error.code();
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::TimedOut
        {
            code = Code::ConnectTimeout;
        }
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    (code, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_are_told_from_those_with_dots() {
        for path in [
            "/..",
            "/../x",
            "/a/../b",
            "/%2e%2E/x",
            "/.%2e",
            "/a/./b",
            "/.",
            "/..%2fx",
            "/a\\..\\b",
            "/..;x/y",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in [
            "/",
            "/v1/models",
            "/a..b",
            "/...",
            "/v1.0/x.y",
            "/.well-known/x",
            "/%2ex",
        ] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn paths_are_joined_to_the_base() {
        for (base, path, joined) in [
            (
                "https://a.example/v1",
                "/chat?x=1",
                "https://a.example/v1/chat?x=1",
            ),
            ("https://a.example/v1/", "/", "https://a.example/v1/"),
            ("http://127.0.0.1:80", "/x", "http://127.0.0.1:80/x"),
        ] {
            let base: Uri = base.parse().expect("valid");
            assert_eq!(join(&base, path).expect("joins"), joined);
        }
    }

    #[test]
    fn the_devices_network_stays_private() {
        let mut headers = HeaderMap::new();
        for name in [
            "host",
            "forwarded",
            "x-forwarded-for",
            "origin",
            "referer",
            "accept",
        ] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        strip_origin(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["accept"]);
    }
}
