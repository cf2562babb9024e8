//! A published database that is taken over as it lies there.

use ginnel_proto::sync::hlc::Hlc;
use rusqlite::Connection;

use super::published::published;
use super::*;
use crate::FILE_NAME;
use crate::error::Result;
use crate::filter::Filter;
use crate::search::SearchRequest;
use crate::sync::Rest;

/// What is published by a device with so many documents, of so many passages each.
async fn desk(documents: usize, passages: usize) -> (Device, std::path::PathBuf) {
    let mut desk = Device::new("desk").await;
    desk.model().await;
    for document in 0..documents {
        let texts: Vec<_> = (0..passages)
            .map(|at| format!("numbered {document} part{at}"))
            .collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        desk.put(&format!("{document}.md"), &texts).await;
    }
    desk.send().await;
    let path = published(&desk);
    let written = desk.store.write_published(path.clone()).await;
    written.expect("written");
    (desk, path)
}

/// Copies the rows, and does not go on.
async fn copy(device: &Device, path: std::path::PathBuf) -> Result<bool> {
    let latest = Hlc::latest_at(NOW);
    let copy = move |connection: &Connection| {
        crate::sync::take_over_rows(connection, &path, "lap", latest)
    };
    device.store.inner.writer.run_apart(copy).await
}

