//! Counts what strangers or the system can make happen at will, so that the
//! log tells it once a minute and not each time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What happened once is told at once; what follows waits so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How often something happened since it was last told.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    times: u64,
    told: Option<Instant>,
}

impl Tally {
    /// It happened. Returns how often since it was last told, this time
    /// included, if it is to be told now.
    pub fn count(&self, now: Instant) -> Option<u64> {
        // Nothing under this lock panics half-way.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.times = state.times.saturating_add(1);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < TELL_EVERY;
        if state.told.is_some_and(is_recent) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_how_often() {
        let tally = Tally::default();
        let start = Instant::now();
        let count = |seconds| tally.count(start + Duration::from_secs(seconds));
        assert_eq!(count(0), Some(1));
        assert_eq!(count(0), None);
        assert_eq!(count(59), None);
        assert_eq!(count(60), Some(3));
        assert_eq!(count(61), None);
        assert_eq!(count(600), Some(2));
    }
}
