//! Stores of two and more devices: what each changes, all have in the end.

mod clocks;
mod garbage;
mod histories;
mod many;
mod merging;
mod published;
mod taken_over;
mod unheard;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::{self, Batch, BatchPlace};
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::horizon::{Word, horizon};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::{document, metadata, model, near, request, texts, vector};
use crate::Store;
use crate::document::{NewDocument, Outcome};
use crate::embedding::NewEmbedding;
use crate::error::ErrorKind;
use crate::id::DocumentId;
use crate::options::{Executor, Options};
use crate::search::By;
use crate::sync::{Identity, KnownEpoch, Upto, Written};

const NOW: u64 = 1_790_000_000_000;

/// A device with its store, and its log, which others read.
struct Device {
    name: &'static str,
    store: Store,
    log: Vec<Batch>,
    /// The wall clock, milliseconds since 1970.
    clock: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Device {
    async fn new(name: &'static str) -> Self {
        let device = Self::alone(name);
        device.begin().await.expect("begun");
        device
    }

    /// One that shares nothing yet.
    fn alone(name: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicU64::new(NOW));
        let mut options = Options::new(folder.path());
        options.origin = name.to_owned();
        options.executor = Executor::Inline;
        let now = Arc::clone(&clock);
        options.clock = Arc::new(move || now.fetch_add(1, Ordering::Relaxed));
        Self {
            name,
            store: Store::open(options).expect("opened"),
            log: Vec::new(),
            clock,
            _folder: folder,
        }
    }

    /// One that shares nothing yet, and knows so many documents.
    async fn with_documents(name: &'static str, count: usize) -> Self {
        let device = Self::alone(name);
        device.model().await;
        for at in 0..count {
            let text = format!("text {at}");
            device.put(&format!("{at}.md"), &[&text]).await;
        }
        device
    }

    async fn begin(&self) -> crate::error::Result<()> {
        let identity = Identity {
            domain: "relay.test".parse().expect("a domain"),
            user: "ada".parse().expect("a name"),
            device: self.name.parse().expect("a name"),
        };
        self.store.begin_sync(identity).await
    }

    async fn put(&self, source: &str, paragraphs: &[&str]) -> DocumentId {
        let put = self.store.put(document(source, paragraphs)).await;
        put.expect("stored").id
    }

    async fn model(&self) {
        self.store.put_model(model()).await.expect("stored");
    }

    /// Writes what is new to the log.
    async fn send(&mut self) {
        let known = self.store.epoch().await.expect("read");
        let epoch = known.map_or(1, |known| known.number);
        while let Some(outgoing) = self.store.outgoing().await.expect("read") {
            let mut written = None;
            if !outgoing.rows.is_empty() {
                let sequence = self.log.len() as u64 + 1;
                let place = BatchPlace {
                    user: "ada".parse().expect("a name"),
                    epoch,
                    device: self.name.parse().expect("a name"),
                    sequence,
                };
                let previous = self
                    .log
                    .last()
                    .map_or(Hash::from_bytes([0; 32]), |it| it.hash);
                let encoded = batch::encode(&place, previous, &outgoing.rows);
                let (bytes, hash) = encoded.expect("memory");
                let batch = batch::decode(&bytes, &place).expect("whole");
                let (first, last) = batch.header.stamps;
                self.log.push(batch);
                written = Some(Written {
                    epoch,
                    first,
                    sequence,
                    hash,
                    last,
                    object: bytes,
                });
            }
            self.store.sent(outgoing.upto, written).await.expect("sent");
        }
    }

    /// Reads what is new in another's log.
    async fn read(&self, other: &Self) {
        let peers = self.store.peers().await.expect("read");
        let known = peers.iter().find(|peer| peer.device.as_str() == other.name);
        let from = known.map_or(0, |peer| peer.sequence);
        for batch in other
            .log
            .iter()
            .filter(|it| it.header.place.sequence > from)
        {
            self.store.apply(batch.clone()).await.expect("applied");
        }
    }

    async fn dump(&self) -> Vec<String> {
        self.store.logical_dump().await.expect("read")
    }

    async fn near(&self, text: &str) -> Vec<String> {
        let found = self.store.search(request(By::Meaning(near(text)))).await;
        texts(&found.expect("found"))
    }

    async fn words(&self, words: &str) -> Vec<String> {
        let found = self
            .store
            .search(request(By::Words(words.to_owned())))
            .await;
        texts(&found.expect("found"))
    }

