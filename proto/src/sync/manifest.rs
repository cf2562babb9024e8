//! What is published of a user's knowledge, and in which epoch its devices
//! write.

use std::collections::BTreeMap;

use ginnel_blob::hash::Hash;
use serde::{Deserialize, Serialize};

use crate::id::DeviceName;

/// The longest manifest, in bytes: the longest names of 300 devices.
pub const MANIFEST_MAX: usize = 64 << 10;

/// The first epoch.
pub const FIRST_EPOCH: u64 = 1;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// In which epoch devices write. A restore begins the next one.
    pub epoch: u64,
    /// What a new device begins with; nothing if it reads all logs.
    pub snapshot: Option<Snapshot>,
    /// The lease under which it was written.
    #[serde(default)]
    pub fence: u64,
    /// When, milliseconds since 1970 by the relay's clock.
    pub unix_ms: u64,
}

/// All rows up to certain batches, as one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// BLAKE3 of the database.
    pub blob: Hash,
    /// In bytes.
    pub size: u64,
    /// The bucket's tag for it.
    pub etag: String,
    /// The schema's major version.
    pub schema: u8,
    /// The last batch of each device that is in it.
    pub read: BTreeMap<DeviceName, u64>,
}

impl Manifest {
    /// Where nothing was published yet.
    #[must_use]
    pub fn first() -> Self {
        Self {
            epoch: FIRST_EPOCH,
            snapshot: None,
            fence: 0,
            unix_ms: 0,
        }
    }

    /// The manifest after a snapshot was published under a lease.
    ///
    /// # Errors
    /// It is of another epoch, or older than what is published.
    pub fn publish(
        &self,
        epoch: u64,
        snapshot: Snapshot,
        fence: u64,
        now_ms: u64,
    ) -> Result<Self, Outdated> {
        if epoch != self.epoch || fence < self.fence {
            return Err(Outdated { epoch: self.epoch });
        }
        Ok(Self {
            epoch,
            snapshot: Some(snapshot),
            fence,
            unix_ms: now_ms,
        })
    }
}

/// What was to be published is older than what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("something newer was published meanwhile, epoch={epoch}")]
pub struct Outdated {
    /// The epoch now.
    pub epoch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(size: u64) -> Snapshot {
        Snapshot {
            blob: Hash::of(b"all"),
            size,
            etag: "\"e\"".into(),
            schema: 1,
            read: BTreeMap::from([("desk".parse().expect("a name"), 7)]),
        }
    }

    #[test]
    fn only_what_is_newer_is_published() {
        let first = Manifest::first();
        let second = first.publish(1, snapshot(1), 5, 100).expect("newer");
        assert_eq!(second.fence, 5);
        let third = second
            .publish(1, snapshot(2), 5, 200)
            .expect("the same lease");
        assert_eq!(third.snapshot.as_ref().map(|it| it.size), Some(2));
        // Who lost the lease meanwhile, or has not heard of a restore.
        assert!(third.publish(1, snapshot(1), 4, 300).is_err());
        assert!(third.publish(2, snapshot(1), 9, 300).is_err());
    }

    #[test]
    fn a_manifest_is_json_for_people_too() {
        let manifest = Manifest::first().publish(1, snapshot(1), 5, 100);
        let text = serde_json::to_string(&manifest.expect("newer")).expect("JSON");
        assert!(text.contains(r#""read":{"desk":7}"#), "{text}");
        let read: Manifest = serde_json::from_str(&text).expect("read back");
        assert_eq!(read.snapshot, Some(snapshot(1)));
    }
}
