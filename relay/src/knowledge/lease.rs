//! Who publishes, as the bucket has it: all relays ask the same object.

use ginnel_proto::code::Code;
use ginnel_proto::id::DeviceId;
use ginnel_proto::sync::lease::{LEASE_MAX, Lease};

use super::Knowledge;
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::KnowledgePlace;
use crate::objects::{Etag, Small};
use crate::sync::declined::Declined;

/// How often a write is tried against others who write the same lease.
const TRIES: usize = 3;

impl Knowledge {
    /// Gives the lease to a device, or renews it.
    pub(super) async fn take_lease(
        &self,
        device: &DeviceId,
    ) -> std::result::Result<Lease, Declined> {
        let key = KnowledgePlace::of(&device.user).lease();
        for _ in 0..TRIES {
            let now = self.read_lease(&key).await?;
            let lease = now.as_ref().map(|(lease, _)| lease);
            let taken = Lease::take(lease, &device.device, self.now_ms());
            // It is not for ever.
            let taken = taken.map_err(|held| Declined::new(Code::Overloaded, held))?;
            let bytes = serde_json::to_vec(&taken).unwrap_or_default().into();
            let written = match &now {
                Some((_, etag)) => self.bucket.replace(&key, etag, bytes).await,
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

    /// Whether a device has the lease now, and with which fence.
    pub(crate) async fn check_lease(
        &self,
        device: &DeviceId,
    ) -> std::result::Result<u64, Declined> {
        let key = KnowledgePlace::of(&device.user).lease();
        let now = self.read_lease(&key).await?;
        let now = now.map(|(lease, _)| lease);
        let held = now.filter(|it| it.is_held(&device.device, it.fence, self.now_ms()));
        held.map(|lease| lease.fence).ok_or_else(|| {
            let what = "another device publishes now, or this one took too long; hint: try again";
            Declined::new(Code::Conflict, what)
        })
    }

    async fn read_lease(&self, key: &object_store::path::Path) -> Result<Option<(Lease, Etag)>> {
        let Some(Small { bytes, etag }) = self.bucket.read(key, LEASE_MAX).await? else {
            return Ok(None);
        };
        let lease = serde_json::from_slice(&bytes).map_err(|error| {
            let what = format_args!("lease cannot be read, reason={error}");
            Error::new(ErrorKind::Invalid, what, key)
        })?;
        Ok(Some((lease, etag)))
    }
}
