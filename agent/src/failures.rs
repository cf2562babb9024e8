//! Tells the owner which services fail, without filling the log.
//!
//! Callers only learn that the service failed, and not why: what stands where
//! on this machine is not their business. So the log has to say it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ginnel_proto::code::Code;
use ginnel_proto::id::ServiceName;
use tokio::time::Instant;
use tracing::warn;

/// The same failure of the same service is not told again for so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Most failures remembered: more than all services of a full list have in a
/// minute. Beyond it nothing new is told.
const REMEMBERED_MAX: usize = 1024;

/// What was told in the last minute.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    told: Mutex<HashMap<(ServiceName, Code), Instant>>,
}

impl Failures {
    /// Warns if the failure is the service's, and news.
    pub(crate) fn tell(&self, service: &ServiceName, code: Code, reason: &str) {
        if is_of_service(code) && self.is_due(service, code, Instant::now()) {
            warn!(%service, %code, reason, "service failed; told once a minute");
        }
    }

    fn is_due(&self, service: &ServiceName, code: Code, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < TELL_EVERY;
        let key = (service.clone(), code);
        if told.get(&key).is_some_and(is_recent) {
            return false;
        }
        told.retain(|_, at| is_recent(at));
        if told.len() >= REMEMBERED_MAX {
            return false;
        }
        told.insert(key, now);
        true
    }
}

/// Whether the service is to blame, and neither the caller nor the link.
fn is_of_service(code: Code) -> bool {
    const ITS_OWN: [Code; 3] = [
        Code::ServiceUnreachable,
        Code::ConnectTimeout,
        Code::ServiceFailed,
    ];
    ITS_OWN.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_told_once_a_minute() {
        let failures = Failures::default();
        let start = Instant::now();
        let due = |name: &str, code, seconds| {
            failures.is_due(&service(name), code, start + Duration::from_secs(seconds))
        };
        assert!(due("web", Code::ServiceUnreachable, 0));
        assert!(!due("web", Code::ServiceUnreachable, 1));
        assert!(due("web", Code::ServiceFailed, 1));
        assert!(due("api", Code::ServiceUnreachable, 1));
        assert!(!due("web", Code::ServiceUnreachable, 59));
        assert!(due("web", Code::ServiceUnreachable, 60));
        assert!(!due("web", Code::ServiceFailed, 60));
    }

    #[test]
    fn no_more_is_remembered_than_a_minute_and_a_limit() {
        let failures = Failures::default();
        let start = Instant::now();
        let remembered = || failures.told.lock().expect("whole").len();
        for n in 0..2 * REMEMBERED_MAX {
            let due = failures.is_due(&service(&format!("s{n}")), Code::ServiceFailed, start);
            assert_eq!(due, n < REMEMBERED_MAX, "{n}");
        }
        assert_eq!(remembered(), REMEMBERED_MAX);
        let later = start + TELL_EVERY;
        assert!(failures.is_due(&service("web"), Code::ServiceFailed, later));
        assert_eq!(remembered(), 1);
    }

    #[test]
    fn callers_and_links_are_no_failure_of_a_service() {
        for code in [Code::Cancelled, Code::LinkLost, Code::BadRequest] {
            assert!(!is_of_service(code), "{code}");
        }
    }

    fn service(name: &str) -> ServiceName {
        ServiceName::parse(name).expect("valid")
    }
}
