//! Runs the control stream and the heartbeat of a link.
//!
//! [`DeviceDriver`] and [`RelayDriver`] are the two ends. Each is owned by one
//! task, which calls `next` in a loop: `next` waits for something to happen
//! (`select`), hands it to the state machines (`apply`), and returns what they
//! report. It is cancel-safe, so it fits into a `select!` with commands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Address, Control, Drain, Hello, News, Service, Welcome};
use ginnel_proto::datagram::Datagram;
use ginnel_proto::frame::{self, FrameType, Piece};
use ginnel_proto::limits::DATAGRAM_MAX;
use ginnel_proto::link::heartbeat::{Heartbeat, HeartbeatStats, Pulse};
use ginnel_proto::link::session::{DeviceEvent, DeviceSession, RelayEvent, RelaySession};

use crate::error::{LinkError, StreamError};
use crate::link::{Link, Priority};
use crate::stream::Stream;

/// Reads the wall clock: milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The device's end of a link.
#[derive(Debug)]
pub struct DeviceDriver {
    link: Link,
    control: ControlStream,
    session: DeviceSession,
    /// Runs from Welcome on.
    heartbeat: Option<Heartbeat>,
    wall_clock: Wall,
}

impl DeviceDriver {
    /// Opens the control stream and says Hello.
    ///
    /// # Errors
    /// The link is down.
    pub async fn start(link: Link, hello: Hello, wall_clock: WallClock) -> Result<Self, LinkError> {
        let stream = link.open(Priority::Control).await?;
        Ok(Self {
            control: ControlStream::new(stream),
            session: DeviceSession::new(now(), hello),
            heartbeat: None,
            wall_clock: Wall(wall_clock),
            link,
        })
    }

    /// The link.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Makes exactly these services known to the relay.
    pub fn register(&mut self, services: Vec<Service>) {
        self.session.register(services);
    }

    /// Says goodbye; `next` then reports [`DeviceEvent::Close`].
    pub fn goodbye(&mut self, reason: &str) {
        self.session.goodbye(reason);
    }

    /// Sends a heartbeat now.
    pub fn probe(&mut self) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.probe(now());
        }
    }

    /// What the heartbeat knows.
    #[must_use]
    pub fn heartbeat(&self) -> HeartbeatStats {
        self.heartbeat
            .as_ref()
            .map(Heartbeat::stats)
            .unwrap_or_default()
    }

    /// The next thing that happens; `None` after a heartbeat was answered or
    /// lost, so that the caller can look at [`DeviceDriver::heartbeat`].
    /// Cancel-safe.
    ///
    /// # Errors
    /// The link is down, or the relay broke the protocol (and the link is
    /// closed).
    pub async fn next(&mut self) -> Result<Option<DeviceEvent>, LinkError> {
        loop {
            while let Some(message) = self.session.poll_transmit() {
                self.control.queue(&message);
            }
            if let Some(event) = self.session.poll_event() {
                if let DeviceEvent::Connected(welcome) = &event {
                    self.heartbeat = Some(Heartbeat::new(now(), welcome.heartbeat));
                }
                return Ok(Some(event));
            }
            let heartbeat = self.heartbeat.as_ref().map(Heartbeat::poll_timeout);
            let deadline = earliest(self.session.poll_timeout(), heartbeat);
            let input = select(&self.link, &mut self.control, deadline).await;
            if self.apply(input)? == Applied::Heartbeat {
                return Ok(None);
            }
        }
    }

    fn apply(&mut self, input: Input) -> Result<Applied, LinkError> {
        match input {
            Input::Nothing => {}
            Input::Message(message) => {
                let handled = self.session.handle_message(message);
                handled.map_err(|violation| violate(&self.link, violation.into()))?;
            }
            Input::Datagram(bytes) => {
                if let (Some(Datagram::Pong(pong)), Some(heartbeat)) =
                    (Datagram::decode(&bytes), &mut self.heartbeat)
                {
                    heartbeat.handle_pong(now(), (self.wall_clock.0)(), pong);
                    return Ok(Applied::Heartbeat);
                }
            }
            Input::Timeout => {
                self.session.handle_timeout(now());
                let queue = self.link.stats().streams_in;
                if let Some(heartbeat) = &mut self.heartbeat
                    && let Some(ping) = heartbeat.handle_timeout(now(), queue)
                {
                    self.link.send_datagram(&Datagram::Ping(ping));
                }
                return Ok(Applied::Heartbeat);
            }
            Input::Failed(error) => return Err(violate(&self.link, error)),
        }
        Ok(Applied::Quietly)
    }
}

/// The relay's end of a link.
#[derive(Debug)]
pub struct RelayDriver {
    link: Link,
    control: ControlStream,
    session: RelaySession,
    pulse: Pulse,
    wall_clock: Wall,
}

impl RelayDriver {
    /// Waits for the control stream, which the device opens first.
    ///
    /// # Errors
    /// The link went down before.
    pub async fn start(link: Link, wall_clock: WallClock) -> Result<Self, LinkError> {
        let began = now();
        let stream = link.accept().await?;
        Ok(Self {
            control: ControlStream::new(stream),
            session: RelaySession::new(began),
            pulse: Pulse::default(),
            wall_clock: Wall(wall_clock),
            link,
        })
    }

    /// The link.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Takes the device in: it may open streams from here on.
    pub fn welcome(&mut self, welcome: Welcome) {
        self.session.welcome(welcome);
        self.link.grant_streams();
    }

