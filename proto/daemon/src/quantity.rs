//! Amounts as people read and write them.

/// A number of bytes in its largest decimal unit, one digit after the point:
/// `1.5 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000_000_000_000, "EB"),
        (1_000_000_000_000_000, "PB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    for (unit, name) in UNITS {
        if count >= unit {
            let tenths = count / (unit / 10);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

/// Units, longest first, so that `GiB` is not read as `B`.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Reads `200 GB`, `1.5TB`, `512 MiB` or a plain number of bytes.
///
/// # Errors
/// It is none, or more than can be counted.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("is not an amount such as 200 GB or 512 MiB, value={text:?}");
    let lower = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find(|(unit, _)| lower.ends_with(unit));
    let (number, unit) = match unit {
        Some((name, unit)) => (lower.strip_suffix(name).unwrap_or_default(), *unit),
        None => (lower.as_str(), 1),
    };
    let number = number.trim();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // Six digits behind the point are exact enough for any budget.
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    let part = u128::from(part) * u128::from(unit) / 1_000_000;
    let whole = u128::from(whole) * u128::from(unit);
    u64::try_from(whole + part).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_their_largest_unit() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1999, "1.9 kB"),
            (1_500_000, "1.5 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, amount) in [
            ("0", 0),
            ("5000", 5000),
            ("200 GB", 200_000_000_000),
            ("1.5tb", 1_500_000_000_000),
            ("512 MiB", 512 << 20),
            (" 1 KiB ", 1024),
            ("7 b", 7),
            ("0.000001 MB", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_bytes(text), Ok(amount), "{text}");
        }
        for wrong in [
            "",
            "GB",
            "-1",
            "1 XB",
            "1,5 GB",
            "1.2.3 GB",
            ". GB",
            "1e9",
            "18446744073709551616",
            "99999999999 TB",
            "0.0000001 GB",
        ] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
