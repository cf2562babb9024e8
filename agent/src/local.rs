//! Connections to local services: the only way the agent reaches anything.
//!
//! What may be reached is the allow list in [`services`](crate::services);
//! the relay can name a service on it and nothing else.

mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ginnel_link::cut::{Cut, Cuttable};
use ginnel_proto::code::Code;
use ginnel_proto::id::ServiceName;
use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use self::tls::{Protocol, TlsSettings};
use crate::knowledge::opening::{Opening, Stage};
use crate::services::Services;
use crate::services::address::check_address;
use crate::services::spec::SharedService;
use crate::services::target::{Authority, Host, Target};

/// A local service must accept by then.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections kept to one service, and for how long.
const IDLE_MAX: usize = 128;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// What hyper reads at once from a service, in bytes.
const READ_BUFFER: usize = 128 * 1024;

/// The buffer between the daemon and a service inside it, in bytes.
const INSIDE_BUFFER: usize = 256 * 1024;

/// Why a service cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is no longer shared.
    #[error("service is not shared, service={0}")]
    Unknown(String),
    /// It did not accept in time.
    #[error("service did not accept in time, target={0}")]
    TimedOut(String),
    /// It refused, or is not there.
    #[error("service cannot be reached, target={target}: {reason}")]
    Unreachable {
        /// Where it should be.
        target: String,
        /// What the system says.
        reason: String,
    },
}

impl ConnectError {
    /// What the relay is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::UnknownService,
            Self::TimedOut(_) => Code::ConnectTimeout,
            Self::Unreachable { .. } => Code::ServiceUnreachable,
        }
    }
}

/// A connection to a local service.
pub struct LocalStream {
    io: Box<dyn Io>,
    cut: Cut,
}

impl LocalStream {
    /// What cuts this connection off; without effect where it is not TCP.
    #[must_use]
    pub fn cut(&self) -> Cut {
        self.cut.clone()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl std::fmt::Debug for LocalStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalStream")
    }
}

/// Services inside the daemon.
#[derive(Debug, Clone)]
pub struct Inside {
    /// Owns their connections.
    pub tasks: TaskTracker,
    /// What this device knows.
    pub knowledge: Opening,
}

/// What connecting takes beside the service itself.
#[derive(Debug, Clone)]
struct Connecting {
    tls: TlsSettings,
    protocol: Protocol,
    inside: Inside,
}

/// Connects to a TCP service, within [`CONNECT_TIMEOUT`].
///
/// # Errors
/// [`ConnectError`] says why not.
pub async fn connect_tcp(
    service: &SharedService,
    inside: &Inside,
) -> Result<LocalStream, ConnectError> {
    let connecting = Connecting {
        // Without effect: no TCP target has TLS.
        tls: TlsSettings::default(),
        protocol: Protocol::Http1,
        inside: inside.clone(),
    };
    connect(service, &connecting).await
}

async fn connect(
    service: &SharedService,
    connecting: &Connecting,
) -> Result<LocalStream, ConnectError> {
    let target = || service.target.to_string();
    match timeout(CONNECT_TIMEOUT, open(service, connecting)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ConnectError::Unreachable {
            target: target(),
            reason: error.to_string(),
        }),
        Err(_) => Err(ConnectError::TimedOut(target())),
    }
}

