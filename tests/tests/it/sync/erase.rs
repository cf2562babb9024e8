//! Everything of a user, given away and erased.

use std::collections::BTreeSet;

use ginnel_relay::objects::Bucket;
use ginnel_relay::user::erase::{EraseError, Receipt};
use ginnel_relay::user::export;
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, safetensors};
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};

use super::publish::publish;

fn bucket(lab: &Lab) -> Bucket {
    Bucket::folder(&lab.relay_state().join("bucket")).expect("opened")
}

/// The keys of all objects, as other programs see them.
pub(super) fn keys(lab: &Lab) -> BTreeSet<String> {
    fn walk(folder: &std::path::Path, root: &std::path::Path, keys: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("read") {
            let path = entry.expect("read").path();
            match path.is_dir() {
                true => walk(&path, root, keys),
                false => {
                    let key = path.strip_prefix(root).expect("below");
                    keys.insert(key.to_string_lossy().into_owned());
                }
            }
        }
    }
    let root = lab.relay_state().join("bucket");
    let mut keys = BTreeSet::new();
    walk(&root, &root, &mut keys);
    keys.retain(|key| !key.starts_with('.'));
    keys
}

/// The keys of what is kept for what `ada` knows.
pub(super) fn keys_of_ada(lab: &Lab) -> Vec<String> {
    let keys = keys(lab).into_iter();
    keys.filter(|key| key.contains("/ada/")).collect()
}

/// What is kept of that once she is erased: that an epoch began with nothing.
pub(super) const ADA_ERASED: [&str; 2] = [
    "knowledge/ada/.sync/head.json",
    "knowledge/ada/.sync/manifest.json",
];

/// Erases a user as `ginnel-relay user erase` does.
pub(super) async fn erase(lab: &Lab, user: &str) -> Result<Receipt, EraseError> {
    let registry = lab.registry().await;
    let relay = &lab.relay.relay;
    let knowledge = relay.knowledge.as_ref().expect("kept");
    let user = user.parse().expect("a name");
    let now = relay.now_ms();
    ginnel_relay::user::erase::erase(&bucket(lab), &registry, knowledge, &user, now).await
}

#[tokio::test]
async fn what_is_erased_is_gone_here_and_on_devices_that_come_later() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let other = lab.another_agent("bob", "tower").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    let bob = Known::of(&other).await;
    laptop.put("a.md", "quokka of alice").await;
    bob.put("b.md", "wombat of bob").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    // And what a transfer that broke off has left.
    let beside = lab.agent.state.join("models/knowledge");
    std::fs::write(beside.join("embeddings.db.part"), "quokka").expect("written");
    assert!(beside.join("embeddings.db").exists());
    let mover = Mover::of(&lab.agent).await;
    for name in [
        "models/~/own.safetensors",
        "models/shared.safetensors",
        "loras/sql",
    ] {
        mover.write(name, &safetensors(name, &[(1, 1000)]));
        mover.push(name).await;
    }
    // The same bytes as another user's.
    let same = safetensors("b", &[(2, 1000)]);
    mover.write("models/same.safetensors", &same);
    mover.push("models/same.safetensors").await;
    let theirs = Mover::of(&other).await;
    theirs.write("models/bobs.safetensors", &same);
    theirs.push("models/bobs.safetensors").await;
    lab.key("admin").await;
    in_time("bob's log", async {
        while bob.store.outgoing_backlog().await.expect("read") > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    desktop.sync.set_paused(true).await.expect("paused");
    desktop.put("offline.md", "quokka offline").await;

    // First a copy, which any tar reads.
    let registry = lab.registry().await;
    let user = "alice".parse().expect("a name");
    let archive = lab.folder.path().join("alice.tar");
    let exported = export::export(&bucket(&lab), &registry, &user, &archive).await;
    let exported = exported.expect("written");
    assert!(exported.objects >= 10 && exported.rows >= 4, "{exported:?}");
    let listed = std::process::Command::new("tar")
        .args(["-tf", archive.to_str().expect("text")])
        .output()
        .expect("tar runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in [
        "bucket/models/alice/own.safetensors",
        "bucket/models/shared.safetensors",
        "bucket/loras/sql/adapter.safetensors",
        "bucket/knowledge/alice/.sync/log/e1/laptop/0000000000000001.batch",
        "registry.json",
    ] {
        assert!(listed.lines().any(|line| line == name), "{name}\n{listed}");
    }
    assert!(!listed.contains("bobs"), "{listed}");
    // A file that is there is not replaced.
    assert!(
        export::export(&bucket(&lab), &registry, &user, &archive)
            .await
            .is_err()
    );

    let receipt = erase(&lab, "alice").await.expect("erased");
    assert_eq!(receipt.devices, ["desktop", "laptop"]);
    assert!(
        receipt.rows["api_keys"] == 1 && receipt.objects >= 10,
        "{receipt:?}"
    );
    let index = ginnel_blob::hash::Hash::of(&same);
    let index = format!("models/.sync/{index}.index");
    let left: Vec<String> = keys(&lab)
        .into_iter()
        .filter(|key| !key.contains("bob") && *key != index)
        .collect();
    assert_eq!(
        left,
        [
            "knowledge/alice/.sync/head.json",
            "knowledge/alice/.sync/manifest.json",
            "loras/.sync/sql.json",
            "models/.sync/same.safetensors.json",
            "models/.sync/shared.safetensors.json",
        ]
    );
    // The names on shelves for all stay hers, and say nothing else.
    let names = [
        "loras/sql",
        "models/same.safetensors",
        "models/shared.safetensors",
    ];
    assert_eq!(receipt.names, names);
    let entry = lab
        .relay_state()
        .join("bucket/models/.sync/same.safetensors.json");
    let entry: serde_json::Value =
        serde_json::from_slice(&std::fs::read(entry).expect("read")).expect("JSON");
    assert_eq!(entry["owner"], "alice");
    assert!(
        entry["published"].is_null() && entry["publishing"].is_null(),
        "{entry}"
    );
    theirs.write(
        "models/shared.safetensors",
        &safetensors("his", &[(3, 1000)]),
    );
    let push = theirs.push("models/shared.safetensors").await;
    assert_eq!(push.state, State::Failed, "{push:?}");
    let reason = push.last_error.unwrap_or_default();
    assert!(reason.contains("belongs to another user"), "{reason}");
    // The device that is connected, and the one that comes back.
    laptop.sync.now();
    desktop.sync.set_paused(false).await.expect("resumed");
    for (known, agent) in [(&laptop, &lab.agent), (&desktop, &agent)] {
        in_time("an erased store", async {
            while !known.dump().await.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
        assert!(known.words("quokka").await.is_empty());
        let file = std::fs::read(agent.state.join("store/store.db")).expect("read");
        assert!(
            !file.windows(6).any(|it| it == b"quokka"),
            "{}",
            agent.device
        );
    }
    laptop.until_epoch(2).await;
    let left = std::fs::read_dir(&beside).expect("read").count();
    assert_eq!(left, 0, "the published copy");
    // Others have what they had, and life goes on.
    assert!(keys(&lab).contains(&index));
    assert_eq!(bob.words("wombat").await, ["b.md"]);
    laptop.put("new.md", "a new beginning").await;
    in_step(&[&laptop, &desktop]).await;
    let later = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&later).await;
    in_step(&[&laptop, &desktop, &phone]).await;
}
