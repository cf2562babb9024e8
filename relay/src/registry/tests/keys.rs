//! API keys: made, checked on the ring, revoked.

use super::*;
use crate::registry::api_key::{ApiKey, KeyEnvironment};
use crate::registry::api_keys::NewKey;
use crate::registry::error::ErrorKind;
use crate::registry::key_ring::KeyRefusal;

/// SHA-256 of nothing: a hash that a careless hand might put into a row.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn new_key(owner: &str, scopes: &[&str]) -> NewKey {
    NewKey {
        user: user(owner),
        name: Some("a key".into()),
        environment: KeyEnvironment::Live,
        scopes: scopes
            .iter()
            .map(|scope| scope.parse().expect("a scope"))
            .collect(),
        expires_at_ms: None,
    }
}

async fn open_with_alice() -> Registry {
    let registry = open_memory().await;
    registry
        .ensure_user(&user("alice"), NOW)
        .await
        .expect("user");
    registry
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say() {
    let registry = open_with_alice().await;
    let key = registry
        .create_key(
            new_key("alice", &["forward:laptop/web", "forward:*/api"]),
            NOW,
        )
        .await
        .expect("made");
    let ring = registry.key_ring().await.expect("loaded");
    let entry = ring.check(&key, NOW).expect("valid");
    assert_eq!((&*entry.id, &entry.user), (key.id(), &user("alice")));
    assert!(!entry.is_admin());
    for (name, service, allowed) in [
        ("laptop", "web", true),
        ("desktop", "web", false),
        ("desktop", "api", true),
        ("laptop", "ssh", false),
    ] {
        let service = service.parse().expect("a service");
        assert_eq!(entry.allows(&device(name), &service), allowed, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_secret_looks_like_an_unknown_key() {
    let registry = open_with_alice().await;
    let key = registry
        .create_key(new_key("alice", &["admin"]), NOW)
        .await
        .expect("made");
    let ring = registry.key_ring().await.expect("loaded");
    assert!(ring.check(&key, NOW).expect("valid").is_admin());

    let stranger = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
    assert_eq!(ring.check(&stranger, NOW), Err(KeyRefusal::Unknown));
    let guess = with_secret_of(&key, &stranger);
    assert_eq!(guess.id(), key.id());
    assert_eq!(ring.check(&guess, NOW), Err(KeyRefusal::Unknown));
    let relabelled = relabel(&key);
    assert_eq!(relabelled.id(), key.id());
    assert_eq!(ring.check(&relabelled, NOW), Err(KeyRefusal::Unknown));
}

#[tokio::test]
async fn revoked_and_expired_keys_open_nothing() {
    let registry = open_with_alice().await;
    let ends = NewKey {
        expires_at_ms: Some(NOW + HOUR),
        ..new_key("alice", &["admin"])
    };
    let key = registry.create_key(ends, NOW).await.expect("made");
    let before = registry.key_ring().await.expect("loaded");
    before.check(&key, NOW + HOUR - 1).expect("valid");
    assert_eq!(before.check(&key, NOW + HOUR), Err(KeyRefusal::Expired));

    assert!(registry.revoke_key(key.id(), NOW).await.expect("revoked"));
    assert!(!registry.revoke_key(key.id(), NOW).await.expect("again"));
    assert!(!registry.revoke_key("abcdefgh", NOW).await.expect("none"));
    let after = registry.key_ring().await.expect("loaded");
    assert_eq!(after.check(&key, NOW), Err(KeyRefusal::Revoked));
    before.check(&key, NOW).expect("a ring is a snapshot");

    let stranger = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
    let guess = with_secret_of(&key, &stranger);
    assert_eq!(
        after.check(&guess, NOW),
        Err(KeyRefusal::Unknown),
        "only who knows the secret learns that it is revoked"
    );
}

#[tokio::test]
async fn no_key_matches_the_hash_of_nothing() {
    let registry = open_with_alice().await;
    let key = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
    let row = key.id().to_owned();
    registry
        .write(move |transaction| {
            transaction.execute(
                "INSERT INTO api_keys (id, user_id, key_hash, scopes, created_at, environment)
                 VALUES (?1, 'alice', ?2, '[\"admin\"]', 0, 'live')",
                [row.as_str(), HASH_OF_NOTHING],
            )?;
            Ok(())
        })
        .await
        .expect("a careless row");
    let ring = registry.key_ring().await.expect("loaded");
    assert_eq!(ring.len(), 1);
    assert_eq!(ring.check(&key, NOW), Err(KeyRefusal::Unknown));
    for text in ["", "gnl_live_", &format!("gnl_live_{}_", key.id())] {
        assert!(ApiKey::parse(text).is_err(), "{text:?} was accepted");
    }
}

#[tokio::test]
async fn a_key_of_another_process_reaches_the_ring() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let relay = open_file(&path).await.expect("opens");
    relay.ensure_user(&user("alice"), NOW).await.expect("user");
    let command = open_file(&path).await.expect("opens too");
    let key = command
        .create_key(new_key("alice", &["admin"]), NOW)
        .await
        .expect("made");
    assert!(relay.changed().await.expect("asked"));
    let ring = relay.key_ring().await.expect("loaded");
    ring.check(&key, NOW).expect("valid");
}

#[tokio::test]
async fn the_secret_is_stored_nowhere() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let registry = open_file(&path).await.expect("opens");
    registry
        .ensure_user(&user("alice"), NOW)
        .await
        .expect("user");
    let key = registry
        .create_key(new_key("alice", &["admin"]), NOW)
        .await
        .expect("made");
    registry.close().await.expect("closes");
    let file = std::fs::read(&path).expect("read");
    let contains = |needle: &str| {
        file.windows(needle.len())
            .any(|window| window == needle.as_bytes())
    };
    assert!(contains(key.id()));
    assert!(!contains(&key.expose()[18..58]));
}

#[tokio::test]
async fn keys_are_listed_with_their_last_use() {
    let registry = open_with_alice().await;
    let key = registry
        .create_key(new_key("alice", &["admin", "forward:*/*"]), NOW)
        .await
        .expect("made");
    let uses = [NOW + 5, NOW + 3].map(|at| (key.id().to_owned(), at));
    registry.touch_keys(uses.into()).await.expect("touched");
    registry
        .touch_keys(vec![("nosuchid".into(), NOW)])
        .await
        .expect("passed over");
    let rows = registry.keys().await.expect("listed");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].id.as_str(), &rows[0].user),
        (key.id(), &user("alice"))
    );
    assert_eq!(rows[0].last_used_ms, Some(NOW + 5));
    assert_eq!(rows[0].name.as_deref(), Some("a key"));
    assert_eq!(
        rows[0].scopes,
        new_key("alice", &["admin", "forward:*/*"]).scopes
    );
}

