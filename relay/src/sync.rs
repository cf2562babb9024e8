//! Artifacts: models, adapters and data sets between devices and the bucket.
//!
//! * [`receive`] takes a push: [`offer`] reads what the device says first,
//!   [`claim`] holds the name, [`splice`] makes parts of what the device sends
//!   and of what the bucket has, and [`seal`] lets the device keep their tags.
//! * [`deliver`] answers what devices ask of the catalog, and gives bytes;
//!   [`loras`] what they ask about adapters.
//! * [`quota`], [`settle`] and [`clear`] keep the bucket in order.
//! * [`catalog`] keeps an [`entry`] for each artifact, in the bucket.
//!
//! The bucket's entries are the truth; nothing that counts is kept here. Any
//! number of relays may serve one bucket.

pub(crate) mod answer;
pub mod catalog;
mod claim;
mod clear;
pub mod declined;
pub mod deliver;
mod ended;
pub mod entry;
mod loras;
mod offer;
mod quota;
pub mod receive;
pub mod seal;
mod settle;
pub(crate) mod shares;
mod silence;
mod splice;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ginnel_blob::hash::Hash;
use ginnel_blob::index::{ChunkIndex, ENCODED_MAX};
use ginnel_link::driver::WallClock;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceId, UserName};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::catalog::Catalog;
use self::entry::Entry;
use self::seal::SealKey;
use self::settle::Settling;
use self::shares::Shares;
use crate::objects::error::Result;
use crate::objects::layout::Place;
use crate::objects::{Bucket, Etag};

/// Pushes at once. Each holds two parts, 16 MiB for files up to 80 GB.
const PUSHES_MAX: usize = 4;

/// Pushes of one user at once: nobody keeps all others out.
const PUSHES_OF_USER_MAX: usize = 2;

/// Answers of the catalog at once, of all users and of one.
const ANSWERS_MAX: usize = 64;
const ANSWERS_OF_USER_MAX: usize = 16;

/// Ranges of blobs at once, of all users and of one. They stream; a device has
/// four under way for each of two pulls.
const RANGES_MAX: usize = 128;
const RANGES_OF_USER_MAX: usize = 32;

/// Memory for answers that may be large, in MiB: chunk indexes and listings.
const LARGE_MAX: usize = 72;

/// What such an answer may take until it is made, in MiB.
const LARGE_ONE: u32 = 18;

/// Objects that are remembered as damaged. Beyond that the first is found out
/// about again.
const DISTRUSTED_MAX: usize = 1000;

/// What the relay needs for artifacts.
pub struct Sync {
    /// Where they are.
    pub bucket: Bucket,
    /// What is known of them.
    pub catalog: Catalog,
    seal_key: SealKey,
    /// Bytes that a user's artifacts may have together.
    quota: u64,
    wall_clock: WallClock,
    pushes: Arc<Semaphore>,
    /// Pushes under way, by user.
    pushing: Arc<Mutex<HashMap<UserName, usize>>>,
    /// Answers of the catalog under way that are whole in memory.
    answers: Shares,
    /// Ranges of blobs under way.
    ranges: Shares,
    /// Memory for chunk indexes and listings.
    large: Arc<Semaphore>,
    /// Objects that are looked at, for they are not what their entry says.
    settling: Settling,
    /// Objects that are not what their index says.
    distrusted: Mutex<HashSet<Etag>>,
    /// Bytes of parts that the bucket has taken.
    bytes_stored: Counter,
}

/// What a [`Sync`] is made of.
pub struct Parts {
    /// Where artifacts are kept.
    pub bucket: Bucket,
    /// See [`seal`].
    pub seal_key: SealKey,
    /// Bytes that a user's artifacts may have together.
    pub quota: u64,
    /// Milliseconds since 1970.
    pub wall_clock: WallClock,
    /// Counts bytes of parts that the bucket has taken.
    pub bytes_stored: Counter,
}

