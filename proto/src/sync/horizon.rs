//! What every device of a user knows, so that what is only kept for them can go:
//! rows of deleted documents, and vectors that nobody uses.
//!
//! Each device tells from time to time how far it has read every log, and how
//! long its own is. A device remembers, as a [`Mark`], how far it had read when
//! its store had so many changes. Once all others have read that far, and it has
//! read what each of them wrote until then, all that was kept at the mark can go:
//! what they write from now on they write knowing it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hlc::Hlc;
use crate::id::DeviceName;

/// A device that is silent for so long is not waited for any more. When it comes
/// back it begins anew.
pub const SILENT_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

/// The longest word of a device, in bytes: the longest names of 300 devices.
pub const WORD_MAX: usize = 32 << 10;

/// How far a device is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Word {
    /// In which epoch.
    pub epoch: u64,
    /// The last batch of each log that it has read; of its own: that it wrote.
    pub read: BTreeMap<DeviceName, u64>,
    /// The latest stamp of a deletion that it has let go. Whoever is new cannot hear
    /// of deletions until there.
    #[serde(default)]
    pub gone: Hlc,
    /// When it said so, milliseconds since 1970 by the relay's clock.
    #[serde(default)]
    pub unix_ms: u64,
}

impl Word {
    fn read(&self, device: &DeviceName) -> u64 {
        self.read.get(device).copied().unwrap_or_default()
    }

    /// Whether the device is not waited for any more.
    #[must_use]
    pub fn is_silent(&self, now_ms: u64) -> bool {
        let silent = Duration::from_millis(now_ms.saturating_sub(self.unix_ms));
        silent > SILENT_MAX
    }
}

/// How far a device had read when its store had so many changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The number of the last change.
    pub change: i64,
    /// The last batch of each log that it had read.
    pub read: BTreeMap<DeviceName, u64>,
}

/// Up to which change all that is kept for others can go: that of the newest mark
/// that everybody is past. `read` is how far this device has read by now.
#[must_use]
pub fn horizon(
    marks: &[Mark],
    words: &BTreeMap<DeviceName, Word>,
    epoch: u64,
    read: &BTreeMap<DeviceName, u64>,
    now_ms: u64,
) -> Option<i64> {
    let waited_for: Vec<_> = words
        .iter()
        .filter(|(_, word)| !word.is_silent(now_ms))
        .collect();
    // What they wrote before they knew has to be here.
    let has_all = waited_for
        .iter()
        .all(|(device, word)| read.get(*device).copied().unwrap_or_default() >= word.read(device));
    // Who has not heard of a restore will begin anew, and is waited for until then.
    let in_epoch = waited_for.iter().all(|(_, word)| word.epoch == epoch);
    if !has_all || !in_epoch {
        return None;
    }
    let is_past = |mark: &&Mark| {
        waited_for.iter().all(|(_, word)| {
            let mut logs = mark.read.iter();
            logs.all(|(device, sequence)| word.read(device) >= *sequence)
        })
    };
    let past = marks.iter().filter(is_past);
    past.map(|mark| mark.change).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const DAY: u64 = 24 * 3_600_000;

    fn read(logs: &[(&str, u64)]) -> BTreeMap<DeviceName, u64> {
        let name = |name: &str| name.parse().expect("a name");
        logs.iter()
            .map(|(device, at)| (name(device), *at))
            .collect()
    }

    fn word(unix_ms: u64, logs: &[(&str, u64)]) -> Word {
        Word {
            epoch: 1,
            read: read(logs),
            gone: Hlc::default(),
            unix_ms,
        }
    }

    fn words(all: &[(&str, Word)]) -> BTreeMap<DeviceName, Word> {
        let name = |name: &str| name.parse().expect("a name");
        all.iter()
            .map(|(device, word)| (name(device), word.clone()))
            .collect()
    }

    #[test]
    fn what_all_have_read_can_go() {
        let mark = |change, logs| Mark {
            change,
            read: read(logs),
        };
        let marks = [
            mark(10, &[("desk", 1)]),
            mark(20, &[("desk", 3), ("lap", 2)]),
        ];
        let here = read(&[("desk", 5), ("lap", 4)]);
        let both = |lap: &[(&str, u64)]| {
            words(&[
                ("desk", word(NOW, &[("desk", 5), ("lap", 4)])),
                ("lap", word(NOW, lap)),
            ])
        };
        let at = |lap: &[(&str, u64)]| horizon(&marks, &both(lap), 1, &here, NOW);
        assert_eq!(at(&[("desk", 3), ("lap", 4)]), Some(20));
        assert_eq!(at(&[("desk", 2), ("lap", 4)]), Some(10));
        assert_eq!(at(&[("lap", 4)]), None);
        // It wrote something that is not here: perhaps before it knew.
        assert_eq!(at(&[("desk", 3), ("lap", 5)]), None);
        // Nobody said anything yet but this device itself.
        assert_eq!(horizon(&[], &both(&[]), 1, &here, NOW), None);
    }

    #[test]
    fn who_is_silent_is_waited_for_so_long_and_no_longer() {
        let marks = [Mark {
            change: 10,
            read: read(&[("desk", 3)]),
        }];
        let here = read(&[("desk", 3)]);
        let all = words(&[
            ("desk", word(NOW, &[("desk", 3)])),
            ("old", word(NOW - 90 * DAY, &[("desk", 1)])),
        ]);
        assert_eq!(horizon(&marks, &all, 1, &here, NOW), None);
        assert_eq!(horizon(&marks, &all, 1, &here, NOW + 1), Some(10));
        // Whoever has not heard of a restore may have anything.
        assert_eq!(horizon(&marks, &all, 2, &here, NOW + 1), None);
    }
}
