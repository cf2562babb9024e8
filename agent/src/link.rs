//! Keeps one live link to the relay, for ever.
//!
//! ```text
//! waiting ──▶ connecting ──Welcome──▶ connected ──lost──▶ waiting
//!                  ▲                      │ Drain, wake, new address
//!                  └── beside the old ────┘
//! ```
//!
//! A link that is being replaced goes on serving its streams until they end:
//! the next one is made before it is let go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ginnel_link::driver::{DeviceDriver, WallClock};
use ginnel_link::endpoint::Dialer;
use ginnel_link::error::LinkError;
use ginnel_link::link::Link;
use ginnel_link::network::Network;
use ginnel_link::stream::Stream;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Drain, Hello, Welcome};
use ginnel_proto::id::Domain;
use ginnel_proto::link::backoff::{BASE, Backoff, CAP};
use ginnel_proto::link::session::DeviceEvent;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::clock::{Change, Changes};
use crate::heard::Heard;
use crate::link_report::Report;
use crate::serve::Server;
use crate::services::Services;

/// An attempt must have led to Welcome by then: two round trips and the
/// relay's judgement, on a slow path.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The least of the same while a relay restarts: it is there at once or not
/// yet, and a packet sent while it was not is only repeated after a while.
const HURRIED_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The least of it in round trips: the handshake and the greeting are two,
/// the relay may ask for one more, and packets may be late.
const HURRIED_ROUND_TRIPS: u32 = 4;

/// How long attempts stay hurried once the relay should be there again, and
/// how long before that at most.
const HURRY: Duration = Duration::from_secs(20);
const HURRY_MAX: Duration = Duration::from_secs(300);

/// How long the relay may take to answer when the path has changed before
/// the link is given up.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long streams in flight may take when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Makes sockets, one for each time the machine's address changes.
pub type Networks = Arc<dyn Fn() -> io::Result<Network> + Send + Sync>;

/// Finds the relay's addresses, anew for each attempt; at least one.
pub type Resolve = Arc<
    dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>
        + Send
        + Sync,
>;

/// What keeping a link takes.
pub struct Keeper {
    /// Where sockets come from.
    pub networks: Networks,
    /// Where the relay is.
    pub resolve: Resolve,
    /// The name in the relay's certificate.
    pub domain: Domain,
    /// Who we are, and whom we trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// What may be chosen about the transport.
    pub settings: TransportSettings,
    /// What this device shares.
    pub services: Services,
    /// Serves what the relay asks for.
    pub server: Arc<Server>,
    /// Tells when the machine woke or moved.
    pub changes: Changes,
    /// Milliseconds since 1970.
    pub wall_clock: WallClock,
    /// Where to say how it goes.
    pub report: Report,
    /// Where to say what the relay says.
    pub heard: Heard,
    /// For jitter.
    pub random: fastrand::Rng,
    /// Streams under way.
    pub tasks: TaskTracker,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// Serves a stream in a task of its own. Boxed, because spawning copies a
/// future several times and this one is large.
fn serve(server: &Arc<Server>, tasks: &TaskTracker, stream: Stream) {
    let server = Arc::clone(server);
    tasks.spawn(Box::pin(async move { server.serve(stream).await }));
}

/// Lends out the live link.
pub type CurrentLink = watch::Sender<Option<Link>>;

impl Keeper {
    /// Keeps a link until `stop`, lending it out through `current`.
    ///
    /// # Errors
    /// No socket can be had at all.
    pub async fn run(mut self, current: CurrentLink, stop: CancellationToken) -> io::Result<()> {
        let mut dialer = Dialer::new((self.networks)()?, self.settings)?;
        let mut backoff = Backoff::new();
        let mut hurry = Hurry::default();
        // Which of the relay's addresses. The one that worked is kept while the
        // relay restarts; one that is silent otherwise gives way to the next.
        let mut turn = 0;
        loop {
            self.report.connecting(backoff.failures());
            let mut changes = std::mem::replace(&mut self.changes, Changes::none());
            let attempt = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                // What it has sent so far may be lost: a new attempt tells sooner.
                _ = changes.next() => None,
                attempt = self.connect(&dialer, hurry.connect_timeout(), turn) => Some(attempt),
            };
            self.changes = changes;
            let Some(attempt) = attempt else {
                backoff.reset();
                continue;
            };
            let failure = match attempt {
                Ok(session) => {
                    backoff.handle_connected(now());
                    let link = session.link.clone();
                    current.send_replace(Some(link.clone()));
                    let end = self.hold(session, &mut dialer, &stop).await;
                    let rtt = link.stats().rtt;
                    match end {
                        End::Stopped => return Ok(()),
                        // The old link lives on while the next one is made.
                        End::Replace { wait, within } => {
                            hurry.begin(within, rtt);
                            backoff.reset();
                            if !self.pause(wait, &stop).await {
                                return Ok(());
                            }
                            continue;
                        }
                        End::Lost(error) => {
                            current.send_replace(None);
                            if restarted(&error) {
                                hurry.begin(Duration::ZERO, rtt);
                            }
                            error
                        }
                    }
                }
                Err(error) => {
                    if is_silence(&error) && !hurry.is_on() {
                        turn += 1;
                    }
                    hurry.handle_failure(&error);
                    error
                }
            };
            let random = self.random.u64(..);
            let wait = self.wait(&failure, &mut backoff, &hurry, random);
            self.report.waiting(&failure, backoff.failures(), wait);
            if !self.pause(wait, &stop).await {
                return Ok(());
            }
        }
    }

