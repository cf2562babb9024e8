//! The catalog of artifacts.

use ginnel_blob::format::Format;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;
use ginnel_proto::artifact::Artifact;
use rusqlite::Connection;

use super::World;
use crate::FILE_NAME;
use crate::artifact::{Entry, LocalFile, Remote, State};
use crate::blob::stamp::Stamp;
use crate::error::ErrorKind;

pub(super) fn name(text: &str) -> Artifact {
    text.parse().expect(text)
}

pub(super) fn index(bytes: &[u8]) -> ChunkIndex {
    let go_on = |_| std::ops::ControlFlow::Continue(());
    ChunkIndex::build(&mut &*bytes, bytes.len() as u64, None, go_on).expect("built")
}

pub(super) fn file(bytes: &[u8]) -> LocalFile {
    let stamp = Stamp {
        size: bytes.len() as u64,
        mtime_ns: -7,
        inode: u64::MAX - 1,
    };
    LocalFile::read(stamp, Format::Gguf, Hash::of(bytes))
}

pub(super) fn remote(bytes: &[u8], etag: &str) -> Remote {
    Remote {
        blob: Hash::of(bytes),
        size: bytes.len() as u64,
        etag: etag.to_owned(),
        fence: Some(3),
    }
}

impl World {
    async fn entry(&self, text: &str) -> Option<Entry> {
        self.store.artifact(name(text)).await.expect("read")
    }

    async fn keep(&self, text: &str, bytes: &[u8]) {
        let kept = self
            .store
            .keep_artifact_file(name(text), file(bytes), Some(index(bytes)));
        kept.await.expect("kept");
    }

    async fn publish(&self, text: &str, bytes: &[u8]) {
        let kept = self
            .store
            .keep_artifact_remote(name(text), remote(bytes, "\"e1\""), None);
        kept.await.expect("kept");
    }

    async fn knows_index(&self, bytes: &[u8]) -> bool {
        let found = self.store.chunk_index(Hash::of(bytes)).await.expect("read");
        found.is_some_and(|found| found == index(bytes))
    }

    fn raw(&self) -> Connection {
        Connection::open(self.folder.path().join(FILE_NAME)).expect("opened")
    }
}

#[tokio::test]
async fn what_is_noted_is_there_after_a_restart() {
    let world = World::new();
    world.keep("models/phi.gguf", b"phi").await;
    world.publish("models/phi.gguf", b"phi").await;
    let pinned = world.store.pin_artifact(name("models/phi.gguf"), true);
    pinned.await.expect("pinned");
    let world = world.reopened().await;
    let entry = world.entry("models/phi.gguf").await.expect("there");
    assert_eq!(entry.path.as_str(), "phi.gguf");
    assert_eq!(entry.file, Some(file(b"phi")));
    assert_eq!(entry.remote, Some(remote(b"phi", "\"e1\"")));
    assert!(entry.is_pinned);
    assert_eq!(entry.state(), State::Synced);
    assert!(world.knows_index(b"phi").await);
    assert_eq!(world.store.artifacts().await.expect("read"), [entry]);
}

#[tokio::test]
async fn states_follow_from_file_and_published_bytes() {
    let world = World::new();
    let phi = "models/phi.gguf";
    world.keep(phi, b"one").await;
    assert_eq!(world.entry(phi).await.expect("there").state(), State::Local);
    world.publish(phi, b"one").await;
    let synced = world.entry(phi).await.expect("there");
    assert_eq!(synced.state(), State::Synced);
    // An edit: pins, times and what is published stay.
    world.keep(phi, b"two").await;
    let changed = world.entry(phi).await.expect("there");
    assert_eq!(changed.state(), State::Changed);
    assert_eq!(changed.remote, synced.remote);
    assert_eq!(changed.created_ms, synced.created_ms);
    // The old index is still of use: it is what the relay has.
    assert!(world.knows_index(b"one").await && world.knows_index(b"two").await);
    let unread = LocalFile::unread(file(b"two").stamp, Format::Gguf);
    let kept = world.store.keep_artifact_file(name(phi), unread, None);
    kept.await.expect("kept");
    let unread = world.entry(phi).await.expect("there");
    assert_eq!(unread.state(), State::Changed);
    assert!(!world.knows_index(b"two").await);
    let gone = world.store.drop_artifact_file(name(phi)).await;
    gone.expect("noted");
    let entry = world.entry(phi).await.expect("there");
    assert_eq!((entry.state(), entry.file), (State::Remote, None));
    let gone = world.store.drop_artifact_remote(name(phi)).await;
    gone.expect("noted");
    assert_eq!(world.entry(phi).await, None);
    assert!(!world.knows_index(b"one").await);
}