#[tokio::test]
async fn impossible_keys_are_refused() {
    let registry = open_with_alice().await;
    let good = || new_key("alice", &["admin"]);
    let bad = [
        new_key("nobody", &["admin"]),
        new_key("alice", &[]),
        new_key("alice", &["admin"; 33]),
        NewKey {
            name: Some("x".repeat(101)),
            ..good()
        },
        NewKey {
            name: Some("two\nlines".into()),
            ..good()
        },
        NewKey {
            expires_at_ms: Some(NOW),
            ..good()
        },
    ];
    for key in bad {
        let error = registry.create_key(key, NOW).await.expect_err("impossible");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert!(registry.key_ring().await.expect("loaded").is_empty());
}

/// The id of one key with the secret of another, checksum and all.
fn with_secret_of(id: &ApiKey, secret: &ApiKey) -> ApiKey {
    resealed(&format!(
        "{}{}",
        &id.expose()[..18],
        &secret.expose()[18..58]
    ))
}

/// The same key pretending to be a test key.
fn relabel(key: &ApiKey) -> ApiKey {
    resealed(&key.expose()[..58].replace("live", "test"))
}

fn resealed(body: &str) -> ApiKey {
    let crc = crc32fast::hash(body.as_bytes()).to_be_bytes();
    let crc = data_encoding::BASE32_NOPAD.encode(&crc).to_lowercase();
    ApiKey::parse(&format!("{body}{crc}")).expect("well formed")
}
