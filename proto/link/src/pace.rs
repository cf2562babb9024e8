//! How fast the bulk streams of a link send: as fast as the path carries, with
//! so short a queue in it that requests hardly wait.
//!
//! A priority decides only what leaves this machine first. What fills a path
//! waits in front of its slowest stretch, often for hundreds of milliseconds,
//! and whatever comes later waits behind it. So bulk streams send with a window
//! of their own, below that of congestion control, which grows and shrinks with
//! the round trip: the idea of LEDBAT (RFC 6817), as a speed instead of a
//! window, since quinn does not say what of a stream is acknowledged.
//!
//! [`crate::stream::SendHalf`] asks for a turn before each piece it sends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long the path's queue may be, in time. RFC 6817 says 100 ms at most;
/// that would make a request on a good line take three times as long.
pub(crate) const QUEUE_TARGET: Duration = Duration::from_millis(25);

/// The window and the speed to begin with and after a rest, in bytes, and in
/// bytes a second: a short round trip does not tell of a slow line.
const WINDOW_START: f64 = 64.0 * 1024.0;
const SPEED_START: f64 = 1024.0 * 1024.0;

/// How much faster it becomes with each round trip at first.
const GROWTH: (f64, f64) = (0.15, 1.0);

/// The slowest that bulk streams become, in bytes a second. They must not
/// starve for good beside whoever fills the path with all they have.
const SPEED_MIN: f64 = 64.0 * 1024.0;

/// The part of what the queue is off by that is put right in a round trip.
/// Twice as much swings, since the answer comes one to two round trips later.
const GAIN: f64 = 0.15;

/// The part of the congestion window that may be filled. More would pile up
/// in the link's own buffer; less would keep congestion control from growing.
const OVER_CONGESTION: f64 = 1.25;

/// How much may go at once, in time: pieces this long, and as much to make
/// good for a timer that was late.
const BURST: Duration = Duration::from_millis(5);

/// The shortest and the longest piece, in bytes.
const PIECE: (usize, usize) = (1400, 256 * 1024);

/// How long nothing may be sent until the path is no longer known.
const REST: Duration = Duration::from_secs(1);

/// How long a smallest round trip counts, once and again: paths change.
const FLOOR_FOR: Duration = Duration::from_secs(15);

/// When a new floor is looked for, all is sent at half the speed until the
/// queue is empty and that is known, within these bounds: a queue that is
/// always there would be taken for the path.
const SLOW_LEAST: Duration = Duration::from_millis(300);
const SLOW_MOST: Duration = Duration::from_secs(1);

/// The speed of a link's bulk streams.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<State>);

/// What is known of the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// The smoothed round trip. A few acknowledgements are enough to move it.
    pub(crate) rtt: Duration,
    /// The congestion window, in bytes.
    pub(crate) window: u64,
}

#[derive(Debug)]
struct State {
    /// Bytes that may be on their way.
    window: f64,
    /// The window only grows, until the queue is first noticed.
    is_starting: bool,
    path: Path,
    looked: Instant,
    /// When the budget is even again.
    even: Instant,
    floor: Floor,
    /// Until when all is sent at which speed, to empty the queue.
    slow: (Instant, f64),
}

