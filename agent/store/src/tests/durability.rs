//! What is acknowledged stays, whatever happens.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use super::*;
use crate::document::ListRequest;
use crate::error::ErrorKind;
use crate::ingest::Folder;
use crate::{FILE_NAME, check};

/// Set for the process that is killed: its store's folder.
const VICTIM: &str = "GINNEL_STORE_TEST_VICTIM";

#[tokio::test]
async fn many_writers_share_commits() {
    let world = World::new();
    world.model().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let store = world.store.clone();
        writers.spawn(async move {
            for number in 0..10 {
                let text = format!("writer {writer} number {number}");
                let stored = store.put(document(&text, &[&text])).await.expect("stored");
                // What was acknowledged is found at once.
                let found = store.document(stored.id).await.expect("read");
                assert!(found.is_some(), "{text}");
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(
        world.store.collections().await.expect("read")[0].documents,
        320
    );
    // Stamps are unique: no two documents were changed at the same one.
    let stamps: i64 = raw(world.folder.path())
        .query_row("SELECT count(DISTINCT hlc) FROM document", [], |row| {
            row.get(0)
        })
        .expect("read");
    assert_eq!(stamps, 320);
}

/// A process that is killed shows nothing of this: only a machine that loses
/// its power does.
#[test]
fn the_writer_waits_for_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = crate::connection::open_writer(&folder.path().join(FILE_NAME));
    let connection = connection.expect("opened");
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        let read = connection.query_row(&sql, [], |row| row.get(0));
        read.expect("read")
    };
    let full = "2";
    assert_eq!(pragma("synchronous"), full);
    assert_eq!(pragma("journal_mode"), "wal");
}

#[tokio::test]
async fn a_job_that_fails_takes_back_only_its_own() {
    let world = World::new();
    world.model().await;
    let good = world.store.put(document("good.md", &["good"]));
    let mut bad = document("bad.md", &["bad one", "bad two"]);
    bad.vectors.as_mut().expect("given").vectors[1][0] = f32::NAN;
    let bad = world.store.put(bad);
    let also_good = world.store.put(document("also.md", &["also good"]));
    let (good, bad, also_good) = tokio::join!(good, bad, also_good);
    assert!(good.is_ok() && also_good.is_ok());
    assert_eq!(bad.expect_err("bad").kind(), ErrorKind::Invalid);
    assert_eq!(world.words("bad good").await.len(), 2);
    assert_eq!(world.near("bad").await.len(), 2);
}

/// Kills the writing process again and again: every document it was told is
/// stored is there, and the store is whole.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    for round in 0..8 {
        let mut victim = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "tests::durability::victim", "--nocapture"])
            .env(VICTIM, folder.path())
            .env("GINNEL_STORE_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
        let wanted = random.usize(1..120);
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("it goes on for ever").expect("text");
            if let Some(source) = line.strip_prefix("stored ") {
                acknowledged.push(source.to_owned());
                seen += 1;
            }
        }
        victim.kill().expect("killed");
        victim.wait().expect("gone");
        // What it said before it died counts too.
        let rest = lines.map_while(Result::ok);
        let rest = rest.filter_map(|line| line.strip_prefix("stored ").map(str::to_owned));
        acknowledged.extend(rest);
        expect_whole(folder.path(), &acknowledged);
    }
    assert!(acknowledged.len() > 8, "{}", acknowledged.len());
}

fn expect_whole(folder: &Path, acknowledged: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Store::open(Options::new(folder)).expect("opened");
        let findings = store.check().await.expect("checked");
        assert_eq!(findings, []);
        let mut request = ListRequest {
            limit: 1000,
            ..ListRequest::default()
        };
        let mut there = std::collections::HashSet::new();
        loop {
            let page = store.documents(request.clone()).await.expect("read");
            let Some(last) = page.last() else { break };
            request.after = last.rowid;
            there.extend(page.into_iter().filter_map(|document| document.source));
        }
        for source in acknowledged {
            assert!(there.contains(source), "{source} is lost");
        }
        // The index has them too.
        let last = acknowledged.last().expect("at least one");
        let found = store.search(request_of(last)).await.expect("found");
        assert!(texts(&found).contains(last), "{last}");
        store.close().await.expect("closed");
    });
}

fn request_of(text: &str) -> SearchRequest {
    SearchRequest {
        limit: 1000,
        ..request(By::Meaning(near(text)))
    }
}

/// Stores documents for ever, where it is asked to.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let round = std::env::var("GINNEL_STORE_TEST_ROUND").expect("given");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Store::open(Options::new(folder)).expect("opened");
        store.put_model(model()).await.expect("stored");
        for number in 0_u64.. {
            let text = format!("round {round} number {number}");
            store.put(document(&text, &[&text])).await.expect("stored");
            println!("stored {text}");
            std::io::stdout().flush().expect("told");
        }
    });
}

