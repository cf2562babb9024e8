//! Many measured times, as a line to read.

use std::fmt;
use std::time::Duration;

/// Measured times.
#[derive(Debug, Clone, Default)]
pub struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All of them, the shortest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.sorted.iter().copied()
    }

    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        let at = self.sorted.partition_point(|known| *known <= time);
        self.sorted.insert(at, time);
    }

    /// The time that this share of them, in thousandths, does not exceed.
    #[must_use]
    pub fn permille(&self, share: usize) -> Duration {
        let rank = (self.sorted.len() * share).div_ceil(1000).max(1) - 1;
        self.sorted.get(rank).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.permille(1000)
    }
}

impl Extend<Duration> for Times {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, times: T) {
        for time in times {
            self.add(time);
        }
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut all = Self::default();
        all.extend(times);
        all
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |share| self.permille(share).as_secs_f64() * 1000.0;
        write!(
            f,
            "n={} p50={:.1} p90={:.1} p99={:.1} max={:.1} ms",
            self.len(),
            millis(500),
            millis(900),
            millis(990),
            millis(1000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_ranks() {
        let times: Times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(times.permille(500), Duration::from_millis(50));
        assert_eq!(times.permille(990), Duration::from_millis(99));
        assert_eq!(times.max(), Duration::from_millis(100));
        assert_eq!(Times::default().max(), Duration::ZERO);
    }
}
