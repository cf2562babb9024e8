//! How the command line talks to the running daemon.
//!
//! One connection for each request, over the local API. Whether a daemon runs
//! is decided by its lock ([`crate::running`]) before anything is sent.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use ginnel_daemon::running::Running;
use ginnel_link::cut::{Cut, Cuttable};
use ginnel_proto::id::{DeviceName, ServiceName};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Empty, Full, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::api::answer::{BoxError, ProblemBody};
use crate::api::knowledge::view::AddRequest;
use crate::api::{ServiceView, ServicesView};
use crate::gateway::TCP_PROTOCOL;
use crate::knowledge::add::Event;
use crate::local_token::LocalToken;
use crate::running::{self, DaemonNote};
use crate::services::spec::ServiceSpec;
use crate::status::Status;

/// Largest answer that is read, in bytes: a document of the largest size fits,
/// its text doubled by escapes.
const ANSWER_MAX: usize = 256 << 20;

/// How long the daemon may take to answer. Sharing writes to the disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a daemon that has just started may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to look again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A way to the running daemon of a state folder.
#[derive(Debug, Clone)]
pub struct LocalClient {
    daemon: DaemonNote,
    token: LocalToken,
}

/// Why the daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no daemon.
    #[error("ginnel is not running, state={}; hint: start it with: ginnel up", .0.display())]
    NotRunning(PathBuf),
    /// It holds its lock but does not listen.
    #[error("ginnel is starting or stopping; hint: try again in a moment")]
    NotListening,
    /// It answered that it will not.
    #[error("{message}{}", .hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The problem's name for programs.
        code: String,
        /// What is wrong, for people.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The token cannot be read.
    #[error("the local token cannot be read")]
    Token(#[from] ginnel_certs::error::Error),
    /// The state folder cannot be read.
    #[error("cannot tell whether ginnel runs")]
    State(#[source] io::Error),
    /// The conversation broke off.
    #[error("the running ginnel cannot be asked, pid={pid}")]
    Failed {
        /// The daemon's process.
        pid: u32,
        /// What went wrong.
        source: BoxError,
    },
}

impl ClientError {
    /// Whether there is no daemon to ask.
    #[must_use]
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning(_))
    }
}

impl LocalClient {
    /// Finds the daemon of a state folder, waiting a moment for one that has
    /// just started.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] if there is none.
    pub async fn find(state: &Path) -> Result<Self, ClientError> {
        let look = async {
            loop {
                match running::find(state).map_err(ClientError::State)? {
                    Running::No => return Err(ClientError::NotRunning(state.to_owned())),
                    Running::Silent => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
                    Running::Listening(daemon) => return Ok(daemon),
                }
            }
        };
        let found = tokio::time::timeout(START_TIMEOUT, look).await;
        let daemon = found.unwrap_or(Err(ClientError::NotListening))?;
        let token = LocalToken::read(state)?;
        Ok(Self { daemon, token })
    }

