//! An artifact's entry in the catalog, and who may change it: pure.
//!
//! ```text
//! nothing ── claim ─▶ publishing ── publish ─▶ published
//!                        ▲  │ expires, or ends       │
//!                        └──┴──────── claim ─────────┘
//! ```
//!
//! The published version stays published while another is being pushed. Each
//! claim has a higher fence: who holds an older one has lost the name.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long a claim holds unless it is renewed. A relay that dies keeps other
/// devices waiting for no longer; one that lives renews it four times as often.
pub const CLAIM_FOR: Duration = Duration::from_secs(120);

/// How often a claim is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(30);

/// The version of what is written.
const VERSION: u32 = 1;

/// The longest entry, in bytes: the longest names fit twice.
pub const ENTRY_MAX: usize = 16 << 10;

/// What the bucket knows of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    version: u32,
    /// Who may push and remove it: the user who pushed the name first.
    #[serde(with = "text")]
    pub owner: UserName,
    /// The newest claim's.
    pub fence: u64,
    /// What can be pulled.
    pub published: Option<Published>,
    /// What is being pushed.
    pub publishing: Option<Publishing>,
    /// Whether all users may pull it, of an adapter.
    #[serde(default)]
    pub public: bool,
}

/// A version that can be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The bucket's tag for the object.
    pub etag: String,
    /// BLAKE3 of the object.
    #[serde(with = "text")]
    pub blob: Hash,
    /// In bytes.
    pub size: u64,
    /// What identifies its chunk index.
    #[serde(with = "text")]
    pub index: Hash,
    /// Which device pushed it.
    #[serde(with = "text")]
    pub device: DeviceName,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// A version that is being pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// This claim's.
    pub fence: u64,
    /// Whose device.
    #[serde(with = "text")]
    pub user: UserName,
    /// Which device.
    #[serde(with = "text")]
    pub device: DeviceName,
    /// BLAKE3 of what is pushed.
    #[serde(with = "text")]
    pub blob: Hash,
    /// In bytes.
    pub size: u64,
    /// The bucket's name for the upload.
    pub upload: String,
    /// Until when others wait, in milliseconds since 1970.
    pub expires_unix_ms: u64,
}

impl Publishing {
    /// Whether nothing is pushed, but what was there taken away.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.upload.is_empty()
    }
}

/// What a device wants to push.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// BLAKE3 of it.
    pub blob: Hash,
    /// In bytes.
    pub size: u64,
}

/// Why a name is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    /// Another user has it.
    #[error("the name belongs to another user; hint: push it under another name")]
    Owned,
    /// Another device pushes it.
    #[error("device {device} is pushing it now; hint: try again in {seconds} s")]
    Busy {
        /// The device.
        device: DeviceName,
        /// How long its claim lasts.
        seconds: u64,
    },
    /// It is being removed.
    #[error("it is being removed now; hint: try again in {seconds} s")]
    Removed {
        /// How long that holds the name.
        seconds: u64,
    },
}

impl Entry {
    /// The entry after a device's claim, with the upload that it goes on with.
    /// What was being pushed before is lost.
    ///
    /// # Errors
    /// The name is not to be had.
    pub fn claim(
        current: Option<&Self>,
        wish: &Wish<'_>,
        upload: &str,
        now_ms: u64,
    ) -> Result<Self, NotYours> {
        Self::may_push(current, wish.device, now_ms)?;
        // From the clock, for a name may have been free and taken before.
        let fence = current.map_or(now_ms, |entry| entry.fence.saturating_add(1));
        let owner = match current {
            Some(entry) => entry.owner.clone(),
            None => wish.device.user.clone(),
        };
        Ok(Self {
            version: VERSION,
            owner,
            fence,
            public: current.is_some_and(|entry| entry.public),
            published: current.and_then(|entry| entry.published.clone()),
            publishing: Some(Publishing {
                fence,
                user: wish.device.user.clone(),
                device: wish.device.device.clone(),
                blob: wish.blob,
                size: wish.size,
                upload: upload.to_owned(),
                expires_unix_ms: expiry(now_ms),
            }),
        })
    }

    /// Whether a device may push it now: not while it is being removed, which
    /// would take the new one away too.
    ///
    /// # Errors
    /// Why not.
    pub fn may_push(
        current: Option<&Self>,
        device: &DeviceId,
        now_ms: u64,
    ) -> Result<(), NotYours> {
        Self::is_free(current, device, now_ms)?;
        let publishing = current.and_then(|entry| entry.publishing.as_ref());
        let Some(removal) = publishing.filter(|it| it.is_removal()) else {
            return Ok(());
        };
        match removal.expires_unix_ms.saturating_sub(now_ms) {
            0 => Ok(()),
            left_ms => Err(NotYours::Removed {
                seconds: left_ms.div_ceil(1000),
            }),
        }
    }

