//! Takes callers' connections: plain or TLS, HTTP/1.1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ginnel_proto::http::Hop;
use http::uri::Scheme;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::guard::Guarded;
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

/// Flow-control windows of an HTTP/2 connection and stream, in bytes.
const H2_WINDOW: u32 = 4 * 1024 * 1024;
const H2_STREAM_WINDOW: u32 = 1024 * 1024;

/// When to ask a silent caller whether it is still there.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15));

/// How long to wait after the system refused a connection, as when out of
/// file descriptors: those in use come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The public listener.
#[derive(Debug)]
pub struct Edge {
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// One for each connection that may be open.
    room: Arc<Semaphore>,
}

impl Edge {
    /// Listens on `address`, with TLS if settings are given, for at most
    /// `connections_max` connections at once.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        connections_max: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            tls,
            room: Arc::new(Semaphore::new(connections_max)),
        })
    }

    /// The address it listens at.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until `stop`. Those there are then finish the
    /// requests under way; they belong to the relay's tasks.
    pub async fn serve(self, relay: Arc<Relay>, stop: CancellationToken) {
        loop {
            // At the limit the system's backlog holds callers back.
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = Arc::clone(&self.room).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let connection = Connection {
                        relay: Arc::clone(&relay),
                        tls: self.tls.clone(),
                        address,
                        stop: stop.clone(),
                    };
                    relay.tasks.spawn(async move {
                        connection.serve(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a public connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
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
        // Small answers must not wait for the next one (Nagle), and a caller
        // that vanished must not keep its streams.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, Scheme::HTTP).await;
        };
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match timeout(TLS_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.serve_http(stream, Scheme::HTTPS).await,
            Ok(Err(error)) => debug!(%error, "TLS handshake of a caller failed"),
            Err(_) => debug!("TLS handshake of a caller took too long"),
        }
    }

    async fn serve_http<IO>(&self, io: IO, scheme: Scheme)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, gate) = Guarded::new(io);
        let caller = Caller {
            hop: Hop::new(self.address, scheme),
            gate: Some(gate.clone()),
        };
        let service = service_fn(|request| {
            let relay = Arc::clone(&self.relay);
            let caller = caller.clone();
            async move { Ok::<_, std::convert::Infallible>(forward(&relay, &caller, request).await) }
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
            .max_header_list_size(64 * 1024)
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
        if let Err(error) = result {
            debug!(%error, "a caller's connection ended");
        }
    }
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
