//! Who publishes: one device at a time, for as long as it says so, and no longer
//! than the epoch that it knows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use crate::id::DeviceName;

/// How long a lease holds unless it is renewed: as long as it takes to write
/// the largest changes into a database and push them, unless that is renewed
/// meanwhile.
pub const LEASE_FOR: Duration = Duration::from_secs(120);

/// How often a lease is renewed while it is used.
pub const RENEW_EVERY: Duration = Duration::from_secs(30);

/// The longest lease, in bytes.
pub const LEASE_MAX: usize = 4 << 10;

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The device.
    pub device: DeviceName,
    /// In which epoch. Whatever begins another one ends the lease: who has not
    /// heard of it would publish what was restored away or erased.
    #[serde(default)]
    pub epoch: u64,
    /// Grows with each device that takes it, and with each time anew.
    pub fence: u64,
    /// Until when others wait, milliseconds since 1970 by the relay's clock.
    pub expires_unix_ms: u64,
}

impl Lease {
    /// The lease after `device` takes or renews it, in the epoch of what is
    /// published. Who still has it keeps its fence; after it has run out the fence
    /// grows, for another may have had it.
    ///
    /// # Errors
    /// Another device has it.
    pub fn take(
        now: Option<&Self>,
        device: &DeviceName,
        published: &Manifest,
        now_ms: u64,
    ) -> Result<Self, Held> {
        let holds = now.filter(|lease| lease.holds(published.epoch, now_ms));
        // Also above what was published under a lease that is lost, or by a relay
        // whose clock is ahead.
        let least = published.fence.saturating_add(1);
        let fence = match (holds, now) {
            (Some(lease), _) if lease.device == *device => lease.fence,
            (Some(lease), _) => {
                let left_ms = lease.expires_unix_ms.saturating_sub(now_ms);
                return Err(Held {
                    device: lease.device.clone(),
                    seconds: left_ms.div_ceil(1000),
                });
            }
            (None, Some(lease)) => lease.fence.saturating_add(1).max(least),
            // From the clock, for there may have been leases that are gone.
            (None, None) => now_ms.max(least),
        };
        let lasts = u64::try_from(LEASE_FOR.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            device: device.clone(),
            epoch: published.epoch,
            fence,
            expires_unix_ms: now_ms.saturating_add(lasts),
        })
    }

    /// Whether a device may publish now, in this epoch.
    #[must_use]
    pub fn is_held(&self, device: &DeviceName, epoch: u64, now_ms: u64) -> bool {
        self.device == *device && self.holds(epoch, now_ms)
    }

    fn holds(&self, epoch: u64, now_ms: u64) -> bool {
        self.epoch == epoch && now_ms < self.expires_unix_ms
    }
}

/// Another device has the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device {device} publishes now; hint: try again in {seconds} s")]
pub struct Held {
    /// Which.
    pub device: DeviceName,
    /// For how long.
    pub seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn name(name: &str) -> DeviceName {
        name.parse().expect("a name")
    }

    fn take(now: Option<&Lease>, device: &DeviceName, now_ms: u64) -> Result<Lease, Held> {
        Lease::take(now, device, &Manifest::first(), now_ms)
    }

    #[test]
    fn one_device_at_a_time_has_it() {
        let (desk, lap) = (name("desk"), name("lap"));
        let first = take(None, &desk, NOW).expect("free");
        assert!(first.is_held(&desk, 1, NOW));
        let held = take(Some(&first), &lap, NOW + 1).expect_err("taken");
        assert_eq!((held.device, held.seconds), (desk.clone(), 120));
        // Renewed, it lasts longer, and is the same.
        let again = take(Some(&first), &desk, NOW + 60_000).expect("its own");
        assert_eq!(again.fence, first.fence);
        assert!(again.is_held(&desk, 1, NOW + 179_999));
        assert!(take(Some(&again), &lap, NOW + 179_999).is_err());
        // Then it is free, and who had it has lost it for good.
        let taken = take(Some(&again), &lap, NOW + 180_000).expect("free");
        assert!(taken.fence > first.fence);
        assert!(!taken.is_held(&desk, 1, NOW + 180_000));
        assert!(!again.is_held(&desk, 1, NOW + 180_000));
        let back = take(Some(&taken), &desk, NOW + 300_000).expect("free");
        assert!(back.fence > taken.fence);
    }

    #[test]
    fn who_comes_back_after_it_ran_out_has_another() {
        let desk = name("desk");
        let first = take(None, &desk, NOW).expect("free");
        let second = take(Some(&first), &desk, NOW + 120_000).expect("free");
        assert!(second.fence > first.fence);
    }

    #[test]
    fn an_epoch_that_begins_ends_the_lease_of_the_one_before() {
        let (desk, lap) = (name("desk"), name("lap"));
        let first = take(None, &desk, NOW).expect("free");
        let erased = Manifest::first().erase(NOW + 1);
        assert!(!first.is_held(&desk, erased.epoch, NOW + 1));
        // Another need not wait for it to run out, and has a higher one.
        let second = Lease::take(Some(&first), &lap, &erased, NOW + 1).expect("free");
        assert!(second.fence > first.fence);
        assert!(second.is_held(&lap, 2, NOW + 1) && !second.is_held(&lap, 1, NOW + 1));
        // Nor does it keep its own over it.
        let again = Lease::take(Some(&first), &desk, &erased, NOW + 1).expect("free");
        assert!(again.fence > first.fence);
    }

    #[test]
    fn a_lease_that_is_lost_is_followed_by_a_higher_one() {
        let desk = name("desk");
        let published = Manifest {
            fence: NOW + 5_000,
            ..Manifest::first()
        };
        let taken = Lease::take(None, &desk, &published, NOW).expect("free");
        assert!(taken.fence > published.fence);
    }

    #[test]
    fn a_lease_of_no_epoch_is_of_none() {
        let text = r#"{"device":"desk","fence":7,"expires_unix_ms":99999999}"#;
        let lease: Lease = serde_json::from_str(text).expect("read");
        assert!(!lease.is_held(&name("desk"), 1, NOW));
    }
}