    /// Callers reach the services of that registration at `addresses`.
    pub fn registered(&mut self, generation: u64, addresses: Vec<Address>) {
        self.session.registered(generation, addresses);
    }

    /// Tells the device that this relay is about to stop.
    pub fn drain(&mut self, drain: Drain) {
        self.session.drain(drain);
    }

    /// Tells the device that another one of its user wrote to its log.
    pub fn news(&mut self, news: News) {
        self.session.news(news);
    }

    /// What the device's heartbeats tell.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse
    }

    /// The next thing that happens; `None` after a heartbeat, so that the
    /// caller can look at [`RelayDriver::pulse`]. Cancel-safe.
    ///
    /// # Errors
    /// The link is down, or the device broke the protocol (and the link is
    /// closed).
    pub async fn next(&mut self) -> Result<Option<RelayEvent>, LinkError> {
        loop {
            while let Some(message) = self.session.poll_transmit() {
                self.control.queue(&message);
            }
            if let Some(event) = self.session.poll_event() {
                return Ok(Some(event));
            }
            let deadline = self.session.poll_timeout();
            let input = select(&self.link, &mut self.control, deadline).await;
            if self.apply(input)? == Applied::Heartbeat {
                return Ok(None);
            }
        }
    }

    fn apply(&mut self, input: Input) -> Result<Applied, LinkError> {
        match input {
            Input::Nothing => {}
            Input::Message(message) => {
                let handled = self.session.handle_message(message);
                handled.map_err(|violation| violate(&self.link, violation.into()))?;
            }
            Input::Datagram(bytes) => {
                if let Some(Datagram::Ping(ping)) = Datagram::decode(&bytes) {
                    let queue = self.link.stats().streams_out;
                    let unix_ms = (self.wall_clock.0)();
                    let pong = self.pulse.handle_ping(now(), unix_ms, queue, ping);
                    self.link.send_datagram(&Datagram::Pong(pong));
                    return Ok(Applied::Heartbeat);
                }
            }
            Input::Timeout => self.session.handle_timeout(now()),
            Input::Failed(error) => return Err(violate(&self.link, error)),
        }
        Ok(Applied::Quietly)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Applied {
    Quietly,
    Heartbeat,
}

/// What happened.
#[derive(Debug)]
enum Input {
    /// Something was sent, or a message of a later version skipped.
    Nothing,
    Message(Control),
    Datagram(Bytes),
    Timeout,
    Failed(LinkError),
}

/// Waits for whatever comes first. Loses nothing if dropped: each branch
/// either has happened or has not.
async fn select(link: &Link, control: &mut ControlStream, deadline: Option<Instant>) -> Input {
    let ControlStream { stream, queue } = control;
    tokio::select! {
        biased;
        error = link.closed() => Input::Failed(error),
        sent = flush(&mut stream.send, queue), if !queue.is_empty() => match sent {
            Ok(()) => Input::Nothing,
            Err(error) => Input::Failed(into_link_error(error)),
        },
        piece = stream.recv.next() => match piece.map(read_message) {
            Ok(Ok(Some(message))) => Input::Message(message),
            Ok(Ok(None)) => Input::Nothing,
            Ok(Err(error)) => Input::Failed(error),
            Err(error) => Input::Failed(into_link_error(error)),
        },
        datagram = link.read_datagram() => match datagram {
            Ok(bytes) if bytes.len() <= DATAGRAM_MAX => Input::Datagram(bytes),
            Ok(_) => Input::Nothing,
            Err(error) => Input::Failed(error),
        },
        () = sleep_until(deadline) => Input::Timeout,
    }
}

/// The stream that the device opens first, and what waits to be sent on it.
#[derive(Debug)]
struct ControlStream {
    stream: Stream,
    queue: VecDeque<Bytes>,
}

impl ControlStream {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            queue: VecDeque::new(),
        }
    }

    /// The state machines send a handful of messages in a link's life, so the
    /// queue needs no limit of its own.
    fn queue(&mut self, message: &Control) {
        let frame = frame::whole(FrameType::Message, &message.encode());
        self.queue.push_back(frame);
    }
}

/// Sends what waits, oldest first. Cancel-safe: what was sent of a message is
/// gone from its front.
async fn flush(
    send: &mut crate::stream::SendHalf,
    queue: &mut VecDeque<Bytes>,
) -> Result<(), StreamError> {
    while let Some(front) = queue.front_mut() {
        send.send(std::slice::from_mut(front)).await?;
        queue.pop_front();
    }
    Ok(())
}

/// A message; `None` for one of a later version.
fn read_message(piece: Option<Piece>) -> Result<Option<Control>, LinkError> {
    match piece {
        Some(Piece::Whole(FrameType::Message, payload)) => Ok(Control::decode(payload)?),
        Some(_) => Err(LinkError::Violation(
            "control stream carries messages only".into(),
        )),
        None => Err(LinkError::Violation("control stream ended".into())),
    }
}

fn into_link_error(error: StreamError) -> LinkError {
    let broke = format!("control stream broke, {error}");
    let StreamError::LinkLost(error) = error else {
        return LinkError::Violation(broke);
    };
    error
}

/// Closes the link if the other side broke the protocol.
fn violate(link: &Link, error: LinkError) -> LinkError {
    if let LinkError::Violation(reason) = &error {
        link.close(Code::Violation, reason);
    }
    error
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The monotonic clock, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A [`WallClock`] that can be printed.
struct Wall(WallClock);

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallClock")
    }
}
