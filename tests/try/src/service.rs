//! The local service that is shared: any web server would do.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// What `/tokens` says, one word at a time.
pub(crate) const WORDS: [&str; 8] = [
    "a", "ginnel", "is", "a", "narrow", "passage", "between", "houses",
];

/// The pause between two words.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until the tracker's tasks are dropped; returns the port.
pub(crate) async fn start(tasks: &TaskTracker) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let owner = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let tasks = owner.clone();
            owner.spawn(async move {
                let service = service_fn(move |request| {
                    let tasks = tasks.clone();
                    async move { Ok::<_, Infallible>(answer(request, &tasks).await) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ = server.serve_connection_with_upgrades(io, service).await;
            });
        }
    });
    Ok(port)
}

async fn answer(request: Request<Incoming>, tasks: &TaskTracker) -> Response<Body> {
    match request.uri().path() {
        "/tokens" => tokens(tasks),
        "/large" => large(),
        "/upload" => {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(Ok(frame)) = body.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
            }
            text(format!("{total}"))
        }
        "/socket" => echo_socket(request, tasks),
        path => text(format!(
            "hello from the local service, you asked for {path}\n"
        )),
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(Full::new(Bytes::from(text)).boxed_unsync())
}

/// Server-sent events, one word each.
fn tokens(tasks: &TaskTracker) -> Response<Body> {
    let (words, received) = mpsc::channel(1);
    tasks.spawn(async move {
        for word in WORDS {
            let event = Bytes::from(format!("data: {word}\n\n"));
            if words.send(event).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let mut response = Response::new(stream(received));
    let kind = http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// 256 MiB.
pub(crate) const LARGE: usize = 256 << 20;

fn large() -> Response<Body> {
    let piece = Bytes::from(vec![b'g'; 64 << 10]);
    let count = LARGE / piece.len();
    let pieces = (0..count).map(move |_| Ok(Frame::data(piece.clone())));
    let body = StreamBody::new(Pieces(Box::new(pieces)));
    let mut response = Response::new(body.boxed_unsync());
    let length = http::HeaderValue::from(LARGE);
    response
        .headers_mut()
        .insert(http::header::CONTENT_LENGTH, length);
    response
}

/// An iterator as a stream.
struct Pieces(Box<dyn Iterator<Item = Result<Frame<Bytes>, Infallible>> + Send>);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn stream(mut received: mpsc::Receiver<Bytes>) -> Body {
    let next = move |cx: &mut std::task::Context<'_>| received.poll_recv(cx);
    StreamBody::new(Received(Box::new(next))).boxed_unsync()
}

type Poller = dyn FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Send;

/// A channel as a stream.
struct Received(Box<Poller>);

impl futures_core::Stream for Received {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        (self.0)(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Echoes the frames of a WebSocket (RFC 6455), unmasked, up to 125 bytes.
fn echo_socket(mut request: Request<Incoming>, tasks: &TaskTracker) -> Response<Body> {
    let switched = hyper::upgrade::on(&mut request);
    tasks.spawn(async move {
        let Ok(upgraded) = switched.await else {
            return;
        };
        let mut io = TokioIo::new(upgraded);
        let mut head = [0; 2];
        while io.read_exact(&mut head).await.is_ok() {
            let length = usize::from(head[1] & 0x7f);
            let mut masked = vec![0; 4 + length];
            if length > 125 || io.read_exact(&mut masked).await.is_err() {
                return;
            }
            let (mask, payload) = masked.split_at(4);
            let plain = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
            let length = head[1] & 0x7f;
            let frame: Vec<u8> = [head[0], length].into_iter().chain(plain).collect();
            if io.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
    response
}
