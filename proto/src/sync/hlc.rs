//! Hybrid logical clock: stamps that order the changes of all devices, follow
//! the wall clock as far as it can be believed, and never go back (Kulkarni and
//! others, "Logical Physical Clocks", OPODIS 2014).
//!
//! ```text
//! 63            16 15       0
//! milliseconds     counter      since 1970; changes within one millisecond
//! ```

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far ahead another device's stamps may be. Clocks of machines that ask
/// the time are seconds apart; one that is a year ahead would otherwise decide
/// every conflict for a year.
pub const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

const COUNTER_BITS: u32 = 16;

/// Milliseconds that a stamp can hold and that stay positive as a signed
/// number, which is how SQLite keeps them: up to the year 6429.
pub(super) const MILLIS_MAX: u64 = (1 << 47) - 1;

/// When something was changed. Changes that a device makes one after the other have
/// rising stamps, but that a correction of its clock may leave several with the same;
/// between devices the device's name decides.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "i64")]
pub struct Hlc(u64);

impl TryFrom<i64> for Hlc {
    type Error = Negative;

    fn try_from(stored: i64) -> Result<Self, Negative> {
        Self::from_stored(stored)
    }
}

impl From<Hlc> for i64 {
    fn from(stamp: Hlc) -> Self {
        stamp.to_stored()
    }
}

impl Hlc {
    /// No stamp is greater.
    pub const LAST: Self = Self(i64::MAX.cast_unsigned());

    /// The stamp of a stored number.
    ///
    /// # Errors
    /// It is negative: no stamp is.
    pub fn from_stored(stored: i64) -> Result<Self, Negative> {
        u64::try_from(stored)
            .map(Self)
            .map_err(|_| Negative(stored))
    }

    /// The number to store, never negative.
    #[must_use]
    pub fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// The wall clock's part, milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The how many'th stamp of its millisecond, from 0.
    #[must_use]
    pub fn count(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The stamp of these parts; `None` if they do not fit.
    #[must_use]
    pub fn of_parts(millis: u64, count: u64) -> Option<Self> {
        let fits = millis <= MILLIS_MAX && count < 1 << COUNTER_BITS;
        fits.then_some(Self(millis << COUNTER_BITS | count))
    }

    /// The latest stamp of another device that is believed at `now`, milliseconds
    /// since 1970: [`AHEAD_MAX`] ahead.
    #[must_use]
    pub fn latest_at(now: u64) -> Self {
        let ahead = AHEAD_MAX.as_secs() * 1000;
        let last = (1 << COUNTER_BITS) - 1;
        Self::of_parts(now.saturating_add(ahead), last).unwrap_or(Self::LAST)
    }

    /// The first stamp of a millisecond; the last possible one, if it is later.
    fn at(millis: u64) -> Self {
        Self(millis.min(MILLIS_MAX) << COUNTER_BITS)
    }

    /// The next stamp. A full counter goes on in the next millisecond.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1).min(i64::MAX.cast_unsigned()))
    }
}

/// A number that is no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stamp is negative, stored={0}")]
pub struct Negative(i64);

/// A stamp that must not be believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "stamp is {ahead:?} ahead of this clock, at most {AHEAD_MAX:?}; hint: see to the other device's clock"
)]
pub struct TooFarAhead {
    /// By how much.
    pub ahead: Duration,
}

/// Makes the stamps of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A clock that goes on from the last stamp made or seen, which must have
    /// been stored together with what it stamped.
    #[must_use]
    pub fn after(last: Hlc) -> Self {
        Self { last }
    }

    /// The last stamp made or seen.
    #[must_use]
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// A stamp greater than all before it. `now` is the wall clock,
    /// milliseconds since 1970; if it was set back, only the counter moves.
    pub fn tick(&mut self, now: u64) -> Hlc {
        self.last = Hlc::at(now).max(self.last.next());
        self.last
    }

    /// Sees to it that later stamps are greater than one of another device.
    ///
    /// # Errors
    /// The stamp is more than [`AHEAD_MAX`] ahead of `now`; the clock stays as
    /// it was.
    pub fn observe(&mut self, seen: Hlc, now: u64) -> Result<(), TooFarAhead> {
        let ahead = Duration::from_millis(seen.millis().saturating_sub(now));
        if ahead > AHEAD_MAX {
            return Err(TooFarAhead { ahead });
        }
        self.last = self.last.max(seen);
        Ok(())
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn stamps_follow_the_wall_clock() {
        let mut clock = Clock::default();
        assert_eq!(clock.tick(NOW).to_string(), format!("{NOW}.0"));
        assert_eq!(clock.tick(NOW).to_string(), format!("{NOW}.1"));
        assert_eq!(clock.tick(NOW + 5).to_string(), format!("{}.0", NOW + 5));
        // Set back by an hour.
        assert_eq!(
            clock.tick(NOW - 3_600_000).to_string(),
            format!("{}.1", NOW + 5)
        );
    }

    #[test]
    fn a_full_counter_borrows_from_the_next_millisecond() {
        let mut clock = Clock::default();
        let first = clock.tick(NOW);
        let last = (0..65_535).map(|_| clock.tick(NOW)).last().expect("many");
        assert_eq!((first.millis(), last.millis()), (NOW, NOW));
        assert_eq!(clock.tick(NOW).to_string(), format!("{}.0", NOW + 1));
    }

    #[test]
    fn what_was_seen_comes_before_what_is_made() {
        let mut clock = Clock::default();
        let other = Clock::default().tick(NOW + 60_000);
        clock.observe(other, NOW).expect("a minute is nothing");
        assert!(clock.tick(NOW) > other);
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_not_believed() {
        let mut clock = Clock::default();
        let before = clock.tick(NOW);
        let limit = AHEAD_MAX.as_secs() * 1000;
        let other = Clock::default().tick(NOW + limit + 1);
        let error = clock.observe(other, NOW).expect_err("too far");
        assert_eq!(error.ahead, AHEAD_MAX + Duration::from_millis(1));
        assert_eq!(clock.last(), before);
        let other = Clock::default().tick(NOW + limit);
        clock.observe(other, NOW).expect("at the limit");
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        let mut clock = Clock::default();
        let last = clock.tick(u64::MAX);
        assert!(last.to_stored() > 0);
        for _ in 0..70_000 {
            clock.tick(u64::MAX);
        }
        assert_eq!(clock.last().to_stored(), i64::MAX);
        assert!(Hlc::from_stored(-1).is_err());
    }

    proptest! {
        #[test]
        fn stamps_only_grow_and_are_stored_in_order(
            steps in prop::collection::vec((0..2_000_u64, any::<bool>()), 1..200),
        ) {
            let (mut clock, mut last) = (Clock::default(), Hlc::default());
            for (offset, seen) in steps {
                if seen {
                    let other = Clock::default().tick(NOW + offset);
                    prop_assert!(clock.observe(other, NOW).is_ok());
                }
                let stamp = clock.tick(NOW + offset);
                prop_assert!(stamp > last);
                prop_assert!(stamp.to_stored() > last.to_stored());
                prop_assert_eq!(Hlc::from_stored(stamp.to_stored()), Ok(stamp));
                last = stamp;
            }
        }
    }
}
