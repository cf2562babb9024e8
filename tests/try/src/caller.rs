//! A caller on the public side.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Calls services at the relay's public port, by host.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) port: u16,
    pub(crate) tasks: TaskTracker,
}

impl Caller {
    /// Sends a request and waits for the answer's head.
    pub(crate) async fn send(
        &self,
        host: &str,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Response<Incoming>> {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", format!("{host}:{}", self.port));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn(connection.with_upgrades());
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Reads a body and tells when each piece came.
    pub(crate) async fn pieces(
        response: Response<Incoming>,
    ) -> anyhow::Result<Vec<(Bytes, Instant)>> {
        let mut body = response.into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                pieces.push((data, Instant::now()));
            }
        }
        Ok(pieces)
    }

    /// Reads a body and tells its length.
    pub(crate) async fn length(response: Response<Incoming>) -> anyhow::Result<usize> {
        let mut body = response.into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(total)
    }

    /// Opens a WebSocket, sends a text and returns the echo and how long it
    /// took.
    pub(crate) async fn websocket(
        &self,
        host: &str,
        path: &str,
        text: &str,
    ) -> anyhow::Result<(String, Duration)> {
        let handshake = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let response = self.send(host, path, Bytes::new(), &handshake).await?;
        anyhow::ensure!(
            response.status() == 101,
            "no WebSocket, status={}",
            response.status()
        );
        let mut socket = TokioIo::new(hyper::upgrade::on(response).await?);
        let began = Instant::now();
        let length = u8::try_from(text.len()).context("text is too long")?;
        // A client masks (RFC 6455 §5.3); a mask of zeros changes nothing.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        socket.write_all(&frame).await?;
        let mut echo = vec![0; 2 + text.len()];
        socket.read_exact(&mut echo).await?;
        let echo = String::from_utf8(echo.split_off(2))?;
        Ok((echo, began.elapsed()))
    }
}
