//! What tells without reading it that a file is still what was read.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Two writes of a file may have the same time if they are no further apart:
/// FAT counts in steps of two seconds.
const GRAIN: Duration = Duration::from_secs(2);

/// A file's size, time and number. While all three are as they were, its bytes
/// are taken for what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// In bytes.
    pub size: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Which file it is on its disk: another one may have been put in its
    /// place with the time of the old one. 0 where files have no numbers.
    pub inode: u64,
}

impl Stamp {
    /// Of a file's metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().map(nanoseconds);
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self {
            size: metadata.len(),
            mtime_ns: since.unwrap_or_default(),
            inode,
        }
    }

    /// One that no file has, to be noted where a write may have come unseen:
    /// the file is read again the next time.
    #[must_use]
    pub fn doubtful(self) -> Self {
        Self {
            mtime_ns: i64::MIN,
            ..self
        }
    }

    /// Whether it is one that no file has, see [`Stamp::doubtful`].
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        self.mtime_ns == i64::MIN
    }

    /// Whether a write that came after `now` would show in the time: what is
    /// written within one step of the disk's clock would not.
    #[must_use]
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let grain = i64::try_from(GRAIN.as_nanos()).unwrap_or(i64::MAX);
        self.mtime_ns.saturating_add(grain) <= nanoseconds(now)
    }
}

/// Since 1970; before it is negative.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_write_is_not_settled() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let written = |seconds_before: u64| Stamp {
            size: 1,
            mtime_ns: nanoseconds(now - Duration::from_secs(seconds_before)),
            inode: 1,
        };
        assert!(written(2).is_settled(now));
        assert!(!written(1).is_settled(now));
        assert!(!written(0).is_settled(now));
        let future = Stamp {
            mtime_ns: i64::MAX,
            ..written(0)
        };
        assert!(!future.is_settled(now));
    }
}