#[tokio::test]
async fn a_store_of_the_future_is_left_alone() {
    let world = World::new();
    world.store.close().await.expect("closed");
    let file = raw(world.folder.path());
    file.pragma_update(None, "user_version", 99)
        .expect("written");
    drop(file);
    let error = Store::open(Options::new(world.folder.path())).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Newer);
    assert!(error.to_string().contains("upgrade"), "{error}");
    let version: i64 = raw(world.folder.path())
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = raw(folder.path());
    file.execute_batch(include_str!("../../migrations/0001_store.sql"))
        .expect("made");
    file.pragma_update(None, "application_id", 0x474e_4c53)
        .expect("written");
    file.pragma_update(None, "user_version", 1)
        .expect("written");
    let row = "INSERT INTO ingest VALUES ('notes', 'dir', 'a.md', '/dir', 3, 5, zeroblob(32))";
    file.execute(row, []).expect("written");
    drop(file);
    let store = Store::open(Options::new(folder.path())).expect("opened");
    let notes = Folder {
        collection: "notes".parse().expect("a name"),
        name: "dir".to_owned(),
    };
    let files = store.files(notes).await.expect("read");
    assert_eq!((&*files[0].path, files[0].tokens_max), ("a.md", 0));
    store.close().await.expect("closed");
    let version: i64 = raw(folder.path())
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("read");
    assert_eq!(version, 5);
}

#[tokio::test]
async fn other_programs_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = raw(folder.path());
    file.execute_batch("CREATE TABLE theirs (a)").expect("made");
    drop(file);
    let error = Store::open(Options::new(folder.path())).expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    std::fs::write(folder.path().join(FILE_NAME), vec![b'x'; 5000]).expect("written");
    let error = Store::open(Options::new(folder.path())).expect_err("garbage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn two_processes_do_not_share_a_store() {
    let world = World::new();
    let error = Store::open(Options::new(world.folder.path())).expect_err("open");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another process"), "{error}");
}

#[tokio::test]
async fn a_lock_of_another_program_is_told_and_waited_for() {
    let world = World::new();
    world.model().await;
    let other = raw(world.folder.path());
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let error = world.store.put(document("a.md", &["text"])).await;
    let error = error.expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("locked by another program"),
        "{error}"
    );
    assert_eq!(world.words("text").await, Vec::<String>::new());
    other.execute_batch("ROLLBACK").expect("unlocked");
    world.put("a.md", &["text"]).await;
    assert_eq!(world.words("text").await, ["text"]);
}

#[tokio::test]
async fn all_that_wait_for_a_lock_are_told_together() {
    let world = World::new();
    world.model().await;
    let other = raw(world.folder.path());
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let begun = std::time::Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = world.store.clone();
        let document = document(&format!("{number}.md"), &["text"]);
        writers.spawn(async move { store.put(document).await });
    }
    while let Some(ended) = writers.join_next().await {
        let error = ended.expect("no panic").expect_err("locked");
        assert!(error.to_string().contains("locked by another"), "{error}");
    }
    // Time is what is tested here: one wait, or two if the first began before
    // the others came, and not eight.
    assert!(begun.elapsed() < 3 * crate::limits::BUSY_TIMEOUT);
}

/// The first look at a damaged file must not make the second one blind.
#[tokio::test]
async fn a_file_that_failed_its_check_fails_again() {
    let world = World::of_long_documents().await;
    world.store.close().await.expect("closed");
    // Killed with a log that was not folded in: a copy taken while it was open.
    let store = open(&world.folder);
    store
        .put(document("more.md", &["more"]))
        .await
        .expect("stored");
    let copy = tempfile::tempdir().expect("a folder");
    for name in [FILE_NAME, "store.db-wal"] {
        let from = world.folder.path().join(name);
        std::fs::copy(from, copy.path().join(name)).expect("copied");
    }
    let path = copy.path().join(FILE_NAME);
    let pages = std::fs::metadata(&path).expect("there").len() / 8192;
    // Texts, and not the schema.
    let late = usize::try_from(pages * 3 / 4).expect("small");
    spoil(&path, late..late + 8);
    for _ in 0..2 {
        let error = Store::open(Options::new(copy.path())).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("unclean stop"), "{error}");
    }
}

/// FTS5 takes what it read for an earlier search for true.
#[tokio::test]
async fn a_check_after_a_search_finds_no_damage() {
    let world = World::new();
    world.model().await;
    for round in 0..4 {
        world.words("text").await;
        for number in 0..40 {
            let text = format!("text {round} {number}");
            world.put(&format!("{round}-{number}.md"), &[&text]).await;
        }
        assert_eq!(world.store.check().await.expect("checked"), []);
    }
}

