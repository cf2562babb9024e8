//! The application's heartbeat: whether the other side answers, how fast, and
//! how much goes missing.
//!
//! QUIC's keep-alive decides whether the link lives; the heartbeat measures.
//! The device sends a [`Ping`] every interval, the relay answers each at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::datagram::{Ping, Pong};

/// A ping without answer for this long counts as lost. Longer than any round
/// trip on which a link survives ([`IDLE_TIMEOUT`](crate::limits::IDLE_TIMEOUT)).
pub const LOST_AFTER: Duration = Duration::from_secs(15);

/// How many of the newest pings the loss is taken over.
const WINDOW: usize = 64;

/// The device's side: sends pings and takes pongs.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    interval: Duration,
    next_at: Instant,
    next_sequence: u32,
    /// Unanswered pings, oldest first. At most one an interval for
    /// [`LOST_AFTER`], and a probe now and then.
    outstanding: VecDeque<(u32, Instant)>,
    /// Whether each of the newest settled pings was answered.
    settled: VecDeque<bool>,
    stats: HeartbeatStats,
}

/// What the heartbeat knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeartbeatStats {
    /// Pings sent.
    pub sent: u64,
    /// Pings answered.
    pub answered: u64,
    /// Pings given up after [`LOST_AFTER`].
    pub lost: u64,
    /// Share lost among the newest 64 settled pings, in thousandths.
    pub recent_loss_permille: u16,
    /// The newest round trip.
    pub rtt: Option<Duration>,
    /// The shortest round trip.
    pub rtt_min: Option<Duration>,
    /// When the newest answer came.
    pub answered_at: Option<Instant>,
    /// The relay's wall clock minus ours, milliseconds, by the newest answer.
    pub clock_offset_ms: Option<i64>,
    /// Requests the relay has open to us, by the newest answer.
    pub relay_queue: u32,
}

impl Heartbeat {
    /// Sends the first ping at once, then one every `interval`.
    #[must_use]
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self {
            started: now,
            interval,
            next_at: now,
            next_sequence: 0,
            outstanding: VecDeque::new(),
            settled: VecDeque::with_capacity(WINDOW),
            stats: HeartbeatStats::default(),
        }
    }

    /// When [`Heartbeat::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        match self.outstanding.front() {
            Some((_, sent_at)) => self.next_at.min(*sent_at + LOST_AFTER),
            None => self.next_at,
        }
    }

    /// The clock moved. Returns a ping to send, if one is due; `queue` is the
    /// number of requests we are working on.
    pub fn handle_timeout(&mut self, now: Instant, queue: u32) -> Option<Ping> {
        while let Some((_, sent_at)) = self.outstanding.front()
            && now >= *sent_at + LOST_AFTER
        {
            self.outstanding.pop_front();
            self.stats.lost += 1;
            self.settle(false);
        }
        if now < self.next_at {
            return None;
        }
        // After a sleep, one ping is enough: the beats missed are not made up.
        self.next_at = now + self.interval;
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.outstanding.push_back((sequence, now));
        self.stats.sent += 1;
        Some(Ping {
            sequence,
            time_us: micros(now.saturating_duration_since(self.started)),
            rtt_us: self.stats.rtt.map_or(0, micros32),
            queue,
        })
    }

    /// An answer came. `unix_ms` is our own wall clock now. Answers to pings
    /// that were never sent, or twice, change nothing.
    pub fn handle_pong(&mut self, now: Instant, unix_ms: u64, pong: Pong) {
        let Some(at) = self
            .outstanding
            .iter()
            .position(|(sequence, _)| *sequence == pong.sequence)
        else {
            return;
        };
        let Some((_, sent_at)) = self.outstanding.remove(at) else {
            return;
        };
        let rtt = now.saturating_duration_since(sent_at);
        self.stats.answered += 1;
        self.stats.rtt = Some(rtt);
        self.stats.rtt_min = Some(self.stats.rtt_min.map_or(rtt, |min| min.min(rtt)));
        self.stats.answered_at = Some(now);
        self.stats.relay_queue = pong.queue;
        self.stats.clock_offset_ms = offset(pong.unix_ms, unix_ms, rtt);
        self.settle(true);
    }

    /// Ping at the next [`Heartbeat::handle_timeout`], whenever the last was.
    pub fn probe(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// What is known so far.
    #[must_use]
    pub fn stats(&self) -> HeartbeatStats {
        self.stats
    }

    fn settle(&mut self, answered: bool) {
        if self.settled.len() == WINDOW {
            self.settled.pop_front();
        }
        self.settled.push_back(answered);
        let lost = self.settled.iter().filter(|answered| !**answered).count();
        let permille = lost * 1000 / self.settled.len();
        self.stats.recent_loss_permille = u16::try_from(permille).unwrap_or(1000);
    }
}

/// The relay's side: what a device's pings tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Pings received.
    pub received: u64,
    /// Pings missing between those received.
    pub missed: u64,
    /// The newest sequence number.
    pub sequence: Option<u32>,
    /// When the newest ping came.
    pub received_at: Option<Instant>,
    /// The round trip as the device measured it.
    pub rtt: Option<Duration>,
    /// Requests the device is working on.
    pub queue: u32,
}