#[tokio::test]
async fn an_artifact_without_anything_is_forgotten() {
    let world = World::new();
    world.keep("loras/sql", b"one").await;
    let gone = world.store.drop_artifact_file(name("loras/sql")).await;
    gone.expect("noted");
    assert_eq!(world.entry("loras/sql").await, None);
    assert!(!world.knows_index(b"one").await);
    world.keep("loras/sql", b"one").await;
    let forgotten = world.store.forget_artifact(name("loras/sql")).await;
    assert!(forgotten.expect("forgotten"));
    let forgotten = world.store.forget_artifact(name("loras/sql")).await;
    assert!(!forgotten.expect("asked"));
    let pinned = world.store.pin_artifact(name("loras/sql"), true).await;
    assert_eq!(pinned.expect_err("gone").kind(), ErrorKind::Missing);
}

#[tokio::test]
async fn names_that_differ_in_case_only_are_refused() {
    let world = World::new();
    world.keep("models/Phi.gguf", b"one").await;
    let kept = world
        .store
        .keep_artifact_file(name("models/phi.gguf"), file(b"two"), None);
    let error = kept.await.expect_err("the same on other disks");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("other=models/Phi.gguf"),
        "{error}"
    );
    let kept = world
        .store
        .keep_artifact_file(name("models/loras"), file(b"two"), None);
    let error = kept.await.expect_err("a folder has that name");
    assert!(error.to_string().contains("folder of that name"), "{error}");
    world.keep("models/~/phi.gguf", b"two").await;
}

#[tokio::test]
async fn damage_is_remembered_until_the_file_is_another() {
    let world = World::new();
    let phi = "models/phi.gguf";
    world.keep(phi, b"phi").await;
    let mut bad = Chosen::none(1);
    bad.add(0);
    let marked = world.store.mark_artifact(name(phi), Some(bad.clone()));
    marked.await.expect("marked");
    let world = world.reopened().await;
    let entry = world.entry(phi).await.expect("there").file.expect("a file");
    assert_eq!(entry.bad_chunks(&index(b"phi")), Some(bad));
    world.keep(phi, b"phi").await;
    let entry = world.entry(phi).await.expect("there").file.expect("a file");
    assert_eq!(entry.bad, None);
    let marked = world.store.mark_artifact(name("models/x"), None).await;
    assert_eq!(marked.expect_err("none").kind(), ErrorKind::Missing);
}

#[tokio::test]
async fn uses_only_come_later() {
    let world = World::new();
    world.keep("models/a", b"a").await;
    let set = "UPDATE artifact SET used_ms = 9000000000000";
    world.raw().execute(set, []).expect("set");
    let used = world.store.use_artifact(name("models/a")).await;
    used.expect("noted");
    let entry = world.entry("models/a").await.expect("there");
    assert_eq!(entry.used_ms, 9_000_000_000_000);
    world
        .raw()
        .execute("UPDATE artifact SET used_ms = 5", [])
        .expect("set");
    let used = world.store.use_artifact(name("models/a")).await;
    used.expect("noted");
    assert!(world.entry("models/a").await.expect("there").used_ms > 1_600_000_000_000);
}

#[tokio::test]
async fn an_index_belongs_to_its_blob() {
    let world = World::new();
    let kept = world
        .store
        .keep_artifact_file(name("models/a"), file(b"a"), Some(index(b"b")));
    assert_eq!(kept.await.expect_err("b's").kind(), ErrorKind::Internal);
    world.keep("models/a", b"a").await;
    let spoil = "UPDATE chunk_index SET bytes = zeroblob(length(bytes))";
    world.raw().execute(spoil, []).expect("spoiled");
    let found = world.store.chunk_index(Hash::of(b"a")).await;
    assert_eq!(found.expect_err("damaged").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn rows_that_lead_elsewhere_are_damage() {
    let world = World::new();
    for (row, says) in [
        ("('models/a', '../a', 1, 1, 1, 'gguf', 0, 0)", "path"),
        (
            "('models/a', 'b', 1, 1, 1, 'gguf', 0, 0)",
            "that of models/b",
        ),
        ("('models/a', 'a', 1, 1, 1, 'exe', 0, 0)", "format"),
    ] {
        let insert = format!(
            "INSERT INTO artifact (name, path, size, mtime_ns, inode, format, used_ms, created_ms)
             VALUES {row}"
        );
        world.raw().execute(&insert, []).expect("written");
        let error = world.store.artifacts().await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(says), "{error}");
        world
            .raw()
            .execute("DELETE FROM artifact", [])
            .expect("taken away");
    }
}
