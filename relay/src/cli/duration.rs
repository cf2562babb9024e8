//! Lengths of time as people type them: `90s`, `15m`, `1h`, `30d`.

use std::time::Duration;

/// The longest: a hundred years, so that adding it to now stays in range.
const MAX: Duration = Duration::from_hours(100 * 366 * 24);

/// Parses a whole number and its unit.
///
/// # Errors
/// It is not of that form, is zero or is longer than a hundred years.
pub fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || "is not a number and s, m, h or d, such as 90s, 15m, 1h or 30d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 60 * 60,
        Some("d") => 24 * 60 * 60,
        _ => return Err(invalid()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match seconds.map(Duration::from_secs) {
        Some(Duration::ZERO) => Err("is zero".to_owned()),
        Some(duration) if duration <= MAX => Ok(duration),
        Some(_) | None => Err("is longer than a hundred years".to_owned()),
    }
}

/// A length of time as [`parse`] takes it, in the largest unit that says it
/// exactly.
#[must_use]
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm')];
    let exact = units
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit));
    match exact {
        Some((unit, letter)) if seconds > 0 => format!("{}{letter}", seconds / unit),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_a_number_and_a_unit() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("15m", 900),
            ("1h", 3600),
            ("30d", 2_592_000),
            ("007d", 604_800),
            ("36600d", 3_162_240_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "s",
            "5",
            "5x",
            "5S",
            " 5s",
            "5 s",
            "-5s",
            "+5s",
            "1.5h",
            "1h30m",
            "5ms",
            "0s",
            "0d",
            "36601d",
            "99999999999999999999d",
            "18446744073709551615d",
            "٣s",
            "5é",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn lengths_are_shown_as_they_are_typed() {
        for text in ["1s", "90s", "15m", "1h", "36h", "30d"] {
            assert_eq!(show(parse(text).expect(text)), text);
        }
        assert_eq!(show(Duration::from_secs(7200)), "2h");
    }
}