impl Pulse {
    /// A ping came. Returns the answer to send at once; `unix_ms` is our wall
    /// clock, `queue` the number of requests we have open to the device.
    pub fn handle_ping(&mut self, now: Instant, unix_ms: u64, queue: u32, ping: Ping) -> Pong {
        self.received += 1;
        let ahead = self
            .sequence
            .map_or(1, |last| ping.sequence.wrapping_sub(last));
        match ahead {
            // A repeated or reordered one; the gap it left is filled.
            0 => {}
            1..0x8000_0000 => {
                self.missed += u64::from(ahead - 1);
                self.sequence = Some(ping.sequence);
            }
            _ => self.missed = self.missed.saturating_sub(1),
        }
        self.received_at = Some(now);
        if ping.rtt_us > 0 {
            self.rtt = Some(Duration::from_micros(ping.rtt_us.into()));
        }
        self.queue = ping.queue;
        Pong {
            sequence: ping.sequence,
            time_us: ping.time_us,
            unix_ms,
            queue,
        }
    }
}

/// Cristian's algorithm: the relay read its clock half a round trip ago.
fn offset(relay_ms: u64, our_ms: u64, rtt: Duration) -> Option<i64> {
    let half = i64::try_from(rtt.as_millis() / 2).ok()?;
    let relay = i64::try_from(relay_ms).ok()?;
    let ours = i64::try_from(our_ms).ok()?;
    relay.checked_add(half)?.checked_sub(ours)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn micros32(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn answered_beats_give_round_trip_and_offset() {
        let start = Instant::now();
        let mut device = Heartbeat::new(start, INTERVAL);
        let mut relay = Pulse::default();
        for beat in 0..10_u32 {
            let sent = start + INTERVAL * beat;
            assert_eq!(device.poll_timeout(), sent);
            let ping = device.handle_timeout(sent, 3).expect("due");
            assert_eq!(device.handle_timeout(sent, 3), None);
            let pong = relay.handle_ping(sent, 1_000_020, 5, ping);
            device.handle_pong(sent + Duration::from_millis(40), 1_000_000, pong);
        }
        let stats = device.stats();
        assert_eq!((stats.sent, stats.answered, stats.lost), (10, 10, 0));
        assert_eq!(stats.rtt, Some(Duration::from_millis(40)));
        assert_eq!(stats.clock_offset_ms, Some(40));
        assert_eq!(stats.relay_queue, 5);
        assert_eq!((relay.received, relay.missed, relay.queue), (10, 0, 3));
        assert_eq!(relay.rtt, Some(Duration::from_millis(40)));
    }

    #[test]
    fn silence_counts_as_loss() {
        let start = Instant::now();
        let mut device = Heartbeat::new(start, INTERVAL);
        let first = device.handle_timeout(start, 0).expect("due");
        assert_eq!(device.poll_timeout(), start + LOST_AFTER);
        assert_eq!(device.handle_timeout(start + LOST_AFTER, 0), None);
        assert_eq!(device.stats().lost, 1);
        assert_eq!(device.stats().recent_loss_permille, 1000);

        // A late answer changes nothing any more.
        let late = Pulse::default().handle_ping(start, 0, 0, first);
        device.handle_pong(start + LOST_AFTER, 0, late);
        assert_eq!(device.stats().answered, 0);

        let second = device.handle_timeout(start + INTERVAL, 0).expect("due");
        let pong = Pulse::default().handle_ping(start, 0, 0, second);
        device.handle_pong(start + INTERVAL, 0, pong);
        assert_eq!(device.stats().recent_loss_permille, 500);
    }

    #[test]
    fn forged_and_repeated_answers_change_nothing() {
        let start = Instant::now();
        let mut device = Heartbeat::new(start, INTERVAL);
        let ping = device.handle_timeout(start, 0).expect("due");
        let pong = Pulse::default().handle_ping(start, 0, 0, ping);
        let forged = Pong {
            sequence: 77,
            ..pong
        };
        device.handle_pong(start, 0, forged);
        assert_eq!(device.stats().answered, 0);
        device.handle_pong(start, 0, pong);
        device.handle_pong(start, 0, pong);
        assert_eq!(device.stats().answered, 1);
    }

    #[test]
    fn a_probe_is_sent_at_once_and_a_sleep_is_not_made_up() {
        let start = Instant::now();
        let mut device = Heartbeat::new(start, INTERVAL);
        device.handle_timeout(start, 0).expect("due");
        let woke = start + Duration::from_secs(3600);
        device.probe(woke);
        assert_eq!(
            device.handle_timeout(woke, 0).map(|ping| ping.sequence),
            Some(1)
        );
        assert_eq!(device.handle_timeout(woke, 0), None);
    }

    #[test]
    fn the_relay_sees_gaps_and_forgives_reordering() {
        let now = Instant::now();
        let mut relay = Pulse::default();
        let ping = |sequence| Ping {
            sequence,
            time_us: 0,
            rtt_us: 0,
            queue: 0,
        };
        for sequence in [u32::MAX - 1, 1, 0, 1, 2] {
            relay.handle_ping(now, 0, 0, ping(sequence));
        }
        // MAX and 0 were missing after the jump to 1; 0 came late.
        assert_eq!(relay.missed, 1);
        assert_eq!(relay.sequence, Some(2));
    }
}
