//! Files of a vector index that another program spoils while they are in use.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::check::{Finding, Part};
use crate::options::Executor;
use crate::vector::engine::Engine;

#[tokio::test]
async fn an_index_that_others_overwrite_is_not_asked() {
    let world = World::with_segment().await;
    let segment = world.segment();
    let mut bytes = fs::read(&segment).expect("read");
    let from = bytes.len().min(3000);
    bytes[from..].fill(0xa5);
    fs::write(&segment, bytes).expect("written");
    world.expect_exact_then_anew().await;
}

/// To read what was cut off would end the process.
#[tokio::test]
async fn an_index_that_others_cut_is_not_asked() {
    for length in [0, 5000] {
        let world = World::with_segment().await;
        let file = File::options().write(true).open(world.segment());
        let file = file.expect("opened");
        let written = file.metadata().expect("read").modified().expect("known");
        file.set_len(length).expect("cut");
        // Its length alone tells.
        file.set_modified(written).expect("set");
        world.expect_exact_then_anew().await;
    }
}

#[tokio::test]
async fn an_index_that_was_cut_takes_no_changes() {
    let world = World::with_segment().await;
    let file = File::options().write(true).open(world.segment());
    file.expect("opened").set_len(5000).expect("cut");
    world.put("more.md", &["one more fish"]).await;
    world.expect_exact_then_anew().await;
}

#[tokio::test]
async fn a_check_tells_of_an_index_that_was_cut() {
    let world = World::with_segment().await;
    let file = File::options().write(true).open(world.segment());
    file.expect("opened").set_len(5000).expect("cut");
    let findings = world.store.check().await.expect("checked");
    let [Finding { part, what }] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(*part, Part::Index);
    assert!(what.contains("changed by another program"), "{what}");
    world.expect_exact_then_anew().await;
}

/// What is mapped stays right; who opens it next would find something else.
#[tokio::test]
async fn a_segment_that_others_replace_is_noticed() {
    let world = World::with_segment().await;
    let segment = world.segment();
    let other = segment.with_extension("theirs");
    let mut bytes = fs::read(&segment).expect("read");
    let from = bytes.len().min(3000);
    bytes[from..].fill(0xa5);
    fs::write(&other, bytes).expect("written");
    fs::rename(other, &segment).expect("replaced");
    let found = world.search(By::Meaning(near(&text_of(7)))).await;
    assert_eq!(texts(&found).first(), Some(&text_of(7)));
    world.expect_told("replaced by another program").await;
}

#[tokio::test]
async fn files_that_others_remove_are_noticed() {
    for (name, says) in [
        ("segment", "segment is gone"),
        ("manifest", "manifest was changed"),
    ] {
        let world = World::with_segment().await;
        fs::remove_file(world.file(name)).expect("removed");
        world.expect_told(says).await;
    }
}

#[tokio::test]
async fn a_manifest_that_others_spoil_is_noticed() {
    let world = World::with_segment().await;
    let manifest = world.file("manifest");
    let mut bytes = fs::read(&manifest).expect("read");
    bytes[100] ^= 1;
    fs::write(&manifest, bytes).expect("written");
    world
        .expect_told("manifest was changed by another program")
        .await;
}

/// Nobody searches, and nobody checks.
#[tokio::test]
async fn upkeep_notices_files_that_are_not_ours() {
    for name in ["segment", "manifest"] {
        let world = World::with_segment().await;
        let file = world.file(name);
        let other = file.with_extension("theirs");
        fs::copy(&file, &other).expect("copied");
        fs::write(&other, "theirs").expect("written");
        fs::rename(other, &file).expect("replaced");
        let inner = Arc::clone(&world.store.inner);
        let upkeep = tokio::task::spawn_blocking(move || inner.write_indexes());
        let error = upkeep.await.expect("no panic").expect_err("noticed");
        assert!(error.to_string().contains("by another program"), "{error}");
        world.expect_exact_then_anew().await;
    }
}

