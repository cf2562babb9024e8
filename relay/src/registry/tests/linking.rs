//! Which devices may link.

use super::*;
use crate::registry::devices::Refusal;

#[tokio::test]
async fn a_joined_device_may_link() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    let row = registry
        .authorize_link(&id("alice/laptop"), &serial(1), NOW)
        .await
        .expect("allowed");
    assert_eq!(row.id, id("alice/laptop"));
    assert_eq!(row.not_after_ms, NOW + CERTIFICATE_LIFE);
}

#[tokio::test]
async fn strangers_may_not_link() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    let answer = registry
        .authorize_link(&id("alice/desktop"), &serial(1), NOW)
        .await;
    assert!(matches!(answer, Err(Refusal::Unknown(_))), "{answer:?}");
    let answer = registry
        .authorize_link(&id("bob/laptop"), &serial(1), NOW)
        .await;
    assert!(matches!(answer, Err(Refusal::WrongUser(_))), "{answer:?}");
}

#[tokio::test]
async fn an_expired_certificate_may_not_link() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    let end = NOW + CERTIFICATE_LIFE;
    registry
        .authorize_link(&id("alice/laptop"), &serial(1), end - 1)
        .await
        .expect("still good");
    let answer = registry
        .authorize_link(&id("alice/laptop"), &serial(1), end)
        .await;
    assert!(matches!(answer, Err(Refusal::Expired(_))), "{answer:?}");
}

#[tokio::test]
async fn joining_again_supersedes_the_old_certificate() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "one", 1).await;
    join(&registry, "alice", "laptop", "two", 2).await;
    let laptop = id("alice/laptop");
    let old = registry.authorize_link(&laptop, &serial(1), NOW).await;
    assert!(matches!(old, Err(Refusal::Superseded { .. })), "{old:?}");
    registry
        .authorize_link(&laptop, &serial(2), NOW)
        .await
        .expect("the newest counts");
    assert_eq!(registry.devices().await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_revoked_device_may_not_link() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    let laptop = device("laptop");
    let revoke = || registry.revoke_device(&laptop, NOW);
    assert!(revoke().await.expect("first"));
    assert!(!revoke().await.expect("second"), "revoked before");
    assert!(
        !registry
            .revoke_device(&device("desktop"), NOW)
            .await
            .expect("none")
    );
    let answer = registry
        .authorize_link(&id("alice/laptop"), &serial(1), NOW)
        .await;
    assert!(matches!(answer, Err(Refusal::Revoked(_))), "{answer:?}");
}

#[tokio::test]
async fn last_seen_only_moves_forward() {
    let registry = open_memory().await;
    join(&registry, "alice", "laptop", "code", 1).await;
    let laptop = device("laptop");
    let seen = async || {
        let row = registry.device(&laptop).await.expect("read");
        row.expect("exists").last_seen_ms
    };
    assert_eq!(seen().await, None);
    for at in [NOW + 5, NOW + 3] {
        registry
            .seen(vec![(laptop.clone(), at)])
            .await
            .expect("written");
        assert_eq!(seen().await, Some(NOW + 5));
    }
}

/// A revocation by the command line reaches the running relay.
#[tokio::test]
async fn a_revocation_from_another_process_counts_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("relay.db");
    let relay = open_file(&path).await.expect("opens");
    join(&relay, "alice", "laptop", "code", 1).await;
    let command = open_file(&path).await.expect("opens too");
    command
        .revoke_device(&device("laptop"), NOW)
        .await
        .expect("revoked");
    assert!(relay.changed().await.expect("asked"));
    let answer = relay
        .authorize_link(&id("alice/laptop"), &serial(1), NOW)
        .await;
    assert!(matches!(answer, Err(Refusal::Revoked(_))), "{answer:?}");
}
