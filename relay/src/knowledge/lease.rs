//! Who publishes, as the bucket has it: all relays ask the same object. A lease is of
//! one epoch: whatever begins the next one ends it.

use ginnel_proto::code::Code;
use ginnel_proto::id::DeviceId;
use ginnel_proto::sync::lease::{LEASE_MAX, Lease};
use object_store::path::Path;
use tracing::warn;

use super::Knowledge;
use crate::objects::Etag;
use crate::objects::error::{ErrorKind, Result};
use crate::objects::layout::KnowledgePlace;
use crate::sync::declined::Declined;

/// How often a write is tried against others who write the same lease.
const TRIES: usize = 3;

impl Knowledge {
    /// Gives the lease of an epoch to a device, or renews it.
    pub(super) async fn take_lease(
        &self,
        device: &DeviceId,
        epoch: u64,
    ) -> std::result::Result<Lease, Declined> {
        let key = KnowledgePlace::of(&device.user).lease();
        for _ in 0..TRIES {
            let (now, etag) = self.read_lease(&key).await?;
            // Looked at after the lease: what is written over that is of no later
            // epoch, and ends where another begins meanwhile.
            let (published, _) = self.manifest(&device.user).await?;
            if published.epoch != epoch {
                return Err(another_epoch(published.epoch));
            }
            let taken = Lease::take(now.as_ref(), &device.device, &published, self.now_ms());
            // It is not for ever.
            let taken = taken.map_err(|held| Declined::new(Code::Overloaded, held))?;
            let bytes = serde_json::to_vec(&taken).unwrap_or_default().into();
            let written = match &etag {
                Some(etag) => self.bucket.replace(&key, etag, bytes).await,
                None => self.bucket.create(&key, bytes).await,
            };
            match written {
                Ok(_) => return Ok(taken),
                Err(error) if error.kind() == ErrorKind::Changed => {}
                Err(error) => return Err(error.into()),
            }
        }
        let what = "too many want to publish at once; hint: try again";
        Err(Declined::new(Code::Overloaded, what))
    }

    /// The lease that a device has now, in the epoch that it is now.
    pub(crate) async fn check_lease(
        &self,
        device: &DeviceId,
    ) -> std::result::Result<Lease, Declined> {
        let key = KnowledgePlace::of(&device.user).lease();
        let (lease, _) = self.read_lease(&key).await?;
        let (published, _) = self.manifest(&device.user).await?;
        let own = lease.filter(|lease| lease.device == device.device);
        if let Some(lease) = &own
            && lease.epoch != published.epoch
        {
            return Err(another_epoch(published.epoch));
        }
        let held = own.filter(|it| it.is_held(&device.device, published.epoch, self.now_ms()));
        held.ok_or_else(lost)
    }

    /// Whether a device still has the very lease that it had.
    pub(crate) async fn recheck_lease(
        &self,
        device: &DeviceId,
        had: &Lease,
    ) -> std::result::Result<(), Declined> {
        let now = self.check_lease(device).await?;
        match (now.epoch, now.fence) == (had.epoch, had.fence) {
            true => Ok(()),
            // Another may have published in between.
            false => Err(lost()),
        }
    }

    /// The lease, and the tag of what is there. One that cannot be read is none: the
    /// next one has a higher fence than what is published.
    pub(super) async fn read_lease(&self, key: &Path) -> Result<(Option<Lease>, Option<Etag>)> {
        let small = match self.bucket.read(key, LEASE_MAX).await {
            Err(error) if error.kind() == ErrorKind::Invalid => {
                warn!(%error, "a lease cannot be read, and counts as none");
                let there = self.bucket.head(key).await?;
                return Ok((None, there.map(|there| there.etag)));
            }
            small => small?,
        };
        let Some(small) = small else {
            return Ok((None, None));
        };
        let lease = serde_json::from_slice(&small.bytes);
        let lease = lease.inspect_err(|error| {
            warn!(%key, %error, "a lease cannot be read, and counts as none");
        });
        Ok((lease.ok(), Some(small.etag)))
    }
}

fn another_epoch(epoch: u64) -> Declined {
    let what = format_args!("another epoch began meanwhile, epoch={epoch}; hint: ginnel sync now");
    Declined::new(Code::Conflict, what)
}

fn lost() -> Declined {
    let what = "another device publishes now, or this one took too long; hint: try again";
    Declined::new(Code::Conflict, what)
}
