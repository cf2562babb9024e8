//! Callers on the public side: one connection for each request, so that no
//! test depends on another's connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

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
        self.try_send(request).await.expect("an answer")
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
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        self.connections.spawn(connection);
        sender.send_request(request).await.expect("an answer")
    }
}

/// The whole body.
pub async fn body(response: Response<Incoming>) -> Bytes {
    let collected = response.into_body().collect().await.expect("a whole body");
    collected.to_bytes()
}

/// The whole body as text.
pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(body(response).await.to_vec()).expect("text")
}
