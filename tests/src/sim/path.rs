//! One direction of a path: what becomes of each packet.
//!
//! Pure: takes the time and the dice, returns a fate.

use std::time::Duration;

use super::dice::Dice;

/// IP and UDP headers, which take room on the wire too.
const HEADERS: usize = 28;

/// How good a path is, in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// What every packet takes.
    pub delay: Duration,
    /// What a packet may take on top. Does not reorder.
    pub jitter: Duration,
    /// The share of packets lost, each by itself.
    pub loss: f64,
    /// Losses in a row.
    pub bursts: Option<Bursts>,
    /// The share of packets that take up to twice as long, so that later ones
    /// overtake them.
    pub reordered: f64,
    /// The share of packets that arrive twice.
    pub repeated: f64,
    /// What goes through; `None` for no limit.
    pub rate: Option<Rate>,
    /// The longest UDP payload that gets through, in bytes.
    pub mtu: usize,
}

/// Losses in a row (after Gilbert).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// The chance that one begins with a packet.
    pub begin: f64,
    /// The chance that it ends with a packet.
    pub end: f64,
}

/// A slow stretch with a queue in front that drops what does not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Bits that go through in a second.
    pub bits_per_second: u64,
    /// Bytes that may wait.
    pub queue: u64,
}

impl Quality {
    /// A perfect path of this length.
    #[must_use]
    pub fn perfect(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            bursts: None,
            reordered: 0.0,
            repeated: 0.0,
            rate: None,
            mtu: 1472,
        }
    }

    /// The longest that a packet takes, waiting in the queue aside.
    #[must_use]
    pub fn delay_max(&self) -> Duration {
        let reordered = if self.reordered > 0.0 { 2 } else { 1 };
        (self.delay + self.jitter) * reordered
    }
}

/// A path at work.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) quality: Quality,
    /// Nothing gets through.
    pub(super) cut: bool,
    in_burst: bool,
    /// When the last packet has left the queue.
    free_at: Duration,
    /// When the latest packet arrives.
    newest: Duration,
    /// The most bytes that ever waited.
    pub(super) queue_peak: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lost(&'static str),
    Arrives {
        at: Duration,
        again_at: Option<Duration>,
    },
}

impl Path {
    pub(super) fn new(quality: Quality) -> Self {
        Self {
            quality,
            cut: false,
            in_burst: false,
            free_at: Duration::ZERO,
            newest: Duration::ZERO,
            queue_peak: 0,
        }
    }

    /// A packet with `length` bytes of payload sets out.
    pub(super) fn carry(&mut self, now: Duration, length: usize, dice: &mut Dice) -> Fate {
        let quality = self.quality;
        if length > quality.mtu {
            return Fate::Lost("too long");
        }
        if self.cut {
            return Fate::Lost("cut");
        }
        if self.is_lost(dice) {
            return Fate::Lost("lost");
        }
        let Some(leaves) = self.queue(now, length) else {
            return Fate::Lost("queue full");
        };
        let mut at = leaves + quality.delay + dice.between(Duration::ZERO, quality.jitter);
        if dice.chance(quality.reordered) {
            at += dice.between(Duration::ZERO, quality.delay + quality.jitter);
        } else {
            at = at.max(self.newest);
            self.newest = at;
        }
        let again_at = dice
            .chance(quality.repeated)
            .then(|| at + dice.between(Duration::ZERO, quality.delay));
        Fate::Arrives { at, again_at }
    }

    fn is_lost(&mut self, dice: &mut Dice) -> bool {
        if let Some(bursts) = self.quality.bursts {
            let turn = if self.in_burst {
                bursts.end
            } else {
                bursts.begin
            };
            self.in_burst ^= dice.chance(turn);
        }
        let lost = dice.chance(self.quality.loss);
        lost || (self.in_burst && self.quality.bursts.is_some())
    }

    /// When the packet leaves the queue, if there is room in it.
    fn queue(&mut self, now: Duration, length: usize) -> Option<Duration> {
        let Some(rate) = self.quality.rate else {
            return Some(now);
        };
        let on_wire = u128::try_from(length + HEADERS).ok()?;
        let backlog = self.free_at.saturating_sub(now);
        let waiting = backlog.as_nanos() * u128::from(rate.bits_per_second) / 8_000_000_000;
        if waiting + on_wire > u128::from(rate.queue) {
            return None;
        }
        let waiting = u64::try_from(waiting + on_wire).unwrap_or(u64::MAX);
        self.queue_peak = self.queue_peak.max(waiting);
        let nanos = on_wire * 8_000_000_000 / u128::from(rate.bits_per_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now) + takes;
        Some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    #[test]
    fn a_perfect_path_only_delays() {
        let mut path = Path::new(Quality::perfect(DELAY));
        let fate = path.carry(Duration::from_secs(1), 1200, &mut Dice::new(1));
        let at = Duration::from_secs(1) + DELAY;
        assert_eq!(fate, Fate::Arrives { at, again_at: None });
        let fate = path.carry(Duration::ZERO, 1473, &mut Dice::new(1));
        assert_eq!(fate, Fate::Lost("too long"));
    }

    #[test]
    fn losses_come_as_often_as_asked_and_in_a_row() {
        let quality = Quality {
            bursts: Some(Bursts {
                begin: 0.01,
                end: 0.1,
            }),
            ..Quality::perfect(DELAY)
        };
        let mut path = Path::new(quality);
        let mut dice = Dice::new(2);
        let fates: Vec<bool> = (0..100_000)
            .map(|_| matches!(path.carry(Duration::ZERO, 100, &mut dice), Fate::Lost(_)))
            .collect();
        let lost = fates.iter().filter(|lost| **lost).count();
        let runs = fates
            .windows(2)
            .filter(|pair| pair == &[false, true])
            .count();
        // One packet in eleven, ten at a time.
        assert!((8_000..10_500).contains(&lost), "{lost}");
        assert!((8..13).contains(&(lost / runs)), "{lost} in {runs}");
    }

    #[test]
    fn a_slow_path_queues_and_then_drops() {
        let quality = Quality {
            rate: Some(Rate {
                bits_per_second: 8_000_000,
                queue: 10_000,
            }),
            ..Quality::perfect(DELAY)
        };
        let mut path = Path::new(quality);
        let mut dice = Dice::new(3);
        let mut arrivals = Vec::new();
        for _ in 0..12 {
            if let Fate::Arrives { at, .. } = path.carry(Duration::ZERO, 972, &mut dice) {
                arrivals.push(at.as_millis());
            }
        }
        let expected: Vec<u128> = (21..=30).collect();
        assert_eq!(
            arrivals, expected,
            "a thousand bytes a millisecond, ten wait"
        );
        assert_eq!(path.queue_peak, 10_000);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let in_order = |reordered| {
            let quality = Quality {
                jitter: DELAY,
                reordered,
                ..Quality::perfect(DELAY)
            };
            let mut path = Path::new(quality);
            let mut dice = Dice::new(4);
            let arrivals: Vec<Duration> = (0..1000_u32)
                .filter_map(
                    |n| match path.carry(Duration::from_millis(1) * n, 100, &mut dice) {
                        Fate::Arrives { at, .. } => Some(at),
                        Fate::Lost(_) => None,
                    },
                )
                .collect();
            arrivals.is_sorted()
        };
        assert!(in_order(0.0));
        assert!(!in_order(0.05));
    }
}