    /// Dials and waits for Welcome.
    async fn connect(
        &self,
        dialer: &Dialer,
        limit: Duration,
        turn: usize,
    ) -> Result<Session, LinkError> {
        let began = Instant::now();
        match timeout(limit, self.greet(dialer, turn)).await {
            Ok(Ok((driver, welcome))) => {
                let link = driver.link().clone();
                self.report.connected(&welcome, &link, began.elapsed());
                self.heard.connected(&welcome);
                Ok(Session { driver, link })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LinkError::TimedOut),
        }
    }

    async fn greet(
        &self,
        dialer: &Dialer,
        turn: usize,
    ) -> Result<(DeviceDriver, Welcome), LinkError> {
        let unresolved = |error| LinkError::Transport(format!("cannot resolve the relay: {error}"));
        let addresses = (self.resolve)().await.map_err(unresolved)?;
        let Some(address) = addresses.iter().cycle().nth(turn % addresses.len().max(1)) else {
            return Err(unresolved(io::ErrorKind::NotFound.into()));
        };
        let address = *address;
        let tls = Arc::clone(&self.tls);
        let link = dialer.connect(address, self.domain.as_str(), tls).await?;
        let hello = Hello {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Vec::new(),
        };
        let mut driver = DeviceDriver::start(link, hello, Arc::clone(&self.wall_clock)).await?;
        loop {
            match driver.next().await? {
                Some(DeviceEvent::Connected(welcome)) => return Ok((driver, welcome)),
                Some(DeviceEvent::Close(code)) => {
                    driver.link().close(code, "");
                    return Err(LinkError::TimedOut);
                }
                Some(_) | None => {}
            }
        }
    }

