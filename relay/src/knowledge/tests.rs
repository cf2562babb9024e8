//! What becomes of a user's knowledge at the relay, over a bucket in memory and with a
//! clock of its own.

mod damaged;
mod keeping;
mod listing;
mod publishing;
mod restoring;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::manifest::{Manifest, Snapshot};
use object_store::path::Path;

use super::Knowledge;
use super::restore::{RestoreError, Restored};
use crate::objects::failing::Faults;
use crate::objects::layout::{KnowledgePlace, Place};
use crate::objects::{Bucket, Listed};
use crate::sync::catalog::{Catalog, Written};
use crate::sync::declined::Declined;
use crate::sync::entry::{Entry, Wish};

/// When tests begin: at the beginning of an hour.
const NOW: u64 = 1_789_999_200_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A user's knowledge.
struct Case {
    bucket: Bucket,
    faults: Arc<Faults>,
    catalog: Catalog,
    knowledge: Knowledge,
    clock: Arc<AtomicU64>,
    user: UserName,
    place: KnowledgePlace,
}

impl Case {
    fn new() -> Self {
        let (bucket, faults) = Bucket::failing();
        let clock = Arc::new(AtomicU64::new(NOW));
        let time = Arc::clone(&clock);
        let wall_clock = Arc::new(move || time.load(Ordering::Relaxed));
        let user: UserName = "ada".parse().expect("a name");
        Self {
            catalog: Catalog::new(bucket.clone()),
            knowledge: Knowledge::new(bucket.clone(), wall_clock),
            place: KnowledgePlace::of(&user),
            bucket,
            faults,
            clock,
            user,
        }
    }

    fn device(&self, name: &str) -> DeviceId {
        DeviceId::new(self.user.clone(), name.parse().expect("a name"))
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn pass(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    fn published(&self) -> Place {
        Place::of(&Artifact::Knowledge(Cover::Plain), &self.user)
    }

    /// What a push leaves behind: an object, its index, and an entry about it.
    async fn push(&self, device: &DeviceId, bytes: &str) -> Snapshot {
        let place = self.published();
        let wish = Wish {
            device,
            blob: Hash::of(bytes.as_bytes()),
            size: bytes.len() as u64,
        };
        let now = self.catalog.read(&place).await.expect("read");
        let entry = now.as_ref().map(|now| &*now.entry);
        let claimed = Entry::claim(entry, &wish, "upload", self.now()).expect("free");
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        let object = self.bucket.write(place.object(), bytes).await;
        let object = object.expect("written");
        let index = place.index(&wish.blob);
        self.bucket
            .write(&index, "an index".into())
            .await
            .expect("written");
        let root = Hash::of(b"an index");
        let pushed = claimed.publish(claimed.fence, object.as_str(), root, self.now());
        let written = self
            .catalog
            .write(&place, now.as_ref(), pushed.expect("held"))
            .await;
        assert!(matches!(written, Ok(Written::Yes(_))), "{written:?}");
        Snapshot {
            blob: wish.blob,
            size: wish.size,
            etag: object.as_str().to_owned(),
            schema: 1,
            read: BTreeMap::new(),
            key: None,
        }
    }

    /// Publishes in an epoch, as a device does: lease, push, manifest.
    async fn publish(&self, epoch: u64, bytes: &str) -> Result<Manifest, Declined> {
        let desk = self.device("desk");
        self.knowledge.take_lease(&desk, epoch).await?;
        let snapshot = self.push(&desk, bytes).await;
        self.knowledge
            .publish(&self.catalog, &desk, epoch, &snapshot)
            .await
    }

    async fn restore(&self, at: u64) -> Result<Restored, RestoreError> {
        self.knowledge.restore(&self.catalog, &self.user, at).await
    }

    async fn erase(&self) -> Manifest {
        let began = self.knowledge.begin_erased(&self.user, self.now()).await;
        began.expect("begun")
    }

    async fn manifest(&self) -> Manifest {
        let read = self.knowledge.manifest(&self.user).await;
        read.expect("read").0
    }

    /// A batch of the device `desk`.
    async fn batch(&self, epoch: u64, sequence: u64) -> Path {
        let desk = self.device("desk");
        let key = self.place.batch(epoch, &desk.device, sequence);
        self.put(&key, "a batch").await;
        key
    }

    async fn put(&self, key: &Path, bytes: &str) {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        self.bucket.write(key, bytes).await.expect("written");
    }

    async fn text(&self, key: &Path) -> Option<String> {
        let small = self.bucket.read(key, 1 << 20).await.expect("read");
        small.map(|small| String::from_utf8(small.bytes.to_vec()).expect("text"))
    }

    /// The database that is published now.
    async fn database(&self) -> Option<String> {
        self.text(self.published().object()).await
    }

    async fn all(&self) -> Vec<Listed> {
        let listed = self.bucket.list(&KnowledgePlace::all(&self.user));
        let mut all: Vec<_> = listed.try_collect().await.expect("listed");
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }
}

fn assert_declined<T: std::fmt::Debug>(result: Result<T, Declined>, code: Code, says: &str) {
    let declined = result.expect_err("declined");
    assert_eq!(declined.code, code, "{declined}");
    assert!(declined.reason.contains(says), "{declined}");
}
