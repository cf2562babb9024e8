//! A tunnel in three calls: `new`, `connect`, `send`.

#![allow(unreachable_pub, reason = "reads like the library it would be")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ginnel_agent::clock;
use ginnel_agent::join::{RelayPlace, any_network, dial, resolve};
use ginnel_certs::device::Credentials;
use ginnel_link::body::send_body;
use ginnel_link::driver::{DeviceDriver, WallClock};
use ginnel_link::endpoint::Dialer;
use ginnel_link::error::{LinkError, StreamError};
use ginnel_link::link::{Link, Priority};
use ginnel_link::transport::TransportSettings;
use ginnel_proto::control::Hello;
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::UpstreamName;
use ginnel_proto::link::session::DeviceEvent;
use ginnel_proto::open::Open;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// What a tunnel needs to know.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// Where `ginnel join` stored the identity. Not that of a running
    /// `ginnel up`: a relay keeps one link for each device.
    pub state: PathBuf,
    /// Who answers, by its name in the relay's configuration.
    pub upstream: UpstreamName,
    /// Longest answer, in bytes. It is held in memory whole.
    pub answer_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl TunnelConfig {
    /// Answers of up to 1 MiB.
    #[must_use]
    pub fn new(state: PathBuf, upstream: UpstreamName) -> Self {
        Self {
            state,
            upstream,
            answer_max: 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a message got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// [`CloudTunnel::connect`] was not called, or the link is down.
    #[error("not connected")]
    NotConnected,
    /// The relay did not take us in in time.
    #[error("the relay does not answer")]
    TimedOut,
    /// The link could not be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The message or its answer broke off.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The upstream answered with an error.
    #[error("the upstream answers with an error, status={0}")]
    Status(StatusCode),
    /// The answer is over the limit.
    #[error("answer is longer than the limit, limit={0}")]
    TooLong(usize),
    /// The answer broke off.
    #[error("answer broke off, {0}")]
    BrokenOff(String),
    /// The identity is missing or damaged.
    #[error("cannot use the identity")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The socket failed.
    #[error("no socket")]
    Socket(#[from] std::io::Error),
}

/// A link of its own to the relay, for messages that have one answer each.
#[derive(Debug)]
pub struct CloudTunnel {
    config: TunnelConfig,
    credentials: Credentials,
    place: RelayPlace,
    link: Option<Link>,
    /// Answers the control stream and sends heartbeats.
    driver: Option<AbortOnDropHandle<()>>,
}

impl CloudTunnel {
    /// Reads the identity. Connects to nothing yet.
    ///
    /// # Errors
    /// The device has not joined.
    pub fn new(config: TunnelConfig) -> Result<Self, TunnelError> {
        let identity =
            |error: Box<dyn std::error::Error + Send + Sync>| TunnelError::Identity(error);
        let credentials = Credentials::load(&config.state).map_err(|e| identity(e.into()))?;
        let place = RelayPlace::load(&config.state).map_err(|e| identity(e.into()))?;
        Ok(Self {
            config,
            credentials,
            place,
            link: None,
            driver: None,
        })
    }

    /// Connects, and returns once the relay has taken the device in. From
    /// then on heartbeats go out by themselves.
    ///
    /// # Errors
    /// The relay cannot be reached, or refuses the device and says why.
    pub async fn connect(&mut self) -> Result<(), TunnelError> {
        let connecting = timeout(self.config.connect_timeout, self.greet());
        let driver = connecting.await.map_err(|_| TunnelError::TimedOut)??;
        self.link = Some(driver.link().clone());
        let driving = TaskTracker::new().spawn(drive(driver));
        self.driver = Some(AbortOnDropHandle::new(driving));
        Ok(())
    }

    async fn greet(&self) -> Result<DeviceDriver, TunnelError> {
        let dialer = Dialer::new(any_network()?, TransportSettings::default())?;
        let tls = ginnel_certs::client::link_config(&self.credentials)
            .map_err(|error| TunnelError::Identity(error.into()))?;
        let name = self.credentials.domain().as_str();
        let addresses = resolve(&self.place.address).await?;
        let link = dial(&dialer, &addresses, name, &Arc::new(tls)).await?;
        let clock: WallClock = Arc::new(clock::unix_ms);
        let mut driver = DeviceDriver::start(link, Hello::default(), clock).await?;
        loop {
            match driver.next().await? {
                Some(DeviceEvent::Connected(_)) => return Ok(driver),
                Some(DeviceEvent::Close(_)) => return Err(TunnelError::TimedOut),
                Some(_) | None => {}
            }
        }
    }

    /// Sends a message and returns its answer.
    ///
    /// # Errors
    /// [`TunnelError`] says what happened to the message.
    pub async fn send(&self, message: &[u8]) -> Result<Vec<u8>, TunnelError> {
        let link = self.link.as_ref().ok_or(TunnelError::NotConnected)?;
        if link.close_reason().is_some() {
            return Err(TunnelError::NotConnected);
        }
        let mut stream = link.open(Priority::Interactive).await?;
        let open = Open::Upstream {
            upstream: self.config.upstream.clone(),
        };
        stream.send.send_request(&open, &head(message)).await?;
        let message = Bytes::copy_from_slice(message);
        send_body(&mut stream.send, Full::new(message)).await?;

        let head = stream.recv.response().await?;
        if !head.status.is_success() {
            return Err(TunnelError::Status(head.status));
        }
        let limit = self.config.answer_max;
        let body = Limited::new(stream.recv.into_body(), limit);
        match body.collect().await {
            Ok(answer) => Ok(answer.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Err(TunnelError::TooLong(limit)),
            Err(error) => Err(TunnelError::BrokenOff(error.to_string())),
        }
    }
}

fn head(message: &[u8]) -> RequestHead {
    RequestHead {
        method: Method::POST,
        scheme: Scheme::HTTP,
        authority: None,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        upgrade: None,
        end: message.is_empty(),
    }
}

/// Until the link is down.
async fn drive(mut driver: DeviceDriver) {
    while driver.next().await.is_ok() {}
}
