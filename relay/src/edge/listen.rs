//! Takes callers' connections: plain or TLS, HTTP/1.1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ginnel_link::cut::{Cut, Cuttable};
use ginnel_proto::hop::Hop;
use http::uri::Scheme;
use http::{Response, StatusCode, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::accept::Acceptor;
use super::guard::{Answer, Gate, Guarded};
use super::proxy::{Caller, forward};
use super::scanner::HEADERS_MAX;
use crate::relay::Relay;

/// A caller must have sent its whole head by then (slow loris).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A caller must have finished TLS by then.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// What hyper reads at once, in bytes, and the largest head it parses. Larger
/// reads were no faster; a body's pieces are as large as this allows.
const READ_BUFFER: usize = 128 * 1024;

/// Requests one HTTP/2 connection may have open.
const H2_STREAMS: u32 = 256;

/// The largest head that hyper reads over HTTP/2, its fields unpacked, in
/// bytes: as over HTTP/1, twice what goes on to a device. What is in between
/// the relay refuses itself, with a code. A larger one makes hyper end the
/// stream with `REFUSED_STREAM`, which tells callers that they may try again.
/// One connection can make us hold [`H2_STREAMS`] of them, 32 MiB, and only
/// until each has been looked at.
const H2_HEAD_MAX: u32 = 128 * 1024;

/// Flow-control windows of an HTTP/2 connection and stream, in bytes.
const H2_WINDOW: u32 = 4 * 1024 * 1024;
const H2_STREAM_WINDOW: u32 = 1024 * 1024;

/// The public listener.
#[derive(Debug)]
pub struct Edge {
    acceptor: Acceptor,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Edge {
    /// Serves what `acceptor` takes, with TLS if settings are given.
    #[must_use]
    pub fn new(acceptor: Acceptor, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self { acceptor, tls }
    }

    /// The address it listens at.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.acceptor.local_address()
    }

    /// Takes connections until `stop`. Those there are then finish the
    /// requests under way; they belong to the relay's tasks.
    pub async fn serve(self, relay: Arc<Relay>, stop: CancellationToken) {
        while let Some(accepted) = self.acceptor.next(&stop).await {
            let connection = Connection {
                relay: Arc::clone(&relay),
                tls: self.tls.clone(),
                address: accepted.address,
                stop: stop.clone(),
            };
            relay.tasks.spawn(async move {
                connection.serve(accepted.stream).await;
                drop(accepted.place);
            });
        }
    }
}

/// One caller's connection.
struct Connection {
    relay: Arc<Relay>,
    tls: Option<Arc<rustls::ServerConfig>>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let _active = self.relay.metrics.connection();
        let stream = Cuttable::new(stream);
        let cut = stream.cut();
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, cut, Scheme::HTTP).await;
        };
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match timeout(TLS_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.serve_http(stream, cut, Scheme::HTTPS).await,
            Ok(Err(error)) => debug!(%error, "TLS handshake of a caller failed"),
            Err(_) => debug!("TLS handshake of a caller took too long"),
        }
    }

    async fn serve_http<IO>(&self, io: IO, cut: Cut, scheme: Scheme)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, gate) = Guarded::new(io);
        let caller = Caller {
            hop: Hop::new(self.address, scheme),
            cut,
        };
        let service = service_fn(|request| {
            let relay = Arc::clone(&self.relay);
            let caller = caller.clone();
            let gate = (request.version() < Version::HTTP_2).then(|| gate.clone());
            async move {
                let response = forward(&relay, &caller, request).await;
                Ok::<_, std::convert::Infallible>(pass_gate(response, gate))
            }
        });
        let tasks = Tasks(self.relay.tasks.clone());
        let mut builder = auto::Builder::new(tasks);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(READ_BUFFER)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .initial_connection_window_size(H2_WINDOW)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .max_header_list_size(H2_HEAD_MAX)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let silent = async {
            if timeout(HEAD_TIMEOUT, gate.begun()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let result = tokio::select! {
            biased;
            result = connection.as_mut() => result,
            () = silent => {
                debug!("a caller said nothing in time");
                return;
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = &result {
            debug!(%error, "a caller's connection ended");
        }
        // Answered by hyper, so the proxy has not seen it.
        let by_hyper = || refused_by_hyper(result.as_ref().err()?.downcast_ref()?);
        if let Some(reason) = gate.refused().or_else(by_hyper) {
            self.relay.metrics.message_refused(reason);
        }
    }
}

/// What hyper refuses and the guard lets pass: too many header lines, and
/// heads that fill its buffer.
fn refused_by_hyper(error: &hyper::Error) -> Option<&'static str> {
    match (error.is_parse_too_large(), error.is_parse()) {
        (true, _) => Some("head is too large"),
        (false, true) => Some("not HTTP"),
        (false, false) => None,
    }
}

/// Opens the gate for what follows the answer: the next request once it is
/// over, or at once what was upgraded to.
fn pass_gate<B>(response: Response<B>, gate: Option<Gate>) -> Response<Answer<B>> {
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let gate = match gate {
        Some(gate) if switched => {
            gate.upgraded();
            None
        }
        gate => gate,
    };
    response.map(|body| Answer::new(body, gate))
}

/// Gives hyper's tasks an owner.
#[derive(Debug, Clone)]
struct Tasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
