//! Callers on the public side: one connection for each request, so that no
//! test depends on another's connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::wait::in_time;
use crate::wire::read_all;

/// Both versions of HTTP that callers speak, for tests that hold for either.
pub const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A client of the public side.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where the public side is.
    pub address: SocketAddr,
    connections: TaskTracker,
}

impl Caller {
    /// Calls `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections: TaskTracker::new(),
        }
    }

    /// Sends a request over HTTP/1.1 and waits for the answer's head.
    pub async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        in_time("an answer", self.try_send(request))
            .await
            .expect("an answer")
    }

    /// As [`Caller::send`], without expecting an answer.
    ///
    /// # Errors
    /// The connection ended first.
    pub async fn try_send<B>(&self, request: Request<B>) -> hyper::Result<Response<Incoming>>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.connections.spawn(connection.with_upgrades());
        sender.send_request(request).await
    }

    /// Sends a request over HTTP/2 with prior knowledge.
    pub async fn send_http2<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        in_time("an answer", self.try_send_http2(request))
            .await
            .expect("an answer")
    }

    /// As [`Caller::send_http2`], without expecting an answer.
    ///
    /// # Errors
    /// The stream or connection ended first.
    pub async fn try_send_http2<B>(&self, request: Request<B>) -> hyper::Result<Response<Incoming>>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.http2().await.send_request(request).await
    }

    /// An HTTP/2 connection, for many requests.
    pub async fn http2<B>(&self) -> SendRequest<B>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TokioIo::new(self.connect().await);
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(1024 * 1024);
        let (sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
        self.connections.spawn(connection);
        sender
    }

    /// Sends a request over the version it names.
    pub async fn send_over<B>(&self, version: Version, request: Request<B>) -> Response<Incoming>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if version == Version::HTTP_2 {
            return self.send_http2(request).await;
        }
        self.send(request).await
    }

    /// A connection whose every byte a test decides.
    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        stream.set_nodelay(true).expect("connected");
        stream
    }

    /// A connection on which `bytes` were sent.
    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.expect("sent");
        stream
    }

    /// Sends `bytes` and reads until the relay closes.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.say(bytes).await;
        String::from_utf8_lossy(&read_all(&mut stream).await).into_owned()
    }
}

/// The whole body.
pub async fn body(response: Response<Incoming>) -> Bytes {
    let collected = in_time("a whole body", response.into_body().collect()).await;
    collected.expect("a whole body").to_bytes()
}

/// The whole body as text.
pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(body(response).await.to_vec()).expect("text")
}