async fn open(service: &SharedService, connecting: &Connecting) -> io::Result<LocalStream> {
    let mut cut = Cut::default();
    let io: Box<dyn Io> = match &service.target {
        Target::Http(authority) | Target::Tcp(authority) => {
            let stream = Cuttable::new(tcp(service, authority).await?);
            cut = stream.cut();
            Box::new(stream)
        }
        Target::Https(authority) => {
            let config = connecting
                .tls
                .of(&service.trust, connecting.protocol)
                .await?;
            let stream = Cuttable::new(tcp(service, authority).await?);
            cut = stream.cut();
            Box::new(tls(authority, stream, config).await?)
        }
        Target::Unix(path) | Target::TcpUnix(path) => unix(path.as_path()).await?,
        Target::Demo => {
            let (ours, theirs) = tokio::io::duplex(INSIDE_BUFFER);
            let served = crate::demo::serve_connection(theirs);
            connecting.inside.tasks.spawn(served);
            Box::new(ours)
        }
        Target::Knowledge => {
            let knowledge = connecting.inside.knowledge.clone();
            if let Stage::Failed(_) = knowledge.stage() {
                let reason = "this device keeps no knowledge";
                return Err(io::Error::new(io::ErrorKind::NotFound, reason));
            }
            let (ours, theirs) = tokio::io::duplex(INSIDE_BUFFER);
            let served = crate::api::outside::serve_connection(theirs, knowledge);
            connecting.inside.tasks.spawn(served);
            Box::new(ours)
        }
    };
    Ok(LocalStream { io, cut })
}

/// Resolves and checks each address right before it is used, so that DNS
/// cannot lead elsewhere between the check and the connection.
async fn tcp(service: &SharedService, authority: &Authority) -> io::Result<TcpStream> {
    let port = authority.port();
    let addresses: Vec<SocketAddr> = match authority.host() {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => tokio::net::lookup_host((&**name, port)).await?.collect(),
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        if let Err(refused) = check_address(address.ip(), service.reach) {
            failure = io::Error::new(io::ErrorKind::PermissionDenied, refused);
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests must not wait for the next one (Nagle).
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn tls(
    authority: &Authority,
    stream: Cuttable,
    config: Arc<rustls::ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<Cuttable>> {
    let name = match authority.host() {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.to_string()).map_err(io::Error::other)?,
    };
    TlsConnector::from(config).connect(name, stream).await
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> io::Result<Box<dyn Io>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
#[allow(clippy::unused_async, reason = "as its twin")]
async fn unix(_: &std::path::Path) -> io::Result<Box<dyn Io>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "unix sockets are not available on this system",
    ))
}

/// An HTTP client whose hosts are the names of shared services.
pub type LocalClient<B> = Client<Connector, B>;

/// A client for HTTP/1.1.
#[must_use]
pub fn http1<B>(services: Services, inside: Inside) -> LocalClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    builder().build(Connector::new(services, inside, Protocol::Http1))
}

/// A client for HTTP/2 with prior knowledge, as gRPC servers want it.
#[must_use]
pub fn http2<B>(services: Services, inside: Inside) -> LocalClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    builder()
        .http2_only(true)
        .http2_initial_connection_window_size(4 * 1024 * 1024)
        .http2_initial_stream_window_size(1024 * 1024)
        .build(Connector::new(services, inside, Protocol::Http2))
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(READ_BUFFER)
        .set_host(false);
    builder
}

/// The host under which the clients know a service. It changes with the list,
/// so that no idle connection to an old target is used again.
#[must_use]
pub fn host(service: &ServiceName, generation: u64) -> String {
    format!("{service}.g{generation}")
}

/// Connects to services by name, for the clients.
#[derive(Debug, Clone)]
pub struct Connector {
    services: Services,
    connecting: Connecting,
}

impl Connector {
    fn new(services: Services, inside: Inside, protocol: Protocol) -> Self {
        let tls = TlsSettings::default();
        let connecting = Connecting {
            tls,
            protocol,
            inside,
        };
        Self {
            services,
            connecting,
        }
    }

    fn find(&self, uri: &Uri) -> Result<Arc<SharedService>, ConnectError> {
        let host = uri.host().unwrap_or_default();
        let name = host.split_once('.').map_or(host, |(name, _)| name);
        ServiceName::parse(name)
            .ok()
            .and_then(|name| self.services.find(&name))
            .ok_or_else(|| ConnectError::Unknown(name.to_owned()))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<LocalStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<LocalStream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let service = self.find(&uri);
        let connecting = self.connecting.clone();
        Box::pin(async move { Ok(TokioIo::new(connect(&*service?, &connecting).await?)) })
    }
}

impl Connection for LocalStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