    fn rows(&self, sql: &str) -> i64 {
        let path = self.store.folder().join(crate::FILE_NAME);
        let connection = rusqlite::Connection::open(path).expect("opened");
        connection
            .query_row(sql, [], |row| row.get(0))
            .expect("read")
    }
}

/// Stores without threads never wait.
fn futures<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

async fn exchange(devices: &mut [Device]) {
    for device in devices.iter_mut() {
        device.send().await;
    }
    for reader in devices.iter() {
        for writer in devices.iter() {
            if reader.name != writer.name {
                reader.read(writer).await;
            }
        }
    }
    // What was read is looked at, too: none of it is to be sent.
    for device in devices.iter_mut() {
        device.send().await;
    }
}

#[tokio::test]
async fn what_one_device_adds_the_other_finds() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    let id = devices[0].put("a.md", &["one fish", "two fish"]).await;
    exchange(&mut devices).await;
    let lap = &devices[1];
    assert_eq!(lap.near("two fish").await[0], "two fish");
    assert_eq!(lap.words("one").await, ["one fish"]);
    let found = lap.store.document(id).await.expect("read").expect("there");
    assert_eq!(found.1.len(), 2);
    assert_eq!(lap.dump().await, devices[0].dump().await);
    assert_eq!(lap.store.check().await.expect("checked"), []);
    // Nothing of it is sent back.
    exchange(&mut devices).await;
    assert_eq!(devices[1].log.len(), 0);
    assert_eq!(devices[0].log.len(), 1);
}

#[tokio::test]
async fn what_was_there_before_is_sent_too() {
    let desk = Device::with_documents("desk", 50).await;
    desk.begin().await.expect("begun");
    assert!(desk.store.outgoing_backlog().await.expect("read") >= 151);
    desk.put("late.md", &["late"]).await;
    let mut devices = [desk, Device::new("lap").await];
    exchange(&mut devices).await;
    assert_eq!(devices[1].dump().await, devices[0].dump().await);
    assert_eq!(devices[1].dump().await.len(), 1 + 51 * 3);
    assert_eq!(devices[0].store.outgoing_backlog().await.expect("read"), 0);
}

#[tokio::test]
async fn a_newer_edit_wins_and_revives() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    let id = devices[0].put("a.md", &["one", "two"]).await;
    exchange(&mut devices).await;
    // Deleted here, and edited there a little later: only its metadata.
    assert!(devices[0].store.delete(id).await.expect("deleted"));
    devices[1].clock.fetch_add(10_000, Ordering::Relaxed);
    let mut edited = document("a.md", &["one", "two"]);
    edited.metadata = metadata(json!({"starred": true}));
    let put = devices[1].store.put(edited).await.expect("stored");
    assert_eq!(put.outcome, Outcome::Changed);
    exchange(&mut devices).await;
    for device in &devices {
        let found = device.store.document(id).await.expect("read");
        let (document, passages) = found.expect("the edit revives it");
        assert_eq!((document.metadata.len(), passages.len()), (1, 2));
        assert_eq!(device.near("two").await[0], "two");
        assert_eq!(device.store.check().await.expect("checked"), []);
    }
    // And an older edit does not.
    devices[1].clock.fetch_sub(60_000, Ordering::Relaxed);
    devices[0].clock.fetch_add(60_000, Ordering::Relaxed);
    assert!(devices[0].store.delete(id).await.expect("deleted"));
    devices[1].put("a.md", &["stale"]).await;
    exchange(&mut devices).await;
    for device in &devices {
        assert!(device.store.document(id).await.expect("read").is_none());
        assert_eq!(device.rows("SELECT count(*) FROM passage"), 0);
        assert_eq!(device.words("stale").await, Vec::<String>::new());
    }
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}

#[tokio::test]
async fn passages_that_come_late_or_for_nothing_are_not_kept() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    let id = desk.put("a.md", &["one"]).await;
    desk.send().await;
    desk.store.delete(id).await.expect("deleted");
    desk.send().await;
    let lap = Device::new("lap").await;
    for batch in desk.log.iter().rev() {
        lap.store.apply(batch.clone()).await.expect("applied");
    }
    assert_eq!(lap.rows("SELECT count(*) FROM passage"), 0);
    assert_eq!(lap.rows("SELECT count(*) FROM document"), 1);
    // The vector waits until it is known that no device needs it.
    assert_eq!(lap.rows("SELECT count(*) FROM unused"), 1);
}