/// SQLite copies rows as they are only between tables that are defined alike.
#[tokio::test]
async fn published_tables_are_those_of_a_store() {
    let (desk, path) = desk(1, 1).await;
    let defined = |file: &std::path::Path| -> Vec<String> {
        let connection = Connection::open(file).expect("opened");
        let mut find = connection
            .prepare(
                "SELECT sql FROM sqlite_schema WHERE type = 'table'
                     AND name IN ('document', 'passage', 'embedding', 'model') ORDER BY name",
            )
            .expect("valid");
        let found = find.query_map([], |row| row.get(0)).expect("read");
        let found: Vec<String> = found.map(|sql| sql.expect("text")).collect();
        let code = |line: &str| {
            line.split("--")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let plain = |sql: &String| sql.lines().map(code).collect::<Vec<_>>().join(" ");
        found.iter().map(plain).collect()
    };
    let theirs = defined(&path);
    assert_eq!(theirs.len(), 4);
    assert_eq!(theirs, defined(&desk.store.folder().join(FILE_NAME)));
}

/// It stopped when the rows were there, and the index of words was not.
#[tokio::test]
async fn words_of_what_was_taken_over_are_found_after_a_stop() {
    // More than are indexed at a time.
    let (_desk, path) = desk(25, 100).await;
    let lap = Device::new("lap").await;
    assert!(copy(&lap, path).await.expect("copied"));
    let stats = lap.store.stats().await.expect("read");
    assert_eq!((stats.passages, stats.unindexed), (2_500, 2_500));
    assert_eq!(lap.words("numbered").await.len(), 0);
    // Whoever adds does not wait for them, and one that was never indexed goes.
    lap.put("own.md", &["numbered own"]).await;
    lap.store
        .delete(DocumentId::of_source("notes", "7.md"))
        .await
        .expect("deleted");
    assert_eq!(lap.words("numbered").await, ["numbered own"]);
    let stats = lap.store.stats().await.expect("read");
    assert_eq!((stats.passages, stats.unindexed), (2_401, 2_400));

    lap.store.close().await.expect("closed");
    let mut options = Options::new(lap.store.folder());
    options.executor = Executor::Inline;
    let store = Store::open(options).expect("opened");
    let lap = Device { store, ..lap };
    assert_eq!(lap.store.stats().await.expect("read").unindexed, 0);
    assert_eq!(lap.words("numbered").await.len(), 10);
    assert_eq!(lap.words("part7").await.len(), 10);
    assert_eq!(lap.store.check().await.expect("checked"), []);
    assert_eq!(
        lap.rows("SELECT count(*) FROM meta WHERE key LIKE 'words%'"),
        0
    );
}

/// It stopped when other rows had taken the place of those that the index of vectors
/// knows, under the same numbers.
#[tokio::test]
async fn vectors_of_what_was_there_before_are_not_found_after_a_stop() {
    let (_desk, path) = desk(20, 2).await;
    let mut lap = Device::new("lap").await;
    lap.model().await;
    for at in 0..60 {
        lap.put(&format!("own {at}.md"), &[&format!("of lap {at}")])
            .await;
    }
    lap.send().await;
    assert_eq!(lap.near("of lap 7").await.len(), 10);
    // The index is on disk.
    lap.store.close().await.expect("closed");
    let store = Store::open(options(lap.store.folder())).expect("opened");
    let lap = Device { store, ..lap };
    let over = move |connection: &Connection| {
        crate::sync::start_over_rows(
            connection,
            &path,
            "lap",
            Hlc::latest_at(NOW + 100_000),
            Rest::Nothing,
        )
    };
    lap.store.inner.writer.run_apart(over).await.expect("done");
    // As a kill leaves it.
    let left = tempfile::tempdir().expect("a folder");
    copy_all(lap.store.folder(), left.path());
    let store = Store::open(options(left.path())).expect("opened");
    let lap = Device { store, ..lap };
    let near = lap.near("of lap 7").await;
    assert!(
        near.len() == 10 && near.iter().all(|it| it.starts_with("numbered")),
        "{near:?}"
    );
    assert_eq!(lap.store.check().await.expect("checked"), []);
}

/// What was found out about rows is not said of those that take their numbers.
#[tokio::test]
async fn a_filter_does_not_let_through_what_took_the_place_of_rows() {
    let (_desk, path) = desk(20, 2).await;
    let lap = Device::new("lap").await;
    lap.model().await;
    for at in 0..60 {
        lap.put(&format!("own {at}.md"), &[&format!("of lap {at}")])
            .await;
    }
    let of_lap = || SearchRequest {
        filter: Filter {
            source_prefix: Some("own".to_owned()),
            ..Filter::default()
        },
        ..request(By::Meaning(near("of lap 7")))
    };
    let found = lap.store.search(of_lap()).await.expect("found");
    assert_eq!(found.hits.len(), 10);
    let published = path.clone();
    let over = move |connection: &Connection| {
        crate::sync::start_over_rows(
            connection,
            &published,
            "nobody",
            Hlc::latest_at(NOW + 100_000),
            Rest::Nothing,
        )
    };
    lap.store.inner.writer.run_apart(over).await.expect("done");
    assert_eq!(
        lap.rows("SELECT count(*) FROM document WHERE source LIKE 'own%'"),
        0
    );
    let found = lap.store.search(of_lap()).await.expect("found");
    assert_eq!(found.hits.len(), 0);
    // Nor is it said of none once all is erased.
    lap.store.erase().await.expect("erased");
    lap.store.take_over(path).await.expect("taken over");
    let found = lap.store.search(of_lap()).await.expect("found");
    assert_eq!(found.hits.len(), 0);
}

fn options(folder: &std::path::Path) -> Options {
    let mut options = Options::new(folder);
    options.executor = Executor::Inline;
    options.origin = "lap".to_owned();
    options.clock = Arc::new(|| NOW + 50_000);
    options
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("read");
        let place = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            std::fs::create_dir_all(&place).expect("made");
            copy_all(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("copied");
        }
    }
}

