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

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a time such as 2026-01-31 23:59:59Z nor how long ago, such as 2h, found={0:?}")]
pub struct NoMoment(String);

/// Reads a moment as [`utc`] writes it, or how long ago it was.
///
/// # Errors
/// The text is neither.
pub fn parse(text: &str, now_ms: i64) -> Result<i64, NoMoment> {
    let wrong = || NoMoment(text.chars().take(80).collect());
    if let Ok(past) = super::duration::parse(text) {
        let past = i64::try_from(past.as_millis()).map_err(|_| wrong())?;
        return Ok(now_ms.saturating_sub(past));
    }
    let parts: Vec<i64> = text
        .strip_suffix('Z')
        .ok_or_else(wrong)?
        .split(['-', ' ', 'T', ':'])
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let [year, month, day, hour, minute, second] = parts[..] else {
        return Err(wrong());
    };
    let limits = [
        (year, 1970..=9999),
        (month, 1..=12),
        (day, 1..=31),
        (hour, 0..=23),
        (minute, 0..=59),
        (second, 0..=59),
    ];
    if limits.iter().any(|(part, limit)| !limit.contains(part)) {
        return Err(wrong());
    }
    let unix_ms = days(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND;
    // What the calendar does not have comes out as something else.
    let same = utc(unix_ms).replace(' ', "T");
    match same == text.replace(' ', "T") {
        true => Ok(unix_ms),
        false => Err(wrong()),
    }
}

/// The days since 1970 of a date: the other way of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
    fn moments_are_read_as_they_are_written() {
        let now = 100 * DAY;
        for unix_s in [0, 951_782_399, 951_782_400, 1_800_000_000, 4_107_542_400] {
            let shown = utc(unix_s * 1000);
            assert_eq!(parse(&shown, now), Ok(unix_s * 1000));
            assert_eq!(parse(&shown.replace(' ', "T"), now), Ok(unix_s * 1000));
        }
        assert_eq!(parse("2h", now), Ok(now - 2 * HOUR));
        for wrong in [
            "",
            "yesterday",
            "2026-02-30 00:00:00Z",
            "2026-13-01 00:00:00Z",
            "2026-01-01 25:00:00Z",
            "2026-01-01 00:00:00",
            "2026-01-01Z",
            "99999999999999-01-01 00:00:00Z",
            "2026-01-01 9223372036854775807:00:00Z",
        ] {
            assert!(parse(wrong, now).is_err(), "{wrong}");
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