/// Another device's document has the text, and relies on the vector.
#[tokio::test]
async fn a_vector_stays_while_another_device_may_need_it() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    let id = devices[0].put("a.md", &["boilerplate"]).await;
    exchange(&mut devices).await;
    devices[0].store.delete(id).await.expect("deleted");
    assert_eq!(devices[0].near("boilerplate").await, Vec::<String>::new());
    let mut other = document("b.md", &["boilerplate"]);
    other.vectors = None;
    devices[1].store.put(other).await.expect("stored");
    exchange(&mut devices).await;
    for device in &devices {
        assert_eq!(device.near("boilerplate").await, ["boilerplate"]);
        assert_eq!(device.rows("SELECT count(*) FROM unused"), 0);
    }
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
}

#[tokio::test]
async fn a_vector_that_is_used_again_is_sent_again() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    let id = desk.put("a.md", &["again"]).await;
    desk.send().await;
    desk.store.delete(id).await.expect("deleted");
    desk.send().await;
    let mut other = document("b.md", &["again"]);
    other.vectors = None;
    desk.store.put(other).await.expect("stored");
    desk.send().await;
    let last = desk.log.last().expect("sent");
    assert_eq!(last.rows.embeddings.len(), 1);
}

#[tokio::test]
async fn a_model_takes_its_vectors_along_everywhere() {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    devices[0].put("a.md", &["one"]).await;
    exchange(&mut devices).await;
    // While one deletes it, the other goes on using it.
    let deleted = devices[0].store.delete_model(model().id).await;
    assert!(deleted.expect("deleted"));
    devices[1].clock.fetch_add(1_000, Ordering::Relaxed);
    devices[1].put("b.md", &["two"]).await;
    exchange(&mut devices).await;
    for device in &devices {
        assert_eq!(device.store.models().await.expect("read"), []);
        assert_eq!(device.words("two").await, ["two"]);
    }
    assert_eq!(devices[1].rows("SELECT count(*) FROM embedding"), 1);
    // It comes back, without what was made before.
    devices[0].clock.fetch_add(60_000, Ordering::Relaxed);
    devices[0].model().await;
    let embedding = NewEmbedding {
        text: crate::id::TextHash::of("one"),
        vector: vector("one"),
    };
    let put = devices[0].store.put_embeddings(model().id, vec![embedding]);
    assert_eq!(put.await.expect("stored"), 1);
    exchange(&mut devices).await;
    assert_eq!(devices[0].dump().await, devices[1].dump().await);
    assert_eq!(devices[1].near("one").await[0], "one");
}

#[tokio::test]
async fn nothing_is_applied_that_cannot_be_stored() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    desk.put("a.md", &["one"]).await;
    desk.send().await;
    let lap = Device::new("lap").await;
    let good = desk.log.remove(0);
    type Change = fn(&mut Batch);
    let wrong: [(&str, Change); 5] = [
        ("metadata", |it| {
            let state = it.rows.documents[0].state.as_mut().expect("there");
            state.metadata = "[]".to_owned();
        }),
        ("dimensions", |it| {
            let state = it.rows.models[0].state.as_mut().expect("there");
            state.dimensions = 0;
        }),
        ("metric", |it| {
            let state = it.rows.models[0].state.as_mut().expect("there");
            state.metric = "manhattan".to_owned();
        }),
        ("finite", |it| {
            it.rows.embeddings[0].vector = vec![0xff; 26 * 4].into();
        }),
        ("passage", |it| {
            it.rows.passages[0].text = "x".repeat(crate::limits::PASSAGE_MAX + 1);
        }),
    ];
    for (what, change) in wrong {
        let mut bad = good.clone();
        change(&mut bad);
        let error = lap.store.apply(bad).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(lap.dump().await, Vec::<String>::new());
    assert_eq!(lap.store.peers().await.expect("read"), []);
    // From the future: not now.
    lap.clock.fetch_sub(3_600_000, Ordering::Relaxed);
    let error = lap.store.apply(good.clone()).await.expect_err("ahead");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(lap.dump().await, Vec::<String>::new());
    lap.clock.fetch_add(3_600_000, Ordering::Relaxed);
    lap.store.apply(good).await.expect("now it is");
    assert_eq!(lap.dump().await, desk.dump().await);
}

#[tokio::test]
async fn another_users_devices_get_nothing() {
    let desk = Device::new("desk").await;
    let identity = |user: &str, device: &str| Identity {
        domain: "relay.test".parse().expect("a domain"),
        user: user.parse().expect("a name"),
        device: device.parse().expect("a name"),
    };
    let begin = desk.store.begin_sync(identity("bob", "desk")).await;
    let error = begin.expect_err("another user");
    assert!(error.to_string().contains("ada@relay.test"), "{error}");
    let begin = desk.store.begin_sync(identity("ada", "lap")).await;
    assert!(begin.is_err(), "under another name");
    desk.begin().await.expect("as before");
}

