//! Says in time that the device's certificate ends.
//!
//! Nothing renews it by itself yet: the device has to join again.

use std::time::Duration;

use ginnel_proto::id::DeviceId;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long before the end people are told.
const WARN_BEFORE_MS: u64 = 7 * DAY_MS;

/// How often to look. Timers stand still while a laptop sleeps, so the wall
/// clock decides what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// A device's certificate, as far as its end goes.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    pub(crate) device: DeviceId,
    pub(crate) ends_unix_ms: u64,
}

impl Renewal {
    /// What to do, from some days before the certificate's end on.
    pub(crate) fn warning(&self, now_ms: u64) -> Option<String> {
        if self.ends_unix_ms.saturating_sub(now_ms) > WARN_BEFORE_MS {
            return None;
        }
        let when = end(self.ends_unix_ms, now_ms);
        let DeviceId { user, device } = &self.device;
        Some(format!(
            "the certificate {when}; hint: at the relay run \
             ginnel-relay invite --user {user} --device {device}, then here ginnel join CODE"
        ))
    }

    /// Logs the warning once a day, until `stop`.
    pub(crate) async fn remind(self, stop: CancellationToken) {
        let mut told_ms = None;
        let remind = async {
            loop {
                let now_ms = clock::unix_ms();
                if let Some(warning) = self.warning(now_ms)
                    && is_due(told_ms, now_ms)
                {
                    warn!("{warning}");
                    told_ms = Some(now_ms);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        stop.run_until_cancelled(remind).await;
    }
}

/// Whether a day has passed. A clock that was set back counts too.
fn is_due(told_ms: Option<u64>, now_ms: u64) -> bool {
    told_ms.is_none_or(|told_ms| now_ms.abs_diff(told_ms) >= DAY_MS)
}

/// When a certificate ends, in words.
pub(crate) fn end(ends_unix_ms: u64, now_ms: u64) -> String {
    let Some(left_ms) = ends_unix_ms.checked_sub(now_ms) else {
        return "has ended".to_owned();
    };
    let minutes = left_ms / 60_000;
    match left_ms / DAY_MS {
        0 => format!("ends in {}h {}m", minutes / 60, minutes % 60),
        1 => "ends in 1 day".to_owned(),
        days => format!("ends in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn the_last_week_is_told_with_what_to_do() {
        let device = "alice/laptop".parse().expect("valid");
        let ends_unix_ms = NOW;
        let renewal = Renewal {
            device,
            ends_unix_ms,
        };
        assert_eq!(renewal.warning(NOW - 7 * DAY_MS - 1), None);
        assert_eq!(renewal.warning(0), None);
        for (now_ms, when) in [
            (NOW - 7 * DAY_MS, "ends in 7 days"),
            (NOW - 1, "ends in 0h 0m"),
            (NOW + 1, "has ended"),
            (u64::MAX, "has ended"),
        ] {
            let expected = format!(
                "the certificate {when}; hint: at the relay run ginnel-relay invite \
                 --user alice --device laptop, then here ginnel join CODE"
            );
            assert_eq!(renewal.warning(now_ms), Some(expected));
        }
    }

    #[test]
    fn it_is_told_once_a_day() {
        assert!(is_due(None, NOW));
        assert!(!is_due(Some(NOW), NOW));
        assert!(!is_due(Some(NOW), NOW + DAY_MS - 1));
        assert!(is_due(Some(NOW), NOW + DAY_MS));
        assert!(is_due(Some(NOW), NOW - DAY_MS));
    }

    #[test]
    fn ends_are_short() {
        for (left_ms, text) in [
            (3_600_000, "ends in 1h 0m"),
            (DAY_MS - 1, "ends in 23h 59m"),
            (DAY_MS, "ends in 1 day"),
            (29 * DAY_MS, "ends in 29 days"),
        ] {
            assert_eq!(end(NOW + left_ms, NOW), text);
        }
        assert_eq!(end(0, 1), "has ended");
    }
}
