//! How fast artifacts travel: one budget for all transfers and both ways.
//!
//! A limit that a person set holds all of them back. What goes through the
//! tunnel makes way for requests by itself: whoever sends keeps the path's
//! queue short, see `ginnel_link::link::Priority::Bulk`. What comes from the
//! bucket past the tunnel does not, and is held back here: when the tunnel's
//! round trip grows, it fills a queue in which requests wait. Then its speed is
//! halved, and grows again slowly.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much a round trip may grow over its smallest.
const TARGET: Duration = Duration::from_millis(25);

/// How often the path is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a smallest round trip counts: paths change.
const FLOOR_FOR: Duration = Duration::from_secs(60);

/// The slowest that transfers become, in bytes a second.
const RATE_MIN: f64 = 64.0 * 1024.0;

/// How much may go at once after a pause, in time.
const BURST: Duration = Duration::from_millis(50);

/// One budget.
#[derive(Debug)]
pub struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What a person set, in bytes a second.
    limit: Option<u64>,
    /// What the path is thought to take past the tunnel, in bytes a second;
    /// `None` while it was never found too much.
    rate: Option<f64>,
    /// When the budget is even again.
    even: Instant,
    /// The smallest round trip of this minute and the one before.
    floor: Duration,
    /// The smallest one of this minute.
    smallest: Duration,
    minute_since: Instant,
    looked: Instant,
    /// Bytes past the tunnel since `looked`.
    passed: u64,
}

impl Pace {
    /// With a limit in bytes a second, if there is one.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        let now = Instant::now();
        let state = State {
            limit,
            rate: None,
            even: now,
            floor: Duration::MAX,
            smallest: Duration::MAX,
            minute_since: now,
            looked: now,
            passed: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Sets the limit in bytes a second, or takes it away.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.state().limit = limit;
    }

    /// The limit in bytes a second.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.state().limit
    }

    /// Waits until so many bytes may travel through the tunnel.
    pub async fn take(&self, bytes: u64) {
        let until = {
            let mut state = self.state();
            let limit = state.limit.map(as_float);
            state.spend(bytes, limit, Instant::now())
        };
        wait_until(until).await;
    }

    /// Waits until so many bytes may travel past the tunnel.
    pub async fn take_directly(&self, bytes: u64) {
        let until = {
            let mut state = self.state();
            state.passed = state.passed.saturating_add(bytes);
            let speed = state.speed();
            state.spend(bytes, speed, Instant::now())
        };
        wait_until(until).await;
    }

    /// Looks at the path's round trip, now and then.
    pub fn look(&self, rtt: Duration) {
        self.state().look(rtt, Instant::now());
    }

    /// Nothing under this lock panics half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timer of what is over already may wait for up to a millisecond.
async fn wait_until(until: Instant) {
    if until > Instant::now() {
        sleep_until(until).await;
    }
}

impl State {
    /// Bytes a second that may travel past the tunnel; `None` for as many as
    /// there are.
    fn speed(&self) -> Option<f64> {
        let limit = self.limit.map(as_float);
        match (limit, self.rate) {
            (Some(limit), Some(rate)) => Some(limit.min(rate)),
            (limit, rate) => limit.or(rate),
        }
    }

    /// When the bytes may go that come now, at so many a second.
    fn spend(&mut self, bytes: u64, speed: Option<f64>, now: Instant) -> Instant {
        let Some(speed) = speed else {
            self.even = now;
            return now;
        };
        let begin = self.even.max(now.checked_sub(BURST).unwrap_or(now));
        let takes = Duration::try_from_secs_f64(as_float(bytes) / speed.max(1.0));
        let takes = takes.unwrap_or(Duration::from_secs(3600));
        self.even = begin + takes;
        begin.max(now)
    }

    fn look(&mut self, rtt: Duration, now: Instant) {
        if now.duration_since(self.minute_since) > FLOOR_FOR {
            self.floor = self.smallest;
            self.smallest = rtt;
            self.minute_since = now;
        }
        self.smallest = self.smallest.min(rtt);
        self.floor = self.floor.min(rtt);
        let since = now.duration_since(self.looked);
        if since < LOOK_EVERY {
            return;
        }
        let passed = as_float(self.passed) / since.as_secs_f64();
        self.looked = now;
        if std::mem::take(&mut self.passed) == 0 {
            // Whatever fills the path, it is not that.
            return;
        }
        if rtt.saturating_sub(self.floor) > TARGET {
            // From what really travelled: the rate may never have been tried.
            let from = self
                .rate
                .map_or(passed, |rate| rate.min(passed.max(RATE_MIN)));
            self.rate = Some((from / 2.0).max(RATE_MIN));
        } else if let Some(rate) = self.rate {
            self.rate = Some(rate * GROWTH);
        }
    }
}

/// How much faster it becomes with each look at a path that is free: twice in
/// a second and a half.
const GROWTH: f64 = 1.05;

/// Exact below 2^53, which no number of bytes here comes near.
#[expect(
    clippy::cast_precision_loss,
    reason = "speeds need no more than 52 bits"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let pace = Pace::new(None);
        let began = Instant::now();
        for _ in 0..100 {
            // What is taken is sent, which takes some time.
            tokio::time::advance(Duration::from_micros(50)).await;
            pace.take(64 << 10).await;
            pace.take_directly(64 << 10).await;
        }
        assert_eq!(began.elapsed(), Duration::from_millis(5));
    }

    const MIB: u64 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_over_time() {
        let pace = Pace::new(Some(MIB));
        let begun = Instant::now();
        for _ in 0..40 {
            pace.take(MIB / 4).await;
        }
        pace.take(1).await;
        let took = begun.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "took={took}");
        pace.set_limit(None);
        let begun = Instant::now();
        pace.take(100 * MIB).await;
        assert!(begun.elapsed() < Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_growing_round_trip_slows_down_and_a_small_one_speeds_up() {
        let pace = Pace::new(None);
        let step = |rtt_ms, bytes| {
            let pace = &pace;
            async move {
                pace.take_directly(bytes).await;
                tokio::time::advance(Duration::from_millis(101)).await;
                pace.look(Duration::from_millis(rtt_ms));
            }
        };
        step(50, MIB).await;
        assert_eq!(pace.state().speed(), None, "the path was never too full");
        step(100, MIB).await;
        let slowed = pace.state().speed().expect("slowed down");
        assert!((4.0..6.0).contains(&(slowed / as_float(MIB))), "{slowed}");
        for _ in 0..40 {
            step(100, 1).await;
        }
        assert_eq!(pace.state().speed(), Some(RATE_MIN), "no slower than that");
        for _ in 0..100 {
            step(51, 1).await;
        }
        let again = pace.state().speed().expect("known");
        assert!(again > 50.0 * RATE_MIN, "{again}");
    }
}