#[tokio::test]
async fn a_device_that_is_called_otherwise_sends_what_is_left() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    desk.put("a.md", &["sent"]).await;
    desk.send().await;
    desk.put("b.md", &["not sent"]).await;
    let path = desk.store.folder().to_owned();
    desk.store.close().await.expect("closed");
    let mut options = Options::new(path);
    options.origin = "tower".to_owned();
    options.executor = Executor::Inline;
    let clock = Arc::clone(&desk.clock);
    options.clock = Arc::new(move || clock.fetch_add(1, Ordering::Relaxed));
    let mut tower = Device {
        name: "tower",
        store: Store::open(options).expect("opened"),
        log: Vec::new(),
        ..desk
    };
    tower.begin().await.expect("begun");
    tower.send().await;
    let sent: Vec<&str> = tower.log[0]
        .rows
        .passages
        .iter()
        .map(|it| &*it.text)
        .collect();
    assert_eq!(sent, ["not sent"]);
}

#[tokio::test]
async fn a_batch_is_not_read_twice_and_quarantine_ends_with_it() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    desk.put("a.md", &["one"]).await;
    desk.send().await;
    let lap = Device::new("lap").await;
    let name: DeviceName = "desk".parse().expect("a name");
    let note = lap.store.quarantine(name.clone(), 1, "damaged".to_owned());
    note.await.expect("noted");
    assert_eq!(lap.store.quarantined().await.expect("read").len(), 1);
    let applied = lap.store.apply(desk.log[0].clone()).await.expect("applied");
    assert_eq!((applied.taken, applied.stale), (4, 0));
    assert_eq!(lap.store.quarantined().await.expect("read"), []);
    let again = lap.store.apply(desk.log[0].clone()).await.expect("applied");
    assert_eq!((again.taken, again.stale), (0, 4));
    lap.store.skip(name, 2).await.expect("skipped");
    assert_eq!(lap.store.peers().await.expect("read")[0].sequence, 2);
}

#[tokio::test]
async fn a_batch_that_is_large_comes_in_parts() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    let paragraphs: Vec<String> = (0..9_000).map(|at| format!("passage {at}")).collect();
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    desk.put("a.md", &paragraphs).await;
    desk.send().await;
    assert!(
        desk.log
            .iter()
            .any(|batch| batch.rows.len() > crate::sync::APPLIED_AT_ONCE)
    );
    let lap = Device::new("lap").await;
    lap.read(&desk).await;
    assert_eq!(lap.dump().await, desk.dump().await);
}

#[tokio::test]
async fn an_upto_is_not_taken_back_by_a_crash() {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    desk.put("a.md", &["one"]).await;
    let first = desk.store.outgoing().await.expect("read").expect("rows");
    // The batch was written, and the device stopped before it noted so.
    let again = desk.store.outgoing().await.expect("read").expect("rows");
    assert_eq!(first, again);
    assert!(matches!(first.upto, Upto::Row { .. }));
    desk.send().await;
    assert_eq!(desk.store.outgoing().await.expect("read"), None);
    let synced = desk.rows("SELECT value FROM meta WHERE key = 'sync_hlc'");
    assert!(Hlc::from_stored(synced).expect("a stamp").millis() >= NOW);
}

/// Else the third device would keep vectors that the others have let go.
#[tokio::test]
async fn a_deletion_is_told_though_a_later_row_took_its_place() {
    let mut devices = [
        Device::new("desk").await,
        Device::new("lap").await,
        Device::new("phone").await,
    ];
    devices[0].model().await;
    devices[0].put("a.md", &["one"]).await;
    exchange(&mut devices).await;
    let id = model().id;
    assert!(devices[1].store.delete_model(id).await.expect("deleted"));
    devices[2].clock.fetch_add(1_000, Ordering::Relaxed);
    let renamed = crate::model::Model {
        name: "renamed".to_owned(),
        ..model()
    };
    devices[2].store.put_model(renamed).await.expect("stored");
    devices[2].send().await;
    devices[1].read(&devices[2]).await;
    exchange(&mut devices).await;
    exchange(&mut devices).await;
    for device in &devices {
        assert_eq!(device.store.models().await.expect("read").len(), 1);
        assert_eq!(device.rows("SELECT count(*) FROM embedding"), 0);
    }
    assert_eq!(devices[0].dump().await, devices[2].dump().await);
}
