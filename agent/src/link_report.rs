//! What people and programs are told about the link, as it happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ginnel_link::driver::WallClock;
use ginnel_link::error::LinkError;
use ginnel_link::link::Link;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Address, Welcome};
use ginnel_proto::id::ServiceName;
use ginnel_proto::link::heartbeat::HeartbeatStats;
use tracing::{debug, info, warn};

use crate::link::is_refusal;
use crate::status::{LinkState, LinkStatus};

/// The link's state, written by its keeper and read by the local API. Clones
/// are the same report.
#[derive(Clone)]
pub struct Report {
    inner: Arc<Mutex<Inner>>,
    wall_clock: WallClock,
}

#[derive(Default)]
struct Inner {
    status: LinkStatus,
    heartbeat: HeartbeatStats,
    /// The relay's wall clock minus ours, milliseconds, by its Welcome: later by
    /// as long as that was on its way.
    welcome_offset_ms: Option<i64>,
    link: Option<Link>,
    urls: BTreeMap<ServiceName, String>,
}

impl Report {
    /// Nothing to report yet.
    #[must_use]
    pub fn new(wall_clock: WallClock) -> Self {
        Self {
            inner: Arc::default(),
            wall_clock,
        }
    }

    /// The link at this moment.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let inner = self.lock();
        let mut status = inner.status.clone();
        if let Some(link) = &inner.link {
            let stats = link.stats();
            status.rtt_ms = Some(millis(stats.rtt));
            status.queue = stats.streams_in;
            status.bytes_sent = stats.bytes_sent;
            status.bytes_received = stats.bytes_received;
        }
        let heartbeat = inner.heartbeat;
        status.heartbeat_rtt_ms = heartbeat.rtt.map(millis);
        if heartbeat.sent > 0 {
            let loss = f64::from(heartbeat.recent_loss_permille) / 10.0;
            status.heartbeat_loss_percent = Some(loss);
        }
        status.heartbeat_age_s = heartbeat.answered_at.map(|at| {
            let now = tokio::time::Instant::now().into_std();
            now.saturating_duration_since(at).as_secs()
        });
        status
    }

    /// Where callers reach a service, once the relay has told.
    #[must_use]
    pub fn url(&self, service: &ServiceName) -> Option<String> {
        self.lock().urls.get(service).cloned()
    }

    /// The relay's wall clock minus ours, milliseconds, by the newest
    /// heartbeat, or by its greeting before the first.
    #[must_use]
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let inner = self.lock();
        let measured = inner.heartbeat.clock_offset_ms;
        measured.or(inner.welcome_offset_ms)
    }

    /// An attempt begins.
    pub(crate) fn connecting(&self, failures: u32) {
        let mut inner = self.lock();
        // A live link that is being replaced is still connected.
        if inner
            .link
            .as_ref()
            .is_none_or(|link| link.close_reason().is_some())
        {
            self.enter(&mut inner, LinkState::Connecting);
        }
        inner.status.failures = failures;
    }

    /// Welcome has arrived.
    pub(crate) fn connected(&self, welcome: &Welcome, link: &Link, took: Duration) {
        let mut inner = self.lock();
        self.enter(&mut inner, LinkState::Connected);
        inner.link = Some(link.clone());
        inner.heartbeat = HeartbeatStats::default();
        let now = (self.wall_clock)();
        let offset = i128::from(welcome.unix_ms) - i128::from(now);
        inner.welcome_offset_ms = i64::try_from(offset).ok();
        inner.status.problem = None;
        inner.status.failures = 0;
        inner.status.connects += 1;
        inner.status.link_id = Some(welcome.link);
        inner.status.connect_ms = Some(millis(took));
        info!(
            device = %welcome.device,
            link = welcome.link,
            relay = welcome.relay,
            took_ms = millis(took),
            "connected over QUIC"
        );
    }

    /// The link or an attempt failed, and the next attempt is some time off.
    pub(crate) fn waiting(&self, failure: &LinkError, failures: u32, wait: Duration) {
        let refused = is_refusal(failure);
        let problem = explain(failure);
        if refused {
            warn!(problem, ?wait, "the relay refuses this device");
        } else {
            // An outage may be long: a line for the first, then ever fewer.
            match failures {
                0..=3 => info!(problem, failures, ?wait, "no link to the relay"),
                _ if failures.is_power_of_two() => {
                    info!(problem, failures, ?wait, "still no link to the relay");
                }
                _ => debug!(problem, failures, ?wait, "still no link to the relay"),
            }
        }
        let mut inner = self.lock();
        let state = if refused {
            LinkState::Refused
        } else {
            LinkState::Waiting
        };
        self.enter(&mut inner, state);
        inner.link = None;
        inner.status.link_id = None;
        inner.status.problem = Some(problem);
        inner.status.failures = failures;
    }

    /// The relay routes to our services.
    pub(crate) fn registered(&self, addresses: Vec<Address>) {
        self.lock().urls = addresses
            .into_iter()
            .map(|address| (address.service, address.url))
            .collect();
    }

    /// A heartbeat was answered or lost.
    pub(crate) fn heartbeat(&self, heartbeat: HeartbeatStats) {
        self.lock().heartbeat = heartbeat;
    }

    fn enter(&self, inner: &mut Inner, state: LinkState) {
        if inner.status.state != state {
            inner.status.state = state;
            inner.status.since_unix_ms = (self.wall_clock)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

/// What went wrong, and what to do.
fn explain(failure: &LinkError) -> String {
    const HINTS: [(Code, &str); 5] = [
        (
            Code::Revoked,
            "this device was revoked at the relay; ask for a new invitation under another name",
        ),
        (
            Code::UnknownDevice,
            "the relay does not know this device; join again: ginnel join CODE",
        ),
        (
            Code::WrongIdentity,
            "this device's certificate is for another relay or environment; join again: ginnel join CODE",
        ),
        (
            Code::StaleCertificate,
            "this device has joined again elsewhere or its certificate has expired; join again: ginnel join CODE",
        ),
        (
            Code::Superseded,
            "another agent runs with this device's identity; stop one of them",
        ),
    ];
    let hint = failure
        .code()
        .and_then(|code| HINTS.iter().find(|(known, _)| *known == code));
    match (hint, failure) {
        (Some((_, hint)), _) => (*hint).to_owned(),
        (None, LinkError::TimedOut) => {
            "no answer from the relay; is it running, and does the network let UDP through?".into()
        }
        (None, _) => failure.to_string(),
    }
}

/// Milliseconds, to the microsecond: more digits would say nothing.
fn millis(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let revoked = LinkError::Closed {
            code: Code::Revoked,
            reason: "device is revoked".into(),
        };
        let report = Report::new(Arc::new(|| 5));
        report.waiting(&revoked, 1, Duration::ZERO);
        let status = report.status();
        assert_eq!(status.state, LinkState::Refused);
        assert_eq!(status.since_unix_ms, 5);
        assert!(status.problem.expect("told").contains("new invitation"));
    }

    #[test]
    fn an_outage_is_not_a_refusal() {
        let report = Report::new(Arc::new(|| 0));
        report.waiting(&LinkError::TimedOut, 3, Duration::ZERO);
        let status = report.status();
        assert_eq!((status.state, status.failures), (LinkState::Waiting, 3));
        report.connecting(3);
        assert_eq!(report.status().state, LinkState::Connecting);
    }
}
