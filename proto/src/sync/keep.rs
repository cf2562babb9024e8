//! Which snapshots are kept, so that knowledge can be as it was: the first of each of
//! the last 24 hours, and of each of the last 7 days. Those of another epoch are counted
//! apart: none stands for what was published in another.

use std::collections::{BTreeMap, BTreeSet};

/// How far two kept snapshots are apart, milliseconds.
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Every moment of so long can be restored, milliseconds.
pub const KEPT_MS: u64 = DAYS * DAY_MS;

/// Hours and days of which one is kept.
const HOURS: u64 = 24;
const DAYS: u64 = 7;

/// What is kept: when each was published, milliseconds since 1970, and in which epoch.
pub type Times = BTreeMap<u64, u64>;

/// Whether what is published now, in this epoch, should be kept too.
#[must_use]
pub fn is_due(kept: &Times, epoch: u64, now_ms: u64) -> bool {
    let hour = now_ms / HOUR_MS;
    let last = kept.iter().rev().find(|(_, of)| **of == epoch);
    last.is_none_or(|(last, _)| last / HOUR_MS < hour)
}

/// Those of `kept` that are not needed any more.
#[must_use]
pub fn done_with(kept: &Times, now_ms: u64) -> Vec<u64> {
    let mut wanted = BTreeSet::new();
    // The day in which the window begins is one more.
    for (length, count) in [(HOUR_MS, HOURS), (DAY_MS, DAYS + 1)] {
        let mut firsts = BTreeSet::new();
        for (at, epoch) in kept {
            let bucket = at / length;
            let is_recent = now_ms / length < bucket.saturating_add(count);
            if is_recent && firsts.insert((bucket, *epoch)) {
                wanted.insert(*at);
            }
        }
    }
    // What was before the first of the window is where it begins.
    let from = now_ms.saturating_sub(KEPT_MS);
    wanted.extend(kept.range(..=from).next_back().map(|(at, _)| *at));
    let done = kept.keys().filter(|at| !wanted.contains(at));
    done.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    /// Publishes every quarter of an hour for so many days, from [`NOW`] on. Gives
    /// what is kept, and the time at the end.
    fn published_for(days: u64, epoch_at: impl Fn(u64) -> u64) -> (Times, u64) {
        let mut kept = Times::new();
        let mut now = NOW;
        for _ in 0..days * 24 * 4 {
            now += HOUR_MS / 4;
            if is_due(&kept, epoch_at(now), now) {
                kept.insert(now, epoch_at(now));
            }
            for done in done_with(&kept, now) {
                kept.remove(&done);
            }
        }
        (kept, now)
    }

    #[test]
    fn a_month_of_publications_leaves_hours_and_days() {
        let (kept, now) = published_for(30, |_| 1);
        assert!((24 + 4..=24 + 9).contains(&kept.len()), "{}", kept.len());
        let last_day = kept.range(now - DAY_MS..).count();
        assert!(last_day >= 24, "{last_day}");
        // Every moment of the last seven days has one before it.
        let (first, _) = kept.first_key_value().expect("some");
        assert!(*first <= now - 7 * DAY_MS, "{first}");
    }

    #[test]
    fn all_since_the_first_publication_can_be_restored() {
        let (kept, _) = published_for(3, |_| 1);
        assert_eq!(kept.first_key_value(), Some((&(NOW + HOUR_MS / 4), &1)));
    }

    #[test]
    fn the_last_one_stays_however_old() {
        let kept = Times::from([(NOW, 1)]);
        assert_eq!(done_with(&kept, NOW + 400 * DAY_MS), Vec::<u64>::new());
        assert!(is_due(&kept, 1, NOW + HOUR_MS));
        assert!(!is_due(&kept, 1, NOW));
    }

    #[test]
    fn the_first_of_an_epoch_is_kept_at_once() {
        let kept = Times::from([(NOW, 1)]);
        assert!(is_due(&kept, 2, NOW + 1));
        let both = Times::from([(NOW, 1), (NOW + 1, 2)]);
        assert!(!is_due(&both, 2, NOW + 2));
        // Neither stands for the other, in the hour and on the day.
        for later in [0, 30 * HOUR_MS] {
            assert_eq!(done_with(&both, NOW + later), Vec::<u64>::new());
        }
        // Three epochs in three days: the first publication of each is there.
        let (kept, _) = published_for(3, |now| 1 + (now - NOW) / DAY_MS);
        for epoch in 1..=3 {
            let first = kept.iter().find(|(_, of)| **of == epoch);
            let since = first.map(|(at, _)| at - NOW - (epoch - 1) * DAY_MS);
            assert!(since.is_some_and(|since| since <= HOUR_MS / 4), "{since:?}");
        }
    }
}
