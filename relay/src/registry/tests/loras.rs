//! Adapters: who sees them, and what is counted.

use super::*;
use crate::registry::loras::LoraCard;

fn card(owner: &str, is_public: bool) -> LoraCard {
    LoraCard {
        id: "sql".parse().expect("an id"),
        owner: user(owner),
        name: "SQL helper".into(),
        description: None,
        domain: "sql".into(),
        base_model: "phi-3".into(),
        r2_key: "loras/sql/adapter.safetensors".into(),
        version: "1".into(),
        is_public,
        price_cents: 0,
    }
}

/// A registry that knows two users.
async fn registry() -> Registry {
    let registry = open_memory().await;
    for name in ["alice", "bob"] {
        let added = registry
            .invite(
                Invitation {
                    user: user(name),
                    device: None,
                    id: name.into(),
                    secret: vec![1; 16],
                    ttl: TTL,
                },
                NOW,
            )
            .await;
        added.expect("invited");
    }
    registry
}

#[tokio::test]
async fn an_adapter_is_its_owners_and_seen_by_others_only_if_public() {
    let registry = registry().await;
    let (id, bob) = (card("alice", false).id, user("bob"));
    registry
        .put_lora(card("alice", false), NOW)
        .await
        .expect("noted");
    assert_eq!(
        registry.lora(id.clone(), bob.clone()).await.expect("read"),
        None
    );
    assert_eq!(registry.loras(bob.clone()).await.expect("read"), []);
    let taken = registry.put_lora(card("bob", true), NOW).await;
    assert!(taken.is_err(), "it is hers");
    let later = NOW + HOUR;
    registry
        .put_lora(card("alice", true), later)
        .await
        .expect("noted");
    let seen = registry.lora(id.clone(), bob.clone()).await.expect("read");
    let seen = seen.expect("public");
    assert_eq!(
        (seen.created_at_ms, seen.downloads, seen.rating),
        (NOW, 0, None)
    );
    registry.remove_lora(id.clone()).await.expect("removed");
    assert_eq!(registry.lora(id, bob).await.expect("read"), None);
}

#[tokio::test]
async fn downloads_count_once_and_ratings_are_the_mean_of_the_last_ones() {
    let registry = registry().await;
    let (id, alice, bob) = (card("alice", true).id, user("alice"), user("bob"));
    registry
        .put_lora(card("alice", true), NOW)
        .await
        .expect("noted");
    let downloads = [
        (&alice, "laptop", 1),
        (&bob, "desk", 1),
        (&bob, "desk", 1),
        (&bob, "desk", 2),
        (&bob, "phone", 2),
    ];
    for (who, name, blob) in downloads {
        let who = (who.clone(), device(name));
        registry
            .count_download(id.clone(), who, [blob; 32])
            .await
            .expect("counted");
    }
    for stars in [1, 5] {
        registry
            .rate_lora(id.clone(), bob.clone(), stars)
            .await
            .expect("rated");
    }
    let lora = registry
        .lora(id.clone(), alice.clone())
        .await
        .expect("read");
    let lora = lora.expect("there");
    assert_eq!((lora.downloads, lora.rating), (3, Some(5.0)));
    assert!(
        registry.rate_lora(id.clone(), alice, 5).await.is_err(),
        "her own"
    );
    assert!(registry.rate_lora(id, bob.clone(), 0).await.is_err());
    let none = "none".parse().expect("an id");
    assert_eq!(registry.rate_lora(none, bob, 5).await.expect("asked"), None);
}

#[tokio::test]
async fn downloads_are_given_away_and_name_no_device_of_others() {
    let registry = registry().await;
    let (id, alice, bob) = (card("alice", true).id, user("alice"), user("bob"));
    registry
        .put_lora(card("alice", true), NOW)
        .await
        .expect("noted");
    join(&registry, "bob", "desk", "code", 1).await;
    let who = (bob.clone(), device("desk"));
    registry
        .count_download(id, who, [7; 32])
        .await
        .expect("counted");
    let blob = "07".repeat(32);
    for (user, name) in [(&bob, Some("desk")), (&alice, None)] {
        let rows = registry.rows_of(user).await.expect("read");
        let expected = serde_json::json!([
            { "lora_id": "sql", "device_name": name, "blob": blob },
        ]);
        assert_eq!(serde_json::json!(rows["lora_downloads"]), expected);
    }
    let carol = registry.rows_of(&user("carol")).await.expect("read");
    assert!(carol["lora_downloads"].is_empty());
    // What is given away is what is erased.
    let erased = registry.erase_user(&alice).await.expect("erased");
    assert_eq!(erased["lora_downloads"], 1);
}
