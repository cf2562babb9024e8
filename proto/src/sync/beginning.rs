//! With what a device goes on once logs were listed: the logs alone, or what is
//! published before them.

use std::collections::BTreeMap;

use super::listing::Logs;
use super::manifest::{FIRST_EPOCH, Manifest};
use crate::id::DeviceName;

/// What a device knows so far.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// In which epoch; `None` before the first.
    pub epoch: Option<u64>,
    /// The last batch of each log that it has read.
    pub read: BTreeMap<DeviceName, u64>,
    /// Batches that it left out.
    pub left_out: Vec<(DeviceName, u64)>,
    /// Others do not wait for it any more, and may have forgotten what it did not
    /// hear of.
    pub is_silent: bool,
}

/// With what it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With the logs.
    Logs,
    /// With nothing: all that it has was erased.
    Erased,
    /// With what is published, instead of what it has.
    Anew,
    /// With what is published, beside what it has.
    Beside {
        /// The logs do not reach back to where it is. Otherwise it is only faster.
        is_needed: bool,
    },
}

impl Known {
    /// What to begin with, where this is listed and published, both in the same epoch.
    #[must_use]
    pub fn begin(&self, listed: &Logs, manifest: &Manifest) -> Beginning {
        let is_of_before = self.epoch.is_some_and(|known| known != listed.epoch);
        if self.epoch.is_some_and(|known| manifest.erases(known)) {
            return Beginning::Erased;
        }
        if is_of_before {
            return Beginning::Anew;
        }
        let Some(snapshot) = &manifest.snapshot else {
            return Beginning::Logs;
        };
        // A restore or another key began the epoch, with a snapshot.
        let is_restored = self.epoch.is_none() && listed.epoch > FIRST_EPOCH;
        if is_restored || self.is_silent {
            return Beginning::Anew;
        }
        let lacking = || {
            let all = snapshot.read.iter();
            all.filter(|(device, last)| **last > self.read(device))
        };
        let is_needed = lacking().any(|(device, _)| {
            let log = listed.logs.get(device);
            log.and_then(|log| log.first()) != Some(&(self.read(device) + 1))
        });
        let is_new = self.read.values().all(|sequence| *sequence == 0);
        let is_faster = is_new && lacking().next().is_some();
        let has_left_out = self.left_out.iter().any(|(device, sequence)| {
            let published = snapshot.read.get(device);
            published.is_some_and(|published| sequence <= published)
        });
        match is_needed || is_faster || has_left_out {
            true => Beginning::Beside { is_needed },
            false => Beginning::Logs,
        }
    }

    fn read(&self, device: &DeviceName) -> u64 {
        self.read.get(device).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ginnel_blob::hash::Hash;

    use super::super::manifest::{Erased, Snapshot};
    use super::*;

    const NEEDED: Beginning = Beginning::Beside { is_needed: true };
    const FASTER: Beginning = Beginning::Beside { is_needed: false };

    fn desk() -> DeviceName {
        "desk".parse().expect("a name")
    }

    fn listed(epoch: u64, desk_has: &[u64]) -> Logs {
        Logs {
            epoch,
            key: None,
            logs: BTreeMap::from([(desk(), desk_has.to_vec())]),
            more: BTreeSet::new(),
        }
    }

    fn published(epoch: u64, upto: u64) -> Manifest {
        let snapshot = Snapshot {
            blob: Hash::of(b"a database"),
            size: 10,
            etag: "e".to_owned(),
            schema: 1,
            read: BTreeMap::from([(desk(), upto)]),
            key: None,
        };
        Manifest {
            epoch,
            snapshot: Some(snapshot),
            ..Manifest::first()
        }
    }

    fn known(epoch: u64, upto: u64) -> Known {
        Known {
            epoch: Some(epoch),
            read: BTreeMap::from([(desk(), upto)]),
            ..Known::default()
        }
    }

    #[test]
    fn logs_are_enough_where_they_reach_back() {
        let manifest = published(1, 5);
        assert_eq!(
            known(1, 3).begin(&listed(1, &[4, 5]), &manifest),
            Beginning::Logs
        );
        assert_eq!(
            known(1, 5).begin(&listed(1, &[]), &manifest),
            Beginning::Logs
        );
        let none = Manifest::first();
        assert_eq!(
            Known::default().begin(&listed(1, &[1]), &none),
            Beginning::Logs
        );
    }

    #[test]
    fn what_logs_lack_comes_from_what_is_published() {
        let manifest = published(1, 5);
        assert_eq!(known(1, 3).begin(&listed(1, &[5]), &manifest), NEEDED);
        assert_eq!(known(1, 3).begin(&listed(1, &[]), &manifest), NEEDED);
        let all = listed(1, &[1, 2, 3, 4, 5]);
        assert_eq!(known(1, 0).begin(&all, &manifest), FASTER);
        assert_eq!(Known::default().begin(&all, &manifest), FASTER);
        let left_out = Known {
            left_out: vec![(desk(), 2)],
            ..known(1, 5)
        };
        assert_eq!(left_out.begin(&listed(1, &[]), &manifest), FASTER);
        let later = Known {
            left_out: vec![(desk(), 6)],
            ..known(1, 6)
        };
        assert_eq!(later.begin(&listed(1, &[]), &manifest), Beginning::Logs);
    }

    #[test]
    fn who_is_of_another_epoch_or_was_silent_begins_anew() {
        let manifest = published(2, 5);
        let (log, none) = (listed(2, &[6]), Manifest::first());
        assert_eq!(known(1, 9).begin(&log, &manifest), Beginning::Anew);
        assert_eq!(known(1, 9).begin(&log, &none), Beginning::Anew);
        assert_eq!(Known::default().begin(&log, &manifest), Beginning::Anew);
        let silent = Known {
            is_silent: true,
            ..known(2, 5)
        };
        assert_eq!(silent.begin(&log, &manifest), Beginning::Anew);
        // All logs are there, and are read first.
        assert_eq!(silent.begin(&log, &none), Beginning::Logs);
    }

    #[test]
    fn who_has_what_was_erased_begins_with_nothing() {
        let mut manifest = published(3, 5);
        let (epoch, unix_ms) = (3, 1);
        manifest.erased = Some(Erased { epoch, unix_ms });
        let log = listed(3, &[6]);
        assert_eq!(known(1, 9).begin(&log, &manifest), Beginning::Erased);
        assert_eq!(known(3, 5).begin(&log, &manifest), Beginning::Logs);
        assert_eq!(Known::default().begin(&log, &manifest), Beginning::Anew);
    }
}
