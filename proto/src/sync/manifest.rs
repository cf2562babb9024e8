//! What is published of a user's knowledge, and in which epoch its devices
//! write.

use std::collections::BTreeMap;

use ginnel_blob::hash::Hash;
use serde::{Deserialize, Serialize};

use super::hlc::MILLIS_MAX;
use super::seal::KeyId;
use crate::artifact::Cover;
use crate::id::DeviceName;

/// The longest manifest, in bytes: the longest names of 300 devices.
pub const MANIFEST_MAX: usize = 64 << 10;

/// The first epoch.
pub const FIRST_EPOCH: u64 = 1;

/// Epochs of before whose beginnings are remembered. A person begins each, and only
/// those of the last week can be restored.
const BEFORE_MAX: usize = 64;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// In which epoch devices write. A restore begins the next one.
    pub epoch: u64,
    /// What a new device begins with; nothing if it reads all logs.
    pub snapshot: Option<Snapshot>,
    /// After a restore: what else belongs to it, until a device publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The last time that all was erased, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Erased>,
    /// When it was last changed whether all is encrypted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<Covered>,
    /// When the epoch began, milliseconds since 1970 by the relay's clock.
    #[serde(default)]
    pub began_unix_ms: u64,
    /// When the epochs before it began, in their order: the last 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Began>,
    /// The lease under which it was written.
    #[serde(default)]
    pub fence: u64,
    /// When, milliseconds since 1970 by the relay's clock.
    pub unix_ms: u64,
}

/// When an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// Which.
    pub epoch: u64,
    /// When, milliseconds since 1970 by the relay's clock.
    pub unix_ms: u64,
}

/// That all was erased. It stays said, for devices that come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The epoch that began with it: what a device has of one before goes.
    pub epoch: u64,
    /// When, milliseconds since 1970 by the relay's clock.
    pub unix_ms: u64,
}

/// Since when all is encrypted, or not any more. What was written before goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// The epoch that began with it.
    pub epoch: u64,
    /// With which key; without one nothing is encrypted any more.
    pub key: Option<KeyId>,
}

/// Batches of an epoch before that belong to what was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Which epoch.
    pub epoch: u64,
    /// The last batch of each device that is in the snapshot already.
    pub read: BTreeMap<DeviceName, u64>,
    /// Rows that were changed later do not count, milliseconds since 1970.
    pub until_unix_ms: u64,
    /// With which key they are encrypted, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

/// A snapshot that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of which epoch.
    pub epoch: u64,
    /// What it is.
    pub snapshot: Snapshot,
    /// When it was published, milliseconds since 1970 by the relay's clock.
    pub unix_ms: u64,
    /// Which device published it.
    pub device: DeviceName,
    /// What identifies its chunk index.
    pub index: Hash,
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
    /// With which key it is encrypted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

impl Snapshot {
    /// As what it is published.
    #[must_use]
    pub fn cover(&self) -> Cover {
        match self.key {
            Some(_) => Cover::Sealed,
            None => Cover::Plain,
        }
    }
}

impl Snapshot {
    /// Whether it has every batch that another one has, in a schema that is no older.
    fn has_all_of(&self, other: &Self) -> bool {
        let has_all = other.read.iter().all(|(device, sequence)| {
            let read = self.read.get(device).copied().unwrap_or_default();
            read >= *sequence
        });
        has_all && self.schema >= other.schema
    }
}

impl Manifest {
    /// Where nothing was published yet.
    #[must_use]
    pub fn first() -> Self {
        Self {
            epoch: FIRST_EPOCH,
            snapshot: None,
            base: None,
            erased: None,
            covered: None,
            began_unix_ms: 0,
            before: Vec::new(),
            fence: 0,
            unix_ms: 0,
        }
    }