    /// Whether a device may push or remove it now.
    ///
    /// # Errors
    /// Why not.
    pub fn is_free(current: Option<&Self>, device: &DeviceId, now_ms: u64) -> Result<(), NotYours> {
        let Some(entry) = current else {
            return Ok(());
        };
        if entry.owner != device.user {
            return Err(NotYours::Owned);
        }
        let Some(publishing) = &entry.publishing else {
            return Ok(());
        };
        let left_ms = publishing.expires_unix_ms.saturating_sub(now_ms);
        // A device that comes back takes over from itself.
        if left_ms > 0 && publishing.device != device.device {
            return Err(NotYours::Busy {
                device: publishing.device.clone(),
                seconds: left_ms.div_ceil(1000),
            });
        }
        Ok(())
    }

    /// The push that holds this fence, if it still does.
    #[must_use]
    pub fn held(&self, fence: u64) -> Option<&Publishing> {
        self.publishing
            .as_ref()
            .filter(|publishing| publishing.fence == fence)
    }

    /// The entry with a claim that lasts longer.
    #[must_use]
    pub fn renewed(&self, fence: u64, now_ms: u64) -> Option<Self> {
        let mut publishing = self.held(fence)?.clone();
        publishing.expires_unix_ms = expiry(now_ms);
        Some(Self {
            publishing: Some(publishing),
            ..self.clone()
        })
    }

    /// The entry with what was pushed published.
    #[must_use]
    pub fn publish(&self, fence: u64, etag: &str, index: Hash, now_ms: u64) -> Option<Self> {
        let publishing = self.held(fence)?;
        Some(Self {
            published: Some(Published {
                etag: etag.to_owned(),
                blob: publishing.blob,
                size: publishing.size,
                index,
                device: publishing.device.clone(),
                unix_ms: now_ms,
            }),
            publishing: None,
            ..self.clone()
        })
    }

    /// The entry without the push that holds this fence.
    #[must_use]
    pub fn released(&self, fence: u64) -> Option<Self> {
        self.held(fence)?;
        Some(Self {
            publishing: None,
            ..self.clone()
        })
    }

    /// The entry of an artifact that is about to be removed: nothing is to be
    /// pulled, and the name is the device's for a while. Removing it again is
    /// how one that broke off is ended.
    #[must_use]
    pub fn begin_removal(&self, device: &DeviceId, now_ms: u64) -> Self {
        let blob = self.published.as_ref().map(|it| it.blob);
        let blob = blob.or_else(|| self.publishing.as_ref().map(|it| it.blob));
        let fence = self.fence.saturating_add(1);
        Self {
            fence,
            published: None,
            publishing: blob.map(|blob| Publishing {
                fence,
                user: device.user.clone(),
                device: device.device.clone(),
                blob,
                size: 0,
                upload: String::new(),
                expires_unix_ms: expiry(now_ms),
            }),
            ..self.clone()
        }
    }

    /// The entry of an artifact that is removed. Its name stays its owner's,
    /// and its fence goes on: who pushed before has lost.
    #[must_use]
    pub fn removed(&self) -> Self {
        Self {
            fence: self.fence.saturating_add(1),
            published: None,
            publishing: None,
            public: false,
            ..self.clone()
        }
    }

    /// The entry of an artifact that all users may pull, or no longer.
    #[must_use]
    pub fn shown_to_all(&self, public: bool) -> Self {
        Self {
            public,
            ..self.clone()
        }
    }

    /// Bytes that it takes, or will, of its owner's quota. Parts of a push that
    /// was given up take room until it is ended.
    #[must_use]
    pub fn takes(&self) -> u64 {
        let published = self.published.as_ref().map_or(0, |it| it.size);
        let publishing = self.publishing.as_ref();
        publishing.map_or(published, |it| it.size.max(published))
    }

    /// The push that was given up: its claim has run out.
    #[must_use]
    pub fn given_up(&self, now_ms: u64) -> Option<&Publishing> {
        let is_over = |it: &&Publishing| it.expires_unix_ms <= now_ms;
        self.publishing.as_ref().filter(is_over)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// The bytes are none, or a newer relay's.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if entry.version != VERSION {
            let version = entry.version;
            return Err(format!("version={version}, known={VERSION}"));
        }
        Ok(entry)
    }

    /// Its bytes, for people too.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers always become JSON.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

