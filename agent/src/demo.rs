//! The demo origin: something to share when there is nothing to share yet.
//!
//! `ginnel share demo demo` exposes it. It runs inside the daemon and shows
//! what a tunnel must carry: streams both ways, large bodies, server-sent
//! events, slow answers and WebSockets. Tests and benchmarks use it too.

mod bytes;
mod events;
mod websocket;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::api::answer::{BoxError, BrokenOff};

/// Largest body of `/bytes/N`: 16 GiB, minutes of a fast network.
pub const BYTES_MAX: u64 = 16 << 30;

/// Longest wait of `/slow/MS`.
pub const SLOW_MAX: Duration = Duration::from_secs(600);

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The page loads its own style and script, and nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The body of an answer.
pub type DemoBody = UnsyncBoxBody<Bytes, BrokenOff>;

/// Answers one request.
pub async fn answer<B>(request: Request<B>) -> Response<DemoBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let path = request.uri().path().to_owned();
    let (first, rest) = match path.trim_start_matches('/').split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path.trim_start_matches('/'), None),
    };
    let mut response = match (first, rest) {
        ("", None) => text("text/html; charset=utf-8", include_str!("demo/page.html")),
        ("demo.css", None) => text("text/css", include_str!("demo/demo.css")),
        ("demo.js", None) => text("text/javascript", include_str!("demo/demo.js")),
        ("echo", _) => echo(request),
        ("stream", None) => events::answer(),
        ("bytes", Some(count)) => match count.parse() {
            Ok(count) if count <= BYTES_MAX => bytes::answer(count),
            _ => bad_request("bytes/N sends N bytes, at most 17179869184\n"),
        },
        ("upload", None) => upload(request.into_body()).await,
        ("slow", Some(millis)) => match millis.parse().map(Duration::from_millis) {
            Ok(wait) if wait <= SLOW_MAX => {
                tokio::time::sleep(wait).await;
                text(PLAIN, "done\n")
            }
            _ => bad_request("slow/MS waits MS milliseconds, at most 600000\n"),
        },
        ("ws", None) => websocket::required(),
        _ => with_status(StatusCode::NOT_FOUND, "there is nothing here, see /\n"),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// Serves HTTP/1.1 on one connection, also the WebSocket of `/ws`, until it
/// ends. All of it runs in the caller's task.
pub async fn serve_connection<I>(io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Where the one request that upgrades leaves the connection.
    let upgraded = Arc::new(Mutex::new(None));
    let service = service_fn(|mut request| {
        let handshake = websocket::accept(&request);
        if handshake.is_some() {
            let mut upgraded = upgraded.lock().unwrap_or_else(PoisonError::into_inner);
            *upgraded = Some(hyper::upgrade::on(&mut request));
        }
        async move {
            Ok::<_, Infallible>(match handshake {
                Some(response) => response,
                None => answer(request).await,
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%error, "demo connection ended");
        return;
    }
    let upgraded = upgraded
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(upgraded) = upgraded else {
        return;
    };
    match upgraded.await {
        Ok(io) => websocket::echo(TokioIo::new(io)).await,
        Err(error) => debug!(%error, "demo connection was not upgraded"),
    }
}

/// The request as text: its head, then its body as it arrives.
fn echo<B>(request: Request<B>) -> Response<DemoBody>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let mut shown = format!("{} {} {:?}\n", head.method, head.uri, head.version).into_bytes();
    for (name, value) in &head.headers {
        shown.extend_from_slice(name.as_str().as_bytes());
        shown.extend_from_slice(b": ");
        shown.extend_from_slice(value.as_bytes());
        shown.push(b'\n');
    }
    shown.push(b'\n');
    let head = futures_util::stream::iter([Ok(Frame::data(Bytes::from(shown)))]);
    let body = BodyStream::new(body).map(|frame| {
        let frame = frame.map_err(|error| BrokenOff(error.into()))?;
        // No copy: the data of hyper's bodies is one `Bytes`.
        Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
    });
    let mut response = Response::new(StreamBody::new(head.chain(body)).boxed_unsync());
    set_type(response.headers_mut(), PLAIN);
    response
}

/// Reads a body to its end and tells its length.
async fn upload<B>(body: B) -> Response<DemoBody>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut count: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return bad_request("the body broke off\n");
        };
        let length = frame.data_ref().map_or(0, |data| data.remaining());
        count = count.saturating_add(length as u64);
    }
    let counted = serde_json::json!({ "bytes": count }).to_string();
    text("application/json", counted)
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn text(kind: &'static str, text: impl Into<Bytes>) -> Response<DemoBody> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    set_type(response.headers_mut(), kind);
    response
}

fn with_status(status: StatusCode, reason: &'static str) -> Response<DemoBody> {
    let mut response = text(PLAIN, reason);
    *response.status_mut() = status;
    response
}

fn bad_request(reason: &'static str) -> Response<DemoBody> {
    with_status(StatusCode::BAD_REQUEST, reason)
}

fn set_type(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
}

#[cfg(test)]
#[path = "demo/tests.rs"]
mod tests;