    /// Serves a live link until it is lost, to be replaced, or the daemon
    /// stops.
    async fn hold(
        &mut self,
        mut session: Session,
        dialer: &mut Dialer,
        stop: &CancellationToken,
    ) -> End {
        session.link.grant_streams();
        let mut generations = self.services.subscribe();
        generations.borrow_and_update();
        session.driver.register(self.services.to_register());
        let mut probe: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.stop(session).await;
                    return End::Stopped;
                }
                event = session.driver.next() => match event {
                    Ok(None) => {
                        let heartbeat = session.driver.heartbeat();
                        if probe.is_some_and(|since| heartbeat.answered_at >= Some(since.into_std())) {
                            probe = None;
                        }
                        self.report.heartbeat(heartbeat);
                    }
                    Ok(Some(DeviceEvent::Registered(addresses))) => {
                        self.report.registered(addresses);
                    }
                    Ok(Some(DeviceEvent::Draining(Drain { reconnect_in, try_for }))) => {
                        info!(?reconnect_in, ?try_for, "the relay is about to stop");
                        self.finish(session);
                        return End::Replace {
                            wait: reconnect_in,
                            within: try_for,
                        };
                    }
                    Ok(Some(DeviceEvent::News(news))) => self.heard.news(news),
                    Ok(Some(DeviceEvent::Goodbye(goodbye))) => {
                        debug!(reason = goodbye.reason, "the relay says goodbye");
                    }
                    Ok(Some(DeviceEvent::Close(code))) => session.link.close(code, ""),
                    Ok(Some(other)) => warn!(?other, "event out of place"),
                    Err(error) => return End::Lost(error),
                },
                Ok(()) = generations.changed() => {
                    session.driver.register(self.services.to_register());
                }
                change = self.changes.next() => match change {
                    // The relay may have given us up while we slept: it is
                    // cheaper to begin anew than to find out.
                    Change::Woke { slept } => {
                        info!(?slept, "the machine woke");
                        self.finish(session);
                        return End::NOW;
                    }
                    Change::AddressChanged => {
                        info!("the machine's address changed");
                        if let Err(error) = self.rebind(dialer) {
                            warn!(%error, "cannot move to the new address");
                        }
                        session.driver.probe();
                        probe = Some(Instant::now());
                    }
                    Change::ClockJumped => {
                        session.driver.probe();
                    }
                },
                () = probe_fails(probe) => {
                    info!("the relay does not answer at the new address");
                    self.finish(session);
                    return End::NOW;
                }
                stream = session.link.accept() => match stream {
                    Ok(stream) => {
                        serve(&self.server, &self.tasks, stream);
                    }
                    Err(error) => return End::Lost(error),
                },
            }
        }
    }

    /// Serves an old link beside the new one until the relay closes it.
    fn finish(&self, mut session: Session) {
        let server = Arc::clone(&self.server);
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    event = session.driver.next() => if let Err(error) = event {
                        debug!(%error, "the old link ended");
                        return;
                    },
                    stream = session.link.accept() => if let Ok(stream) = stream {
                        serve(&server, &tasks, stream);
                    },
                }
            }
        });
    }

    /// Lets streams finish, says goodbye and closes.
    async fn stop(&self, mut session: Session) {
        // From here on the relay sends nobody here.
        session.driver.goodbye("the daemon stops");
        let link = session.link.clone();
        let said = async { while session.driver.next().await.is_ok() {} };
        // What was on its way when the relay heard it.
        let late = async {
            while let Ok(stream) = link.accept().await {
                serve(&self.server, &self.tasks, stream);
            }
        };
        let idle = async {
            sleep(Duration::from_millis(20)).await;
            while link.streams() > 1 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = said => {}
            () = late => {}
            _ = timeout(STOP_GRACE, idle) => {}
        }
        session.link.close(Code::Goodbye, "the daemon stops");
    }

    fn rebind(&self, dialer: &Dialer) -> io::Result<()> {
        dialer.rebind((self.networks)()?)
    }

    /// How long to wait after a failure.
    fn wait(
        &self,
        failure: &LinkError,
        backoff: &mut Backoff,
        hurry: &Hurry,
        random: u64,
    ) -> Duration {
        let wait = backoff.handle_failure(now(), random);
        if is_refusal(failure) {
            // Nothing will change soon by itself, and a second agent with
            // this identity must not fight over the link.
            return wait.max(CAP / 2);
        }
        if hurry.is_on() {
            let span = u64::try_from(BASE.as_micros()).unwrap_or(u64::MAX);
            return Duration::from_micros(random % (span + 1));
        }
        wait
    }

    /// Waits, unless something makes an attempt worth making at once. False
    /// when the daemon stops.
    async fn pause(&mut self, wait: Duration, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            _ = self.changes.next() => true,
            () = sleep(wait) => true,
        }
    }
}

/// A live link.
struct Session {
    driver: DeviceDriver,
    link: Link,
}

/// Why a live link is no longer held.
enum End {
    Stopped,
    /// It still works; make the next one after `wait`. The relay may only be
    /// there again `within` some time.
    Replace {
        wait: Duration,
        within: Duration,
    },
    Lost(LinkError),
}

impl End {
    const NOW: Self = Self::Replace {
        wait: Duration::ZERO,
        within: Duration::ZERO,
    };
}

/// Attempts follow each other quickly while a relay restarts.
#[derive(Debug, Default)]
struct Hurry {
    until: Option<Instant>,
    /// Round trip of the link that was lost.
    rtt: Duration,
    /// Attempts since that were cut.
    cut: u32,
}

impl Hurry {
    fn begin(&mut self, within: Duration, rtt: Duration) {
        *self = Self {
            until: Some(Instant::now() + within.min(HURRY_MAX) + HURRY),
            rtt,
            cut: 0,
        };
    }

    /// Only an attempt that was cut says that it may have been too short.
    fn handle_failure(&mut self, failure: &LinkError) {
        if matches!(failure, LinkError::TimedOut) {
            self.cut = self.cut.saturating_add(1);
        }
    }

    fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn connect_timeout(&self) -> Duration {
        if self.is_on() {
            hurried_timeout(self.rtt, self.cut)
        } else {
            CONNECT_TIMEOUT
        }
    }
}

/// As short as the path allows. The next path may be a longer one, so each
/// attempt that was `cut` doubles it.
fn hurried_timeout(rtt: Duration, cut: u32) -> Duration {
    let first = HURRIED_CONNECT_TIMEOUT.max(rtt.saturating_mul(HURRIED_ROUND_TRIPS));
    let doubled = first.saturating_mul(2_u32.saturating_pow(cut));
    doubled.min(CONNECT_TIMEOUT)
}

/// Whether nobody answered, or the address cannot be reached from here.
fn is_silence(error: &LinkError) -> bool {
    matches!(error, LinkError::TimedOut | LinkError::Transport(_))
}

/// Whether the relay went away on purpose or has just come back.
fn restarted(error: &LinkError) -> bool {
    matches!(error, LinkError::Reset) || error.code() == Some(Code::Draining)
}

/// Whether the relay said no to this device, for reasons that stay.
#[must_use]
pub fn is_refusal(error: &LinkError) -> bool {
    const FINAL: [Code; 7] = [
        Code::Revoked,
        Code::UnknownDevice,
        Code::CertificateRequired,
        Code::WrongIdentity,
        Code::StaleCertificate,
        Code::Superseded,
        Code::Violation,
    ];
    matches!(error, LinkError::Refused { .. })
        || error.code().is_some_and(|code| FINAL.contains(&code))
}

async fn probe_fails(since: Option<Instant>) {
    match since {
        Some(since) => tokio::time::sleep_until(since + PROBE_TIMEOUT).await,
        None => std::future::pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: Code) -> LinkError {
        LinkError::Closed {
            code,
            reason: String::new(),
        }
    }

    #[test]
    fn refusals_are_told_from_accidents() {
        for code in [Code::Revoked, Code::UnknownDevice, Code::Superseded] {
            assert!(is_refusal(&closed(code)), "{code}");
        }
        for code in [Code::Draining, Code::HelloTimeout, Code::Goodbye] {
            assert!(!is_refusal(&closed(code)), "{code}");
        }
        assert!(!is_refusal(&LinkError::TimedOut));
    }

    #[test]
    fn a_hurried_attempt_has_time_for_its_path() {
        for (rtt_ms, cut, expected_ms) in [
            (0, 0, 1_000),
            (50, 0, 1_000),
            (250, 0, 1_000),
            (600, 0, 2_400),
            (5_000, 0, 10_000),
            (50, 1, 2_000),
            (50, 3, 8_000),
            (50, 4, 10_000),
            (600, 2, 9_600),
            (0, u32::MAX, 10_000),
        ] {
            let timeout = hurried_timeout(Duration::from_millis(rtt_ms), cut);
            assert_eq!(timeout.as_millis(), expected_ms, "{rtt_ms} ms, {cut} cut");
        }
        let longest = hurried_timeout(Duration::MAX, u32::MAX);
        assert_eq!(longest, CONNECT_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn only_attempts_that_were_cut_make_the_next_longer() {
        let mut hurry = Hurry::default();
        assert_eq!(hurry.connect_timeout(), CONNECT_TIMEOUT);
        hurry.begin(Duration::ZERO, Duration::from_millis(600));
        assert_eq!(hurry.connect_timeout(), Duration::from_millis(2_400));
        hurry.handle_failure(&LinkError::Reset);
        assert_eq!(hurry.connect_timeout(), Duration::from_millis(2_400));
        hurry.handle_failure(&LinkError::TimedOut);
        assert_eq!(hurry.connect_timeout(), Duration::from_millis(4_800));
        // The next restart is another one.
        hurry.begin(Duration::ZERO, Duration::ZERO);
        assert_eq!(hurry.connect_timeout(), HURRIED_CONNECT_TIMEOUT);
        tokio::time::advance(HURRY).await;
        assert_eq!(hurry.connect_timeout(), CONNECT_TIMEOUT);
    }

    #[test]
    fn a_restart_is_told_from_an_outage() {
        assert!(restarted(&LinkError::Reset));
        assert!(restarted(&closed(Code::Draining)));
        assert!(!restarted(&LinkError::TimedOut));
    }
}
