//! Which snapshots are kept, so that knowledge can be as it was: of each of the
//! last 24 hours the newest, and of each of the last 7 days.

use std::collections::BTreeSet;

/// How far two kept snapshots are apart, milliseconds.
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Every moment of so long can be restored, milliseconds.
pub const KEPT_MS: u64 = DAYS * DAY_MS;

/// Hours and days of which one is kept.
const HOURS: u64 = 24;
const DAYS: u64 = 7;

/// Whether what is published now should be kept, beside those of `kept`, all
/// milliseconds since 1970.
#[must_use]
pub fn is_due(kept: &BTreeSet<u64>, now_ms: u64) -> bool {
    let hour = now_ms / HOUR_MS;
    kept.last().is_none_or(|last| last / HOUR_MS < hour)
}

/// Those of `kept` that are not needed any more.
#[must_use]
pub fn done_with(kept: &BTreeSet<u64>, now_ms: u64) -> Vec<u64> {
    let mut wanted = BTreeSet::new();
    // The day in which the window begins is one more.
    for (length, count) in [(HOUR_MS, HOURS), (DAY_MS, DAYS + 1)] {
        let mut of = None;
        for at in kept.iter().rev() {
            let bucket = at / length;
            let is_recent = now_ms / length < bucket.saturating_add(count);
            if is_recent && of != Some(bucket) {
                of = Some(bucket);
                wanted.insert(*at);
            }
        }
    }
    // What was before the first of the window is where it begins.
    let from = now_ms.saturating_sub(KEPT_MS);
    wanted.extend(kept.range(..=from).next_back());
    kept.difference(&wanted).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn a_month_of_publications_leaves_hours_and_days() {
        let mut kept = BTreeSet::new();
        let mut now = NOW;
        for _ in 0..30 * 24 * 4 {
            now += HOUR_MS / 4;
            if is_due(&kept, now) {
                kept.insert(now);
            }
            for done in done_with(&kept, now) {
                kept.remove(&done);
            }
        }
        assert!((24 + 4..=24 + 9).contains(&kept.len()), "{}", kept.len());
        let last_day = kept.range(now - DAY_MS..).count();
        assert!(last_day >= 24, "{last_day}");
        // Every moment of the last seven days has one before it.
        let first = kept.first().expect("some");
        assert!(*first <= now - 7 * DAY_MS, "{first}");
    }

    #[test]
    fn the_last_one_stays_however_old() {
        let kept = BTreeSet::from([NOW]);
        assert_eq!(done_with(&kept, NOW + 400 * DAY_MS), Vec::<u64>::new());
        assert!(is_due(&kept, NOW + HOUR_MS));
        assert!(!is_due(&kept, NOW));
    }
}
