//! When artifacts may travel: a time of the day, such as the night.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Time;

/// Seconds of a day; one with a clock change has others, and is looked at
/// again when it is over.
const DAY: u32 = 24 * 3600;

/// From one time of the day to another, over midnight if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// In seconds since midnight.
    begin: u32,
    end: u32,
}

impl Schedule {
    /// Whether artifacts may travel at this time of the day.
    #[must_use]
    pub fn allows(&self, now: Time) -> bool {
        let now = seconds(now);
        if self.begin <= self.end {
            (self.begin..self.end).contains(&now)
        } else {
            now >= self.begin || now < self.end
        }
    }

    /// How long until that is otherwise.
    #[must_use]
    pub fn changes_in(&self, now: Time) -> Duration {
        let next = if self.allows(now) {
            self.end
        } else {
            self.begin
        };
        let wait = (next + DAY - seconds(now)) % DAY;
        // At the very moment it is a day.
        Duration::from_secs(u64::from(if wait == 0 { DAY } else { wait }))
    }
}

/// The time of the day here, as the system's time zone has it.
#[must_use]
pub fn now() -> Time {
    jiff::Zoned::now().time()
}

fn seconds(time: Time) -> u32 {
    let part = |number: i8| u32::try_from(number).unwrap_or_default();
    part(time.hour()) * 3600 + part(time.minute()) * 60 + part(time.second())
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("is no time such as 22:00-06:30, value={text:?}");
        let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
        let schedule = Self {
            begin: time_of_day(begin).ok_or_else(wrong)?,
            end: time_of_day(end).ok_or_else(wrong)?,
        };
        if schedule.begin == schedule.end {
            return Err(format!("begins when it ends, value={text:?}"));
        }
        Ok(schedule)
    }
}

/// `22:00`, in seconds since midnight.
fn time_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: u32| (seconds / 3600, seconds % 3600 / 60);
        let ((begin, and), (end, too)) = (time(self.begin), time(self.end));
        write!(f, "{begin:02}:{and:02}-{end:02}:{too:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i8, minute: i8) -> Time {
        Time::constant(hour, minute, 0, 0)
    }

    #[test]
    fn a_night_goes_over_midnight() {
        let night: Schedule = "22:00-06:30".parse().expect("a time");
        assert_eq!(night.to_string(), "22:00-06:30");
        for (hour, minute, allowed, hours) in [
            (21, 30, false, 0.5),
            (22, 0, true, 8.5),
            (0, 0, true, 6.5),
            (6, 0, true, 0.5),
            (6, 30, false, 15.5),
            (12, 0, false, 10.0),
        ] {
            let now = at(hour, minute);
            assert_eq!(night.allows(now), allowed, "{now}");
            assert_eq!(night.changes_in(now).as_secs_f64(), hours * 3600.0, "{now}");
        }
    }

    #[test]
    fn an_afternoon_does_not() {
        let afternoon: Schedule = "13:00 - 17:00".parse().expect("a time");
        assert!(afternoon.allows(at(13, 0)) && afternoon.allows(at(16, 59)));
        assert!(!afternoon.allows(at(12, 59)) && !afternoon.allows(at(17, 0)));
        assert!(!afternoon.allows(at(0, 0)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "22:00",
            "22-06",
            "24:00-06:00",
            "22:60-06:00",
            "9:00-10:00",
            "22:00-22:00",
            "22:00-06:00-07:00",
            "+2:00-06:00",
            "२२:00-06:00",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
