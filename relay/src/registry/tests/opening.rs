//! Migrations, refused files, the check after an unclean stop, two handles.

use rusqlite::Connection;

use super::*;
use crate::registry::error::ErrorKind;

#[tokio::test]
async fn a_new_file_is_migrated_and_marked() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    registry.close().await.expect("closes");

    let raw = Connection::open(&path).expect("raw");
    let pragma = |name: &str| -> i64 {
        raw.pragma_query_value(None, name, |row| row.get(0))
            .expect(name)
    };
    assert_eq!(pragma("application_id"), 0x474e_4c52);
    assert_eq!(pragma("user_version"), 3);
    let loose: i64 = raw
        .query_row(
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
             AND name NOT LIKE 'sqlite_%' AND NOT strict",
            [],
            |row| row.get(0),
        )
        .expect("tables");
    assert_eq!(loose, 0, "a table is not STRICT");
    for index in ["idx_api_keys_user", "idx_usage_hours_hour"] {
        let found = raw
            .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1")
            .and_then(|mut query| query.exists([index]))
            .expect("schema");
        assert!(found, "{index} is missing");
    }
}

#[tokio::test]
async fn connections_are_durable_and_strict() {
    let folder = tempfile::tempdir().expect("folder");
    let registry = open_file(&folder.path().join("relay.db"))
        .await
        .expect("opens");
    let expected = [
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("busy_timeout", "5000"),
        ("journal_mode", "wal"),
    ];
    for (pragma, value) in expected {
        let query = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
        let query = query.replace("CAST(busy_timeout", "CAST(timeout");
        let found: String = registry
            .read(move |connection| Ok(connection.query_row(&query, [], |row| row.get(0))?))
            .await
            .expect(pragma);
        assert_eq!(found, value, "{pragma}");
    }
}

#[tokio::test]
async fn rows_survive_closing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    registry
        .ensure_user(&user("alice"), NOW)
        .await
        .expect("new");
    registry
        .ensure_user(&user("alice"), NOW + 1)
        .await
        .expect("known");
    registry.close().await.expect("closes");
    assert!(!path.with_extension("db-wal").exists(), "the log is folded");

    let registry = open_file(&path).await.expect("reopens");
    let users = registry.users().await.expect("users");
    assert_eq!(users.len(), 1);
    assert_eq!(
        (users[0].name.as_str(), users[0].created_at_ms),
        ("alice", NOW)
    );
}

#[tokio::test]
async fn a_closed_registry_says_so() {
    for executor in [Executor::Thread, Executor::Inline] {
        let registry = Registry::open(OpenOptions {
            executor,
            ..options(Location::Memory)
        })
        .await
        .expect("opens");
        let clone = registry.clone();
        registry.close().await.expect("closes");
        let error = clone.users().await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed, "{executor:?}");
        let error = clone.close().await.expect_err("closed twice");
        assert_eq!(error.kind(), ErrorKind::Closed, "{executor:?}");
    }
}

#[tokio::test]
async fn a_newer_file_is_refused_untouched() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    registry.close().await.expect("closes");
    Connection::open(&path)
        .and_then(|raw| raw.pragma_update(None, "user_version", 99))
        .expect("raw");
    let before = std::fs::read(&path).expect("read");

    let error = open_file(&path).await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Newer);
    let text = error.to_string();
    assert!(
        text.starts_with("registry was made by a newer ginnel-relay, schema=99, known=3"),
        "{text}"
    );
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

#[tokio::test]
async fn another_programs_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    Connection::open(&path)
        .and_then(|raw| raw.execute_batch("CREATE TABLE recipes (name TEXT)"))
        .expect("raw");
    let error = open_file(&path).await.expect_err("foreign");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");

    std::fs::write(&path, b"this is no database at all, just some text").expect("write");
    let error = open_file(&path).await.expect_err("text");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");

    let error = open_file(&folder.path().join("missing/relay.db"))
        .await
        .expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn another_pepper_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    registry.close().await.expect("closes");
    let error = Registry::open(OpenOptions {
        pepper: Pepper::new([8; 32]),
        ..options(Location::File(path))
    })
    .await
    .expect_err("another pepper");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn damage_is_found_after_an_unclean_stop() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    for n in 0..200 {
        registry
            .ensure_user(&user(&format!("user-{n}")), NOW)
            .await
            .expect("user");
    }
    registry.close().await.expect("closes");

    // A copy taken while the file is open is what an unclean stop leaves.
    let registry = open_file(&path).await.expect("reopens");
    registry
        .ensure_user(&user("last"), NOW)
        .await
        .expect("user");
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).expect("copy");
    std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).expect("copy");
    let healthy = open_file(&copy).await.expect("an unclean copy opens");
    assert_eq!(healthy.users().await.expect("users").len(), 201);
    healthy.close().await.expect("closes");

    std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).expect("copy");
    scribble(&copy);
    let error = open_file(&copy).await.expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("registry failed its check after an unclean stop"),
        "{text}"
    );
    assert!(text.contains("copy.db"), "{text}");
}

#[tokio::test]
async fn handles_on_one_file_see_each_others_changes() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let relay = open_file(&path).await.expect("opens");
    let command = open_file(&path).await.expect("opens too");
    assert!(!relay.changed().await.expect("asked"));

    command
        .ensure_user(&user("alice"), NOW)
        .await
        .expect("user");
    assert!(relay.changed().await.expect("asked"));
    assert!(!relay.changed().await.expect("asked"), "said once");

    relay.ensure_user(&user("bob"), NOW).await.expect("user");
    assert!(!relay.changed().await.expect("asked"), "own writes");
    assert!(command.changed().await.expect("asked"));
    assert_eq!(relay.users().await.expect("users").len(), 2);
}

#[tokio::test]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        opening.spawn(async move { open_file(&path).await });
    }
    for registry in opening.join_all().await {
        registry.expect("opens");
    }
}

#[tokio::test]
async fn bad_rows_are_named() {
    let registry = open_memory().await;
    registry
        .write(|transaction| {
            transaction.execute_batch(
                "INSERT INTO users (id, created_at) VALUES ('Not a name', 0), ('alice', 0);
                 INSERT INTO devices (name, user_id, serial, public_key_hash, not_after, created_at, joined_at)
                     VALUES ('laptop', 'alice', x'00', zeroblob(32), 0, 0, 0);
                 INSERT INTO api_keys (id, user_id, key_hash, scopes, created_at, environment)
                     VALUES ('abcdefgh', 'alice', 'zz', '[\"admin\"]', 0, 'live');",
            )?;
            Ok(())
        })
        .await
        .expect("rows");
    let errors = [
        (
            registry.users().await.expect_err("bad"),
            "table=users, row=\"Not a name\", column=id",
        ),
        (
            registry.devices().await.expect_err("bad"),
            "table=devices, row=\"laptop\", column=serial",
        ),
        (
            registry.key_ring().await.expect_err("bad"),
            "table=api_keys, row=\"abcdefgh\", column=key_hash",
        ),
    ];
    for (error, expected) in errors {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Overwrites the start of the pages that hold users, which opening alone
/// would not read.
fn scribble(path: &Path) {
    let mut bytes = std::fs::read(path).expect("read");
    for page in bytes.chunks_exact_mut(4096) {
        if page.windows(7).any(|window| window == b"user-19") {
            page[..64].fill(0xff);
        }
    }
    std::fs::write(path, bytes).expect("write");
}