/// The smallest round trip of late: that of an empty queue.
#[derive(Debug)]
struct Floor {
    before: Duration,
    lately: Duration,
    since: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::new(Instant::now())))
    }

    /// Waits for a turn, and returns how many bytes of `length` it is for.
    pub(crate) async fn turn(&self, length: usize, path: impl FnOnce() -> Path) -> usize {
        let (until, piece) = {
            let now = Instant::now();
            let mut state = self.state();
            if state.is_due(now) {
                state.look(path(), now);
            }
            let piece = length.min(state.piece());
            (state.spend(piece, now), piece)
        };
        // A timer of what is over already may wait for up to a millisecond.
        if until > Instant::now() {
            sleep_until(until).await;
        }
        piece
    }

    /// Nothing under this lock panics half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(now: Instant) -> Self {
        // As after a rest.
        let before = now.checked_sub(2 * REST).unwrap_or(now);
        Self {
            window: 0.0,
            is_starting: true,
            path: Path {
                rtt: Duration::ZERO,
                window: 0,
            },
            looked: before,
            even: before,
            floor: Floor {
                before: Duration::MAX,
                lately: Duration::MAX,
                since: now,
            },
            slow: (now, 0.0),
        }
    }

    /// The path is looked at often in a round trip, but not for each piece.
    fn is_due(&self, now: Instant) -> bool {
        let every = (self.path.rtt / 8).clamp(Duration::from_millis(1), Duration::from_millis(20));
        now.duration_since(self.looked) >= every
    }

    /// Adapts the window to the queue.
    fn look(&mut self, path: Path, now: Instant) {
        let since = now.duration_since(self.looked);
        let rested = now.duration_since(self.even) > REST;
        self.path = path;
        self.looked = now;
        let is_new = self.floor.see(path.rtt, now);
        let trip = self.trip();
        let trips = (since.as_secs_f64() / trip).min(1.0);
        let queue = path.rtt.saturating_sub(self.floor.rtt());
        if rested {
            self.window = WINDOW_START.min(SPEED_START * trip);
            self.is_starting = true;
        } else if self.is_starting {
            if queue > noticed(self.floor.rtt()) {
                // What is on its way was sent before it could be noticed.
                self.is_starting = false;
                self.window /= 2.0;
            } else {
                self.window *= 1.0 + self.floor.growth() * trips;
            }
        } else {
            let off = QUEUE_TARGET.as_secs_f64() - queue.as_secs_f64();
            let most = if now < self.slow.0 { 0.0 } else { 1.0 };
            let step = (GAIN * off / trip).clamp(-0.5, most);
            self.window *= 1.0 + step * trips;
        }
        if is_new && !self.is_starting {
            // What the path carries, if its queue is as long as it may be.
            let carries = self.window / (self.floor.rtt() + QUEUE_TARGET).as_secs_f64();
            let time = 2 * (queue.min(2 * QUEUE_TARGET) + path.rtt);
            self.slow = (now + time.clamp(SLOW_LEAST, SLOW_MOST), carries / 2.0);
        }
        let congestion = as_float(path.window) / path.rtt.as_secs_f64().max(RTT_LEAST);
        let most = (congestion * OVER_CONGESTION).max(SPEED_MIN);
        self.window = self.window.clamp(SPEED_MIN * trip, most * trip);
    }

    /// The round trip by which the window becomes a speed, in seconds. Where
    /// nearly all of it is queue, an empty queue would else mean any speed.
    fn trip(&self) -> f64 {
        let least = self.floor.rtt().saturating_add(QUEUE_TARGET / 2);
        self.path.rtt.max(least.min(TRIP_MOST)).as_secs_f64()
    }

    /// Bytes a second.
    fn speed(&self, now: Instant) -> f64 {
        let speed = self.window / self.trip();
        let (slow_until, slow) = self.slow;
        let most = if now < slow_until { slow } else { f64::MAX };
        speed.min(most).max(SPEED_MIN)
    }

    /// How much is sent in one turn, in bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "such a cast keeps to the bounds, and the value is clamped"
    )]
    fn piece(&self) -> usize {
        let bytes = self.speed(self.looked) * BURST.as_secs_f64();
        (bytes as usize).clamp(PIECE.0, PIECE.1)
    }

    /// When the bytes may go that come now.
    fn spend(&mut self, bytes: usize, now: Instant) -> Instant {
        let begin = self.even.max(now.checked_sub(BURST).unwrap_or(now));
        let takes = as_float(bytes as u64) / self.speed(now);
        // At most four seconds: a piece at the least speed.
        self.even = begin + Duration::try_from_secs_f64(takes).unwrap_or(Duration::from_secs(4));
        begin.max(now)
    }
}

impl Floor {
    /// Returns whether a new one is looked for from now on.
    fn see(&mut self, rtt: Duration, now: Instant) -> bool {
        let ends = now.duration_since(self.since) > FLOOR_FOR;
        if ends {
            self.before = self.lately;
            self.lately = rtt;
            self.since = now;
        }
        self.lately = self.lately.min(rtt);
        ends
    }

    fn rtt(&self) -> Duration {
        self.before.min(self.lately)
    }

    /// How much faster it may become with a round trip while nothing is known
    /// of the path. That it was too much shows two round trips later; the queue
    /// should not be much longer than its target by then.
    fn growth(&self) -> f64 {
        let rtt = self.rtt().as_secs_f64().max(RTT_LEAST);
        let growth = QUEUE_TARGET.as_secs_f64() / (2.0 * rtt);
        growth.clamp(GROWTH.0, GROWTH.1)
    }
}

/// Keeps an unknown floor out of sums. No path is longer.
const TRIP_MOST: Duration = Duration::from_secs(10);

/// Round trips are taken to be at least this long, in seconds: below, no speed
/// is too much.
const RTT_LEAST: f64 = 0.0001;

/// How long a queue is that is one for sure (after RFC 9406, HyStart++).
fn noticed(floor: Duration) -> Duration {
    (floor / 16).clamp(Duration::from_millis(4), Duration::from_millis(16))
}

/// Exact below 2^53, which no number of bytes here comes near.
#[expect(
    clippy::cast_precision_loss,
    reason = "speeds need no more than 52 bits"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