impl Sync {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            catalog: Catalog::new(parts.bucket.clone()),
            bucket: parts.bucket,
            seal_key: parts.seal_key,
            quota: parts.quota,
            wall_clock: parts.wall_clock,
            pushes: Arc::new(Semaphore::new(PUSHES_MAX)),
            pushing: Arc::default(),
            answers: Shares::new(ANSWERS_MAX, ANSWERS_OF_USER_MAX),
            ranges: Shares::new(RANGES_MAX, RANGES_OF_USER_MAX),
            large: Arc::new(Semaphore::new(LARGE_MAX)),
            settling: Settling::default(),
            distrusted: Mutex::default(),
            bytes_stored: parts.bytes_stored,
        }
    }

    /// Room for a push of a user, until dropped; `None` if there is none.
    fn room_for(&self, user: &UserName) -> Option<Room> {
        let permit = Arc::clone(&self.pushes).try_acquire_owned().ok()?;
        let mut pushing = lock(&self.pushing);
        let count = pushing.entry(user.clone()).or_default();
        if *count >= PUSHES_OF_USER_MAX {
            return None;
        }
        *count += 1;
        Some(Room {
            user: user.clone(),
            pushing: Arc::clone(&self.pushing),
            _permit: permit,
        })
    }

    fn now_ms(&self) -> u64 {
        (self.wall_clock)()
    }

    /// Whether a device may pull an artifact and use its chunks.
    fn may_read(&self, artifact: &Artifact, entry: &Entry, device: &DeviceId) -> bool {
        match artifact {
            Artifact::SharedModel(_) => true,
            Artifact::Lora(_) => entry.public || entry.owner == device.user,
            Artifact::PrivateModel(_)
            | Artifact::Dataset(_)
            | Artifact::Output(_)
            | Artifact::Knowledge(_) => entry.owner == device.user,
        }
    }

    /// The chunk index of a blob; `None` if there is none that can be read.
    async fn index(&self, place: &Place, blob: &Hash) -> Result<Option<ChunkIndex>> {
        let Some(small) = self.bucket.read(&place.index(blob), ENCODED_MAX).await? else {
            return Ok(None);
        };
        let decoded = tokio::task::spawn_blocking(move || ChunkIndex::decode(&small.bytes)).await;
        let index = decoded.ok().and_then(std::result::Result::ok);
        Ok(index.filter(|index| index.blob() == *blob))
    }

    /// The object's tag if it is that blob, which is found out by reading all
    /// of it: only where a relay or an answer was lost.
    async fn holds(&self, place: &Place, blob: Hash, size: u64) -> Result<Option<Etag>> {
        let key = place.object();
        let Some(object) = self.bucket.head(key).await? else {
            return Ok(None);
        };
        if object.size != size {
            return Ok(None);
        }
        let is_it = self.bucket.hash(&object).await? == blob;
        Ok(is_it.then_some(object.etag))
    }

    /// A part of so many bytes is in the bucket.
    fn stored(&self, bytes: u64) {
        self.bytes_stored.inc_by(bytes);
    }

    /// From now on the object gives no chunks to others.
    fn distrust(&self, etag: Etag) {
        tracing::warn!(etag = etag.as_str(), "an object in the bucket is damaged");
        let mut distrusted = self.distrusted();
        if distrusted.len() >= DISTRUSTED_MAX {
            distrusted.clear();
        }
        distrusted.insert(etag);
    }

    fn is_distrusted(&self, etag: &Etag) -> bool {
        self.distrusted().contains(etag)
    }

    fn distrusted(&self) -> MutexGuard<'_, HashSet<Etag>> {
        lock(&self.distrusted)
    }
}

/// Nothing under these locks panics half-way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for a push.
struct Room {
    user: UserName,
    pushing: Arc<Mutex<HashMap<UserName, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut pushing = lock(&self.pushing);
        if let Some(count) = pushing.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                pushing.remove(&self.user);
            }
        }
    }
}

impl std::fmt::Debug for Sync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sync")
            .field("bucket", &self.bucket)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("bucket", &self.bucket)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}