fn expiry(now_ms: u64) -> u64 {
    let claim_for = u64::try_from(CLAIM_FOR.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_add(claim_for)
}

/// Names and hashes as their text.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn device(user: &str, device: &str) -> DeviceId {
        let user = user.parse().expect("a name");
        DeviceId::new(user, device.parse().expect("a name"))
    }

    fn claim(current: Option<&Entry>, who: &DeviceId, now: u64) -> Result<Entry, NotYours> {
        let wish = Wish {
            device: who,
            blob: Hash::of(b"new"),
            size: 3,
        };
        Entry::claim(current, &wish, "upload-1", now)
    }

    fn published() -> Entry {
        let entry = claim(None, &device("ada", "desk"), NOW).expect("free");
        let index = Hash::of(b"index");
        entry.publish(NOW, "\"e\"", index, NOW).expect("held")
    }

    #[test]
    fn who_is_first_owns_the_name() {
        let entry = published();
        assert_eq!(entry.owner.as_str(), "ada");
        let other = claim(Some(&entry), &device("bob", "desk"), u64::MAX);
        assert_eq!(other, Err(NotYours::Owned));
        let second = claim(Some(&entry), &device("ada", "lap"), NOW).expect("hers");
        assert_eq!(second.fence, NOW + 1);
        assert_eq!(second.published, entry.published, "still to be pulled");
    }

    #[test]
    fn a_claim_keeps_others_out_until_it_ends() {
        let entry = claim(None, &device("ada", "desk"), NOW).expect("free");
        let other = device("ada", "lap");
        let Err(NotYours::Busy { device, seconds }) = claim(Some(&entry), &other, NOW + 1) else {
            unreachable!("it is taken");
        };
        assert_eq!((device.as_str(), seconds), ("desk", 120));
        let end = NOW + 120_000;
        assert!(claim(Some(&entry), &other, end - 1).is_err());
        let taken = claim(Some(&entry), &other, end).expect("ended");
        let (first, second) = (NOW, NOW + 1);
        assert_eq!(taken.fence, second);
        // The first one comes back and finds that it has lost.
        assert_eq!(taken.renewed(first, end), None);
        assert_eq!(taken.publish(first, "\"e\"", Hash::of(b""), end), None);
        assert_eq!(taken.released(first), None);
        let publish = |fence| taken.publish(fence, "\"e\"", Hash::of(b""), end);
        assert!(publish(second).is_some());
    }

    #[test]
    fn a_renewed_claim_lasts_longer() {
        let entry = claim(None, &device("ada", "desk"), NOW).expect("free");
        let entry = entry.renewed(NOW, NOW + 100_000).expect("held");
        assert!(claim(Some(&entry), &device("ada", "lap"), NOW + 150_000).is_err());
    }

    #[test]
    fn a_device_takes_over_from_itself_at_once() {
        let desk = device("ada", "desk");
        let entry = claim(None, &desk, NOW).expect("free");
        let again = claim(Some(&entry), &desk, NOW + 1).expect("its own");
        assert_eq!(again.fence, NOW + 1);
        assert_eq!(again.held(NOW), None);
    }

    #[test]
    fn what_is_removed_stays_its_owners() {
        let entry = published().removed();
        assert_eq!((entry.fence, &entry.published), (NOW + 1, &None));
        assert_eq!(
            claim(Some(&entry), &device("bob", "desk"), NOW),
            Err(NotYours::Owned)
        );
    }

    #[test]
    fn nothing_is_pushed_while_it_is_removed() {
        let desk = device("ada", "desk");
        let removal = published().begin_removal(&desk, NOW);
        assert_eq!(Entry::is_free(Some(&removal), &desk, NOW), Ok(()));
        let refused = claim(Some(&removal), &desk, NOW + 1_000);
        assert_eq!(refused, Err(NotYours::Removed { seconds: 119 }));
        assert!(claim(Some(&removal), &desk, NOW + 120_000).is_ok());
    }

    #[test]
    fn room_is_taken_by_what_will_be_there() {
        let entry = published();
        assert_eq!(entry.takes(), 3);
        let wish = Wish {
            device: &device("ada", "desk"),
            blob: Hash::of(b"x"),
            size: 10,
        };
        let more = Entry::claim(Some(&entry), &wish, "u", NOW).expect("hers");
        assert_eq!(more.takes(), 10);
        assert_eq!(more.given_up(NOW), None);
        let given_up = more.given_up(NOW + 120_000).expect("it ran out").fence;
        assert_eq!(more.released(given_up).expect("held").takes(), 3);
    }

    #[test]
    fn entries_are_json_that_reads_back() {
        let entry = claim(Some(&published()), &device("ada", "desk"), NOW).expect("hers");
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry.clone()));
        assert!(entry.encode().len() < ENTRY_MAX);
        let text = String::from_utf8(entry.encode()).expect("text");
        let newer = text.replace("\"version\": 1", "\"version\": 2");
        assert!(Entry::decode(newer.as_bytes()).is_err());
        let strange = text.replace("ada", "../ada");
        assert!(Entry::decode(strange.as_bytes()).is_err());
        assert!(Entry::decode(b"{}").is_err());
    }
}