#[tokio::test]
async fn words_of_deleted_documents_are_in_no_file() {
    let world = World::new();
    world.model().await;
    // Longer than a page, so that pages become free.
    let long = "the quokka sleeps ".repeat(2000);
    let stored = world.put("a.md", &[&long]).await;
    world.put("b.md", &["another text"]).await;
    assert!(world.store.delete(stored.id).await.expect("deleted"));
    world.store.close().await.expect("closed");
    let bytes = std::fs::read(world.folder.path().join(FILE_NAME)).expect("read");
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(has(b"another"));
    assert!(!has(b"quokka"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_stored_stays() {
    let world = World::new();
    world.model().await;
    world.put("first.md", &["first"]).await;
    world.limit_pages(20).await;
    let long = "words ".repeat(500);
    let mut stored = 1;
    let error = loop {
        let text = format!("{stored} {long}");
        match world
            .store
            .put(document(&stored.to_string(), &[&text]))
            .await
        {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "it is never full");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert_eq!(world.words("first").await, ["first"]);
    world.limit_pages(1 << 20).await;
    world.put("last.md", &["last"]).await;
    let collections = world.store.collections().await.expect("read");
    assert_eq!(collections[0].documents, stored + 1);
    assert_eq!(world.store.check().await.expect("checked"), []);
}

impl World {
    /// One of some hundred pages.
    async fn of_long_documents() -> Self {
        let world = Self::new();
        world.model().await;
        let long = "words ".repeat(2000);
        for number in 0..20 {
            let text = format!("{number} {long}");
            world.put(&format!("{number}.md"), &[&text]).await;
        }
        world
    }

    /// Lets the file grow by so many pages.
    async fn limit_pages(&self, more: i64) {
        let limit = move |turn: &mut crate::write::Turn<'_>| {
            let pages: i64 = turn
                .connection
                .pragma_query_value(None, "page_count", |row| row.get(0))?;
            let set = format!("PRAGMA max_page_count = {}", pages + more);
            let _: i64 = turn.connection.query_row(&set, [], |row| row.get(0))?;
            Ok(())
        };
        self.store.inner.writer.run(limit).await.expect("set");
    }
}

#[tokio::test]
async fn a_damaged_page_is_found_and_the_rest_can_be_read() {
    let world = World::of_long_documents().await;
    let page: i64 = raw(world.folder.path())
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'passage_text'",
            [],
            |row| row.get(0),
        )
        .expect("read");
    world.store.close().await.expect("closed");
    let path = world.folder.path().join(FILE_NAME);
    let page = usize::try_from(page - 1).expect("small");
    spoil(&path, page..page + 1);

    let store = open(&world.folder);
    let findings = store.check().await.expect("checked");
    assert!(
        findings.iter().any(|found| found.part == check::Part::File),
        "{findings:?}"
    );
    let list = ListRequest {
        limit: 100,
        ..ListRequest::default()
    };
    assert_eq!(store.documents(list).await.expect("read").len(), 20);
    // What needs the page says so, and nothing stops.
    let error = store
        .put(document("5.md", &["new"]))
        .await
        .expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("ginnel store check"), "{error}");
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["one", "two"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join(FILE_NAME);
    let bytes = world.store.backup(target.clone()).await.expect("copied");
    assert_eq!(bytes, std::fs::metadata(&target).expect("there").len());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&target).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
    let again = world.store.backup(target).await.expect_err("there already");
    assert_eq!(again.kind(), ErrorKind::Invalid);
    world.put("b.md", &["three"]).await;

    let copy = open(&folder);
    assert_ne!(copy.database(), world.store.database());
    assert_eq!(copy.check().await.expect("checked"), []);
    let found = copy
        .search(request(By::Meaning(near("three"))))
        .await
        .expect("found");
    assert_eq!(found.hits.len(), 2);
}

#[tokio::test]
async fn indexes_are_made_anew() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["one", "two"]).await;
    let file = raw(world.folder.path());
    file.execute_batch("INSERT INTO passage_text_index (passage_text_index) VALUES ('delete-all')")
        .expect("spoiled");
    drop(file);
    assert_eq!(world.words("one").await, Vec::<String>::new());
    let findings = world.store.check().await.expect("checked");
    assert!(
        findings
            .iter()
            .any(|found| found.part == check::Part::Index),
        "{findings:?}"
    );
    world.store.rebuild_indexes().await.expect("made");
    assert_eq!(world.words("one").await, ["one"]);
    assert_eq!(world.near("two").await.len(), 2);
    assert_eq!(world.store.check().await.expect("checked"), []);
}

#[tokio::test]
async fn calls_after_closing_say_so() {
    let world = World::new();
    world.store.close().await.expect("closed");
    let closed = [
        world.store.put(document("a.md", &["a"])).await.err(),
        world.store.models().await.err(),
        world.store.close().await.err(),
    ];
    for error in closed {
        assert_eq!(error.expect("closed").kind(), ErrorKind::Closed);
    }
}

/// Overwrites pages of a file, the first of which is 0.
fn spoil(path: &Path, pages: std::ops::Range<usize>) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[pages.start * 8192..pages.end * 8192].fill(0xa5);
    std::fs::write(path, bytes).expect("written");
}

/// The file, as any other program sees it.
fn raw(folder: &Path) -> Connection {
    Connection::open(folder.join(FILE_NAME)).expect("opened")
}