    /// The manifest of the epoch that a restore begins: the snapshot, which has
    /// the tag `etag` now, and what was changed after it and until then.
    #[must_use]
    pub fn restore(&self, kept: &Kept, etag: String, until_unix_ms: u64, now_ms: u64) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            snapshot: Some(Snapshot {
                etag,
                read: BTreeMap::new(),
                ..kept.snapshot.clone()
            }),
            base: Some(Base {
                epoch: kept.epoch,
                read: kept.snapshot.read.clone(),
                until_unix_ms,
                key: kept.snapshot.key,
            }),
            erased: self.erased,
            covered: self.covered,
            began_unix_ms: now_ms,
            before: self.and_before(),
            // Who publishes now is of the epoch before, and refused for that.
            fence: self.fence,
            unix_ms: now_ms,
        }
    }

    /// The manifest after all was erased.
    #[must_use]
    pub fn erase(&self, now_ms: u64) -> Self {
        let epoch = self.epoch.saturating_add(1);
        Self {
            epoch,
            snapshot: None,
            base: None,
            erased: Some(Erased {
                epoch,
                unix_ms: now_ms,
            }),
            covered: self.covered,
            began_unix_ms: now_ms,
            before: self.and_before(),
            fence: self.fence,
            unix_ms: now_ms,
        }
    }

    /// The manifest of the epoch in which all is encrypted with the snapshot's key,
    /// or, if it has none, nothing is any more. What was written to the logs after
    /// the snapshot belongs to it, too.
    ///
    /// # Errors
    /// The snapshot is of another epoch, or older than what is published.
    pub fn cover(
        &self,
        epoch: u64,
        snapshot: Snapshot,
        fence: u64,
        now_ms: u64,
    ) -> Result<Self, Outdated> {
        if epoch != self.epoch || fence < self.fence {
            return Err(Outdated { epoch: self.epoch });
        }
        let next = self.epoch.saturating_add(1);
        Ok(Self {
            epoch: next,
            base: Some(Base {
                epoch,
                read: snapshot.read.clone(),
                // All of them: nobody writes there any more.
                until_unix_ms: MILLIS_MAX,
                key: self.key(),
            }),
            covered: Some(Covered {
                epoch: next,
                key: snapshot.key,
            }),
            snapshot: Some(Snapshot {
                read: BTreeMap::new(),
                ..snapshot
            }),
            erased: self.erased,
            began_unix_ms: now_ms,
            before: self.and_before(),
            fence,
            unix_ms: now_ms,
        })
    }

    /// Which epoch it was at a time; `None` if it is not known any more.
    #[must_use]
    pub fn epoch_at(&self, unix_ms: u64) -> Option<Began> {
        let now = self.now();
        let mut known = self.before.iter().chain([&now]).rev();
        known.find(|began| began.unix_ms <= unix_ms).copied()
    }

    fn and_before(&self) -> Vec<Began> {
        let mut before = self.before.clone();
        before.push(self.now());
        let long_ago = before.len().saturating_sub(BEFORE_MAX);
        before.split_off(long_ago)
    }

    fn now(&self) -> Began {
        Began {
            epoch: self.epoch,
            unix_ms: self.began_unix_ms,
        }
    }

    /// With which key all is encrypted, if it is.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.covered.and_then(|covered| covered.key)
    }

    /// Whether what was kept in this epoch is covered otherwise than now, and goes.
    #[must_use]
    pub fn uncovers(&self, epoch: u64) -> bool {
        self.covered.is_some_and(|covered| epoch < covered.epoch)
    }

    /// Whether all that a device has of this epoch is to go.
    #[must_use]
    pub fn erases(&self, epoch: u64) -> bool {
        self.erased.is_some_and(|erased| epoch < erased.epoch)
    }

    /// The manifest after a snapshot was published under a lease.
    ///
    /// # Errors
    /// It is of another epoch, older than what is published, lacks batches that are in
    /// that, or is not encrypted like all else.
    pub fn publish(
        &self,
        epoch: u64,
        snapshot: Snapshot,
        fence: u64,
        now_ms: u64,
    ) -> Result<Self, Outdated> {
        let is_of_now = epoch == self.epoch && fence >= self.fence && snapshot.key == self.key();
        let has_all = |now: &Snapshot| snapshot.has_all_of(now);
        if !is_of_now || !self.snapshot.as_ref().is_none_or(has_all) {
            return Err(Outdated { epoch: self.epoch });
        }
        Ok(Self {
            epoch,
            snapshot: Some(snapshot),
            base: None,
            erased: self.erased,
            covered: self.covered,
            began_unix_ms: self.began_unix_ms,
            before: self.before.clone(),
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
            key: None,
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
        // Who could not read all that is in it, or is of an older version.
        let mut less = snapshot(3);
        less.read = BTreeMap::from([("desk".parse().expect("a name"), 6)]);
        assert!(third.publish(1, less, 9, 300).is_err());
        let mut newer = snapshot(3);
        newer.schema = 2;
        let fourth = third.publish(1, newer, 9, 300).expect("newer");
        assert!(fourth.publish(1, snapshot(3), 9, 400).is_err());
    }

    #[test]
    fn a_restore_begins_an_epoch() {
        let published = Manifest::first().publish(1, snapshot(1), 5, 100);
        let kept = Kept {
            epoch: 1,
            snapshot: snapshot(9),
            unix_ms: 50,
            device: "desk".parse().expect("a name"),
            index: Hash::of(b"index"),
        };
        let restored = published
            .expect("newer")
            .restore(&kept, "\"new\"".into(), 70, 200);
        assert_eq!((restored.epoch, restored.began_unix_ms), (2, 200));
        let now = restored.snapshot.as_ref().expect("a snapshot");
        assert_eq!((&*now.etag, now.size, now.read.len()), ("\"new\"", 9, 0));
        let base = restored.base.as_ref().expect("a base");
        assert_eq!(
            (base.epoch, base.until_unix_ms, base.read.len()),
            (1, 70, 1)
        );
        // What is erased stays erased, for those who come later.
        let erased = restored.erase(250);
        assert_eq!((erased.epoch, &erased.snapshot), (3, &None));
        assert!(erased.erases(2) && !erased.erases(3));
        let later = erased
            .publish(3, snapshot(1), 9, 260)
            .expect("in the epoch");
        assert!(later.erases(2));
        // Who publishes next needs no base; who has not heard of it cannot.
        assert!(restored.publish(1, snapshot(2), 9, 300).is_err());
        let next = restored
            .publish(2, snapshot(2), 9, 300)
            .expect("in the epoch");
        assert_eq!(next.base, None);
    }

    #[test]
    fn it_is_known_which_epoch_it_was() {
        let mut manifest = Manifest::first();
        for at in [100, 200] {
            manifest = manifest.erase(at);
        }
        let published = manifest.publish(3, snapshot(1), 5, 250).expect("newer");
        for (at, epoch) in [(0, 1), (99, 1), (100, 2), (199, 2), (200, 3), (999, 3)] {
            let found = published.epoch_at(at).map(|began| began.epoch);
            assert_eq!(found, Some(epoch), "{at}");
        }
        // Of very many, the latest.
        for at in 3..200 {
            manifest = manifest.erase(at * 100);
        }
        assert_eq!(manifest.epoch_at(0), None);
        assert_eq!(manifest.before.len(), BEFORE_MAX);
        let last = manifest.epoch_at(19_850).map(|began| began.epoch);
        assert_eq!(last, Some(manifest.epoch - 1));
        // One that does not say it knows only its own.
        let text = r#"{"epoch":2,"snapshot":null,"began_unix_ms":100,"fence":0,"unix_ms":100}"#;
        let read: Manifest = serde_json::from_str(text).expect("read");
        assert_eq!(read.epoch_at(99), None);
        assert_eq!(read.epoch_at(100).map(|began| began.epoch), Some(2));
    }

    #[test]
    fn a_cover_begins_an_epoch_and_stays() {
        let key = Some(KeyId([7; 8]));
        let sealed = |size| Snapshot {
            key,
            ..snapshot(size)
        };
        let plain = Manifest::first().publish(1, snapshot(1), 5, 100);
        let plain = plain.expect("newer");
        // Only while nothing else happened.
        assert!(plain.cover(1, sealed(2), 4, 150).is_err());
        assert!(plain.cover(2, sealed(2), 6, 150).is_err());
        let covered = plain.cover(1, sealed(2), 6, 150).expect("covered");
        assert_eq!((covered.epoch, covered.key()), (2, key));
        assert!(covered.uncovers(1) && !covered.uncovers(2));
        let now = covered.snapshot.as_ref().expect("a snapshot");
        assert_eq!((now.cover(), now.read.len()), (Cover::Sealed, 0));
        let base = covered.base.as_ref().expect("a base");
        assert_eq!((base.epoch, base.key, base.read.len()), (1, None, 1));
        // Nothing plain is published any more, nor after a restore or erasing all.
        assert!(covered.publish(2, snapshot(3), 7, 200).is_err());
        let next = covered.publish(2, sealed(3), 7, 200).expect("sealed");
        assert_eq!(next.key(), key);
        assert_eq!(next.erase(300).key(), key);
        let kept = Kept {
            epoch: 2,
            snapshot: sealed(3),
            unix_ms: 200,
            device: "desk".parse().expect("a name"),
            index: Hash::of(b"index"),
        };
        let restored = next.restore(&kept, "\"new\"".into(), 250, 400);
        assert_eq!(restored.key(), key);
        assert_eq!(restored.base.as_ref().and_then(|base| base.key), key);
        // It can be undone, or be another key.
        let uncovered = next.cover(2, snapshot(4), 8, 500).expect("plain");
        assert_eq!((uncovered.epoch, uncovered.key()), (3, None));
        assert_eq!(uncovered.base.as_ref().and_then(|base| base.key), key);
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
