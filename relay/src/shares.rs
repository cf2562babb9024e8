//! How a device's streams are shared out among its services, so that callers
//! of one cannot take the room of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ginnel_proto::id::ServiceName;
use ginnel_proto::limits::STREAMS_MAX;

/// A service may have this many times as many streams as are still free. Alone
/// it gets three quarters of all; another then gets three quarters of the rest,
/// and so on, and there is always room for one more (dynamic thresholds:
/// Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
const TIMES_FREE: u32 = 3;

/// The streams in use of one link. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    in_use: Arc<Mutex<BTreeMap<ServiceName, u32>>>,
}

/// A stream's place, until dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    service: ServiceName,
}

impl Shares {
    /// A place for one more stream to a service, unless it has too many.
    #[must_use]
    pub fn take(&self, service: &ServiceName) -> Option<Share> {
        let mut in_use = self.lock();
        let all: u32 = in_use.values().sum();
        let free = STREAMS_MAX.saturating_sub(all);
        let own = in_use.get(service).copied().unwrap_or_default();
        if own >= free.saturating_mul(TIMES_FREE) {
            return None;
        }
        in_use.insert(service.clone(), own + 1);
        Some(Share {
            shares: self.clone(),
            service: service.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, u32>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut in_use = self.shares.lock();
        if let Some(own) = in_use.get_mut(&self.service) {
            *own -= 1;
            if *own == 0 {
                in_use.remove(&self.service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ServiceName {
        ServiceName::parse(name).expect("valid")
    }

    fn take_all(shares: &Shares, service: &ServiceName) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(service)).collect()
    }

    #[test]
    fn each_service_leaves_room_for_the_next() {
        let shares = Shares::default();
        let first = take_all(&shares, &name("first"));
        assert_eq!(first.len(), 3072);
        let second = take_all(&shares, &name("second"));
        assert_eq!(second.len(), 768);
        let more: Vec<_> = (0..4)
            .map(|number| take_all(&shares, &name(&number.to_string())))
            .collect();
        assert!(more.iter().all(|shares| !shares.is_empty()));
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let shares = Shares::default();
        let mut all = take_all(&shares, &name("web"));
        assert!(shares.take(&name("web")).is_none());
        all.pop();
        assert!(shares.take(&name("web")).is_some());
        drop(all);
        assert!(shares.lock().is_empty());
    }
}
