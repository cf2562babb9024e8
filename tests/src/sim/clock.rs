//! Wall clocks, which can be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ginnel_link::driver::WallClock;
use tokio::time::Instant;

/// A machine's wall clock. Starts at the real date, since rustls compares
/// certificates with that, and runs with simulated time.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// Milliseconds since 1970.
    start: i64,
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that is right.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // Midnight: runs of one day start alike.
        let days = now.unwrap_or_default().as_secs() / DAY.as_secs();
        Self {
            started,
            start: i64::try_from(days * DAY.as_secs() * 1000).unwrap_or_default(),
            offset: Arc::default(),
        }
    }

    /// Sets it ahead, or back.
    pub fn jump(&self, millis: i64) {
        self.offset.fetch_add(millis, Ordering::Relaxed);
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self.start + elapsed + self.offset.load(Ordering::Relaxed);
        u64::try_from(now).unwrap_or_default()
    }

    /// The clock as the code under test reads it.
    #[must_use]
    pub fn wall_clock(&self) -> WallClock {
        let clock = self.clone();
        Arc::new(move || clock.unix_ms())
    }
}
