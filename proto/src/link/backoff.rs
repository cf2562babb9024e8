//! How long to wait before the next attempt to connect.
//!
//! Full jitter: each wait is drawn evenly from zero to a ceiling that doubles
//! from [`BASE`] to [`CAP`]. Many devices that lost their relay at the same
//! moment so spread by themselves. It never gives up.

use std::time::{Duration, Instant};

/// The first ceiling.
pub const BASE: Duration = Duration::from_millis(250);

/// The last ceiling.
pub const CAP: Duration = Duration::from_secs(30);

/// A link that lived this long was healthy: the ceiling starts anew.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Counts failed attempts and draws the waits between them.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The link is up.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The link, or an attempt at one, failed. Returns how long to wait, drawn
    /// with `random`, any number.
    pub fn handle_failure(&mut self, now: Instant, random: u64) -> Duration {
        if let Some(since) = self.connected_at.take()
            && now.saturating_duration_since(since) >= HEALTHY_AFTER
        {
            self.failures = 0;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let span = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random % (span + 1))
    }

    /// Forget the failures: something has changed (the machine woke, its
    /// address changed), so the next attempt is worth making at once.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many attempts have failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        // 250 ms · 2^7 is already above the cap.
        BASE.saturating_mul(1 << self.failures.min(7)).min(CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let now = Instant::now();
        let mut backoff = Backoff::new();
        let mut largest = Vec::new();
        for _ in 0..10 {
            let ceiling = backoff.ceiling();
            let at_most = u64::try_from(ceiling.as_micros()).expect("small");
            assert_eq!(backoff.clone().handle_failure(now, at_most), ceiling);
            assert_eq!(backoff.handle_failure(now, at_most + 1), Duration::ZERO);
            largest.push(ceiling.as_millis());
        }
        assert_eq!(
            largest,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
    }

    #[test]
    fn only_a_healthy_link_starts_anew() {
        let start = Instant::now();
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.handle_failure(start, 0);
        }
        backoff.handle_connected(start);
        backoff.handle_failure(start + HEALTHY_AFTER - Duration::from_millis(1), 0);
        assert_eq!(backoff.failures(), 6);

        backoff.handle_connected(start);
        backoff.handle_failure(start + HEALTHY_AFTER, 0);
        assert_eq!(backoff.failures(), 1);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_the_cap(randoms in prop::collection::vec(any::<u64>(), 1..100)) {
            let now = Instant::now();
            let mut backoff = Backoff::new();
            for random in randoms {
                prop_assert!(backoff.handle_failure(now, random) <= CAP);
            }
        }
    }
}