    /// The daemon's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.pid
    }

    /// What the daemon knows about itself.
    ///
    /// # Errors
    /// The daemon cannot be asked.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// What the device shares.
    ///
    /// # Errors
    /// The daemon cannot be asked.
    pub async fn services(&self) -> Result<Vec<ServiceView>, ClientError> {
        let view: ServicesView = self.ask(Method::GET, "/v1/services", Bytes::new()).await?;
        Ok(view.services)
    }

    /// Shares a service.
    ///
    /// # Errors
    /// The daemon refuses, or cannot be asked.
    pub async fn share(
        &self,
        name: &ServiceName,
        spec: &ServiceSpec,
    ) -> Result<ServiceView, ClientError> {
        let body = serde_json::to_vec(spec).map_err(|error| self.failed(error))?;
        let path = format!("/v1/services/{name}");
        self.ask(Method::PUT, &path, body.into()).await
    }

    /// Stops sharing a service.
    ///
    /// # Errors
    /// There is no such service, or the daemon cannot be asked.
    pub async fn unshare(&self, name: &ServiceName) -> Result<(), ClientError> {
        let path = format!("/v1/services/{name}");
        self.exchange(Method::DELETE, &path, Bytes::new()).await?;
        Ok(())
    }

    /// Asks the daemon to stop, without waiting for it.
    ///
    /// # Errors
    /// The daemon cannot be asked.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.exchange(Method::POST, "/v1/stop", Bytes::new())
            .await?;
        Ok(())
    }

    /// A raw connection to a service of another device, or of whichever
    /// device shares it.
    ///
    /// # Errors
    /// The service cannot be reached, or the daemon cannot be asked.
    pub async fn tcp(
        &self,
        device: Option<&DeviceName>,
        service: &ServiceName,
    ) -> Result<(impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Cut), ClientError> {
        let path = match device {
            Some(device) => format!("/v1/tcp/{device}/{service}"),
            None => format!("/v1/tcp/{service}"),
        };
        let switched = self.switch(&path).await;
        let switched = switched.map_err(|error| self.failed(error))?;
        switched.map_err(|(status, body)| self.refused(status, &body))
    }

    /// Asks to switch to raw bytes; the inner error is the daemon's answer.
    async fn switch(
        &self,
        path: &str,
    ) -> Result<Result<(TokioIo<Upgraded>, Cut), (StatusCode, Bytes)>, BoxError> {
        let request = Request::builder()
            .uri(path)
            .header(HOST, self.daemon.local.to_string())
            .header(AUTHORIZATION, self.token.to_header())
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, TCP_PROTOCOL)
            .body(Empty::<Bytes>::new())?;
        let stream = TcpStream::connect(self.daemon.local).await?;
        stream.set_nodelay(true)?;
        let stream = Cuttable::new(stream);
        let cut = stream.cut();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let upgraded = hyper::upgrade::on(response).await?;
                return Ok(Ok((TokioIo::new(upgraded), cut)));
            }
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await?;
            Ok(Err((head.status, body.to_bytes())))
        };
        drive(exchange, connection.with_upgrades()).await
    }

    /// Sends a request about knowledge, which may take long.
    ///
    /// # Errors
    /// The daemon refuses, or cannot be asked.
    pub async fn send_long<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.failed(error))?;
        let answered = self.send(method, path, body.into()).await;
        let (status, body) = answered.map_err(|error| self.failed(error))?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        // What was deleted is answered with nothing.
        let body = if body.is_empty() { "null".into() } else { body };
        serde_json::from_slice(&body).map_err(|error| self.failed(error))
    }

    /// Has files added, and calls `each` with every event.
    ///
    /// # Errors
    /// The daemon refuses, or cannot be asked; what `each` fails with.
    pub async fn add(
        &self,
        request: &AddRequest,
        each: impl FnMut(Event) -> Result<(), BoxError>,
    ) -> Result<(), ClientError> {
        self.follow("/v1/add", request, each).await
    }

    /// Has something done that tells how it goes, and calls `each` with every
    /// line of it.
    ///
    /// # Errors
    /// The daemon refuses, or cannot be asked; what `each` fails with.
    pub async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        mut each: impl FnMut(T) -> Result<(), BoxError>,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| self.failed(error))?;
        let request = self.request(Method::POST, path, body.into());
        let request = request.map_err(|error| self.failed(error))?;
        let told = async {
            let stream = TcpStream::connect(self.daemon.local).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let exchange = async move {
                let response = sender.send_request(request).await?;
                let (head, body) = response.into_parts();
                if !head.status.is_success() {
                    let body = Limited::new(body, ANSWER_MAX).collect().await?;
                    return Ok(Some((head.status, body.to_bytes())));
                }
                let mut body = BodyStream::new(body);
                let mut line = Vec::new();
                while let Some(frame) = body.next().await {
                    for byte in frame?.into_data().unwrap_or_default() {
                        if byte != b'\n' {
                            line.push(byte);
                            continue;
                        }
                        each(serde_json::from_slice(&line)?)?;
                        line.clear();
                    }
                }
                Ok(None)
            };
            drive(exchange, connection).await
        };
        let refused: Result<Option<(StatusCode, Bytes)>, BoxError> = told.await;
        match refused.map_err(|error| self.failed(error))? {
            None => Ok(()),
            Some((status, body)) => Err(self.refused(status, &body)),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.daemon.local.to_string())
            .header(AUTHORIZATION, self.token.to_header())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let answer = self.exchange(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| self.failed(error))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.send(method, path, body)).await;
        let answer = answered.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let (status, body) = answer.map_err(|error| self.failed(error))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(self.refused(status, &body))
    }

    /// What the daemon says when it will not.
    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let problem: ProblemBody = match serde_json::from_slice(body) {
            Ok(problem) => problem,
            Err(error) => return self.failed(error),
        };
        ClientError::Refused {
            status,
            code: problem.error.code,
            message: problem.error.message,
            hint: problem.error.hint,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let request = self.request(method, path, body)?;
        let stream = TcpStream::connect(self.daemon.local).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await?;
            Ok((head.status, body.to_bytes()))
        };
        drive(exchange, connection).await
    }

    fn failed(&self, source: impl Into<BoxError>) -> ClientError {
        let source = source.into();
        let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
        // It still has its lock, and its requests get to finish.
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return ClientError::NotListening;
        }
        ClientError::Failed {
            pid: self.daemon.pid,
            source,
        }
    }
}

/// Runs an exchange and the connection under it, until the exchange is done.
async fn drive<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}