/// A search that meets damage sees to it that somebody mends it.
#[tokio::test]
async fn damage_that_a_search_meets_is_mended_at_once_and_told() {
    let world = World::with_segment().await;
    let file = File::options().write(true).open(world.segment());
    file.expect("opened").set_len(5000).expect("cut");
    let behind = world.store.inner.indexes.behind();
    let found = world.search(By::Meaning(near(&text_of(7)))).await;
    assert!(found.without_index);
    let woken = tokio::time::timeout(Duration::from_secs(10), behind.notified());
    woken.await.expect("upkeep is woken");
    let findings = world.store.check().await.expect("checked");
    let [Finding { part, what }] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(*part, Part::Index);
    assert!(what.contains("is being made anew"), "{what}");
    world.expect_exact_then_anew().await;
}

impl World {
    /// One whose vectors are in a file, that nobody but the test mends.
    async fn with_segment() -> Self {
        let world = Self::new();
        world.model().await;
        for number in 0..300 {
            world
                .put(&format!("{number}.md"), &[&text_of(number)])
                .await;
        }
        world.store.close().await.expect("closed");
        // As it usually is: not written within the tick of the clock in which
        // another program writes.
        let file = File::options().write(true).open(world.segment());
        let before = SystemTime::now() - Duration::from_secs(60);
        file.expect("opened").set_modified(before).expect("set");
        let mut options = Options::new(world.folder.path());
        options.executor = Executor::Inline;
        let store = Store::open(options).expect("opened");
        Self { store, ..world }
    }

    /// A check says so, and then the index is made anew.
    async fn expect_told(&self, says: &str) {
        let findings = self.store.check().await.expect("checked");
        let [Finding { part, what }] = &findings[..] else {
            panic!("{findings:?}");
        };
        assert_eq!(*part, Part::Index);
        assert!(what.contains(says), "{what}");
        self.expect_exact_then_anew().await;
    }

    fn segment(&self) -> PathBuf {
        self.file("segment")
    }

    fn file(&self, name: &str) -> PathBuf {
        let index = self.folder.path().join("index");
        let folders = fs::read_dir(index).expect("read");
        let files = folders.flat_map(|folder| fs::read_dir(folder.expect("one").path()));
        let mut paths = files.flatten().map(|file| file.expect("one").path());
        let is_it = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|found| found.to_string_lossy().starts_with(name))
        };
        paths.find(is_it).expect("a file")
    }

    /// Searches are right all the time; the index is, once it is made anew.
    async fn expect_exact_then_anew(&self) {
        let wanted = text_of(7);
        for _ in 0..2 {
            let found = self.search(By::Meaning(near(&wanted))).await;
            assert_eq!(texts(&found).first(), Some(&wanted));
            assert_eq!(found.hits.len(), 10);
            assert!(found.without_index);
        }
        let inner = Arc::clone(&self.store.inner);
        let mend = move || inner.indexes.catch_up(&inner.readers, &inner.writer);
        let upkeep = tokio::task::spawn_blocking(mend);
        upkeep.await.expect("no panic").expect("made anew");
        let found = self.search(By::Meaning(near(&wanted))).await;
        assert_eq!(texts(&found).first(), Some(&wanted));
        assert!(!found.without_index);
        assert_eq!(self.store.check().await.expect("checked"), []);
    }
}

/// Each is nearest to itself.
fn text_of(number: usize) -> String {
    let letter = |index: usize| char::from(b'a' + u8::try_from(index % 26).expect("small"));
    format!(
        "{}{}{}",
        letter(number).to_string().repeat(2),
        letter(number / 26).to_string().repeat(5),
        letter(number * 7 + 3)
    )
}

/// Searches still find everything, and it is told why they take long.
#[tokio::test]
async fn an_engine_that_cannot_be_loaded_is_told() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["one fish", "two fish"]).await;
    assert_eq!(world.store.engine_problem(), None);
    world.store.close().await.expect("closed");
    let nothing = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(world.folder.path());
    options.engine = Engine::SqliteVss;
    options.vss_folder = Some(nothing.path().to_owned());
    let store = Store::open(options).expect("opened");
    let world = World { store, ..world };
    assert_eq!(world.near("two").await.len(), 2);
    let stats = world.store.stats().await.expect("read");
    assert_eq!(stats.engine, Engine::SqliteVss);
    let model = &stats.models[0];
    assert_eq!(model.engine, Engine::Exact);
    let problem = model.engine_problem.clone().expect("told");
    assert!(problem.contains("store.vss_dir"), "{problem}");
    assert_eq!(world.store.engine_problem(), Some(problem));
}
