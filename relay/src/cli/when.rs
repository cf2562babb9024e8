//! Moments as people read them.

/// What is shown for a moment that never was.
pub const NEVER: &str = "never";

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long ago a moment was: `3m ago`.
#[must_use]
pub fn ago(now_ms: i64, then_ms: Option<i64>) -> String {
    let Some(then_ms) = then_ms else {
        return NEVER.to_owned();
    };
    let past = now_ms.saturating_sub(then_ms);
    if past < SECOND {
        return "now".to_owned();
    }
    format!("{} ago", span(past))
}

/// How far away a moment is: `in 29d`, or `expired`.
#[must_use]
pub fn until(now_ms: i64, then_ms: Option<i64>) -> String {
    let Some(then_ms) = then_ms else {
        return NEVER.to_owned();
    };
    match then_ms.saturating_sub(now_ms) {
        left if left > 0 => format!("in {}", span(left)),
        _ => "expired".to_owned(),
    }
}

/// A moment in UTC to the second: `2026-01-31 23:59:59Z`.
#[must_use]
pub fn utc(unix_ms: i64) -> String {
    let (days, in_day) = (unix_ms.div_euclid(DAY), unix_ms.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / HOUR, in_day % HOUR / MINUTE);
    let second = in_day % MINUTE / SECOND;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// The largest unit of a length, rounded down.
fn span(ms: i64) -> String {
    match ms {
        DAY.. => format!("{}d", ms / DAY),
        HOUR.. => format!("{}h", ms / HOUR),
        MINUTE.. => format!("{}m", ms / MINUTE),
        _ => format!("{}s", ms / SECOND),
    }
}

/// Year, month and day of a day since 1970, by years that begin in March, so
/// that the leap day is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    /// From 0000-03-01 to 1970-01-01.
    const TO_1970: i64 = 719_468;
    /// Days in 400 years, after which the calendar repeats.
    const ERA: i64 = 146_097;
    let days = days.saturating_add(TO_1970);
    let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (unix_s, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (951_868_800, "2000-03-01 00:00:00Z"),
            (1_800_000_000, "2027-01-15 08:00:00Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
            (-1, "1969-12-31 23:59:59Z"),
        ] {
            assert_eq!(utc(unix_s * 1000), shown);
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert!(utc(extreme).ends_with('Z'));
        }
    }

    #[test]
    fn distances_are_in_their_largest_unit() {
        let now = 100 * DAY;
        for (past, shown) in [
            (0, "now"),
            (999, "now"),
            (SECOND, "1s ago"),
            (MINUTE - 1, "59s ago"),
            (MINUTE, "1m ago"),
            (HOUR, "1h ago"),
            (DAY - 1, "23h ago"),
            (30 * DAY, "30d ago"),
            // The device's clock, or ours, was set back.
            (-DAY, "now"),
        ] {
            assert_eq!(ago(now, Some(now - past)), shown);
        }
        assert_eq!(ago(now, None), "never");
        assert_eq!(until(now, Some(now + 2 * HOUR)), "in 2h");
        assert_eq!(until(now, Some(now)), "expired");
        assert_eq!(until(now, None), "never");
    }
}