/// Words are indexed beside other work, and nobody has to ask for it.
#[tokio::test]
async fn words_of_what_was_taken_over_are_indexed_meanwhile() {
    let (_desk, path) = desk(25, 100).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(Options::new(folder.path())).expect("opened");
    store.take_over(path).await.expect("taken over");
    let began = std::time::Instant::now();
    while store.stats().await.expect("read").unindexed > 0 {
        assert!(began.elapsed().as_secs() < 60, "words wait");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(store.stats().await.expect("read").passages, 2_500);
    assert_eq!(store.check().await.expect("checked"), []);
    store.close().await.expect("closed");
}

/// The file says that its rows are as they have to be, and they are not.
#[tokio::test]
async fn rows_that_no_device_may_send_are_not_taken_over() {
    for (table, damage) in [
        ("passage", "id = x'010203'"),
        ("passage", "hlc = 'soon'"),
        ("passage", "hlc = 9223372036854775807"),
        ("passage", "text = x'ff'"),
        ("passage", "text = 'another'"),
        ("passage", "deleted = 1"),
        ("passage", "rowid = -5, hlc = 9223372036854775807"),
        // Vectors of the future are gone, it says: field 1, eight bytes.
        ("model", "extra = x'0108ffffffffffffff7f'"),
        ("passage", "origin = '../up'"),
        ("document", "metadata = NULL"),
        ("document", "metadata = 'no object'"),
        ("embedding", "vector = zeroblob(7)"),
        ("embedding", "vector = x'0000c07f'"),
        ("model", "metric = 'guess'"),
    ] {
        let (_desk, path) = desk(3, 1).await;
        forge(&path, table, damage);
        let lap = Device::new("lap").await;
        let refused = lap.store.take_over(path.clone()).await.expect_err(damage);
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{damage}: {refused}");
        for table in ["document", "passage", "embedding", "model"] {
            let rows = format!("SELECT count(*) FROM {table}");
            assert_eq!(lap.rows(&rows), 0, "{damage}");
        }
        // Nor by who has rows already, or begins anew.
        lap.model().await;
        lap.put("own.md", &["goes on"]).await;
        lap.store.take_over(path.clone()).await.expect_err(damage);
        lap.store
            .start_over(path, Rest::Nothing)
            .await
            .expect_err(damage);
        assert_eq!(lap.words("goes").await, ["goes on"], "{damage}");
        assert_eq!(lap.store.check().await.expect("checked"), [], "{damage}");
    }
}

/// Writes into a row what its table would not take.
fn forge(path: &std::path::Path, table: &str, damage: &str) {
    let open = || Connection::open(path).expect("opened");
    let define = |sql: &str| {
        let connection = open();
        let lax = connection.pragma_update(None, "writable_schema", true);
        lax.expect("set");
        let set = "UPDATE sqlite_schema SET sql = ?1 WHERE name = ?2";
        assert_eq!(connection.execute(set, [sql, table]).expect("defined"), 1);
    };
    let find = "SELECT sql FROM sqlite_schema WHERE name = ?1";
    let whole = open().query_row(find, [table], |row| row.get::<_, String>(0));
    let whole = whole.expect("read");
    let lax = whole.replace("NOT NULL", "").replace("STRICT", "");
    let lax = lax.replace("CHECK (length(id) = 16)", "");
    let lax = lax.replace("CHECK (length(id) = 32)", "");
    define(lax.trim());
    let set = format!("UPDATE {table} SET {damage} WHERE rowid = (SELECT max(rowid) FROM {table})");
    assert_eq!(open().execute(&set, []).expect("damaged"), 1, "{damage}");
    define(&whole);
}

/// A device that makes vectors has a model before it has anything else.
#[tokio::test]
async fn a_model_of_its_own_keeps_no_device_from_taking_rows_as_they_lie() {
    let (desk, path) = desk(20, 2).await;
    let mut lap = Device::new("lap").await;
    let own = crate::model::Model {
        id: crate::id::ModelId::of_name("test", "own", 3),
        name: "own".to_owned(),
        dimensions: 3,
        metric: crate::vector::metric::Metric::Cosine,
    };
    lap.store.put_model(own.clone()).await.expect("stored");
    assert!(copy(&lap, path).await.expect("copied"));
    let models = lap.store.models().await.expect("read");
    assert_eq!(models.len(), 2);
    assert!(models.contains(&own), "{models:?}");
    assert_eq!(lap.near("numbered 7 part1").await.len(), 10);
    // Others hear of it.
    lap.send().await;
    for batch in &lap.log {
        desk.store.apply(batch.clone()).await.expect("applied");
    }
    assert_eq!(desk.store.models().await.expect("read").len(), 2);
    assert_eq!(desk.dump().await, lap.dump().await);
    assert_eq!(lap.store.check().await.expect("checked"), []);
}
