//! What a restore and an erasure leave in the bucket, as other programs see it.

use ginnel_relay::objects::Bucket;
use ginnel_relay::user::erase::erase;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};
use http::StatusCode;

use super::erase::keys;
use super::publish::publish;

fn of_ada(lab: &Lab) -> Vec<String> {
    let keys = keys(lab).into_iter();
    keys.filter(|key| key.contains("/ada/")).collect()
}

#[tokio::test]
async fn nothing_hidden_is_left_after_restores_and_an_erasure() {
    let lab = Lab::start().await;
    let desk = ByHand::join(&lab, "ada", "desk").await;
    let secret = b"a secret of ada ".repeat(5000);
    let (status, said) = desk.publish(1, &secret).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let relay = &lab.relay.relay;
    let knowledge = relay.knowledge.as_ref().expect("kept");
    let catalog = &relay.sync.as_ref().expect("kept").catalog;
    let user = "ada".parse().expect("a name");
    // The same snapshot again and again: it lies where it is put already.
    let at = relay.now_ms().cast_unsigned();
    for epoch in 2..5 {
        let restored = knowledge.restore(catalog, &user, at).await;
        assert_eq!(restored.expect("restored").epoch, epoch);
    }
    let hidden: Vec<_> = of_ada(&lab)
        .into_iter()
        .filter(|key| key.contains('#'))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    // A version before this one left such a thing.
    let left = lab
        .relay_state()
        .join("bucket/knowledge/ada/embeddings.db#0");
    std::fs::write(&left, &secret).expect("written");
    let bucket = Bucket::folder(&lab.relay_state().join("bucket")).expect("opened");
    let registry = lab.registry().await;
    let erased = erase(&bucket, &registry, knowledge, &user, relay.now_ms()).await;
    assert_eq!(erased.expect("erased").epoch, 5);
    let expected = [
        "knowledge/ada/.sync/head.json",
        "knowledge/ada/.sync/manifest.json",
    ];
    assert_eq!(of_ada(&lab), expected);
}

#[tokio::test]
async fn a_user_whose_manifest_is_damaged_is_erased_all_the_same() {
    let lab = Lab::start().await;
    let desk = ByHand::join(&lab, "ada", "desk").await;
    desk.publish(1, b"a secret of ada").await;
    let folder = lab.relay_state().join("bucket/knowledge/ada/.sync");
    for damaged in ["manifest.json", "lease.json", "embeddings.db.json"] {
        std::fs::write(folder.join(damaged), "{").expect("written");
    }
    let bucket = Bucket::folder(&lab.relay_state().join("bucket")).expect("opened");
    let registry = lab.registry().await;
    let knowledge = lab.relay.relay.knowledge.as_ref().expect("kept");
    let user = "ada".parse().expect("a name");
    let now = lab.relay.relay.now_ms();
    let erased = erase(&bucket, &registry, knowledge, &user, now).await;
    assert_eq!(erased.expect("erased").epoch, 2);
    let expected = [
        "knowledge/ada/.sync/head.json",
        "knowledge/ada/.sync/manifest.json",
    ];
    assert_eq!(of_ada(&lab), expected);
    // Life goes on.
    let (status, said) = desk.publish(2, b"a new beginning").await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

/// What was changed between the snapshot and the moment is in batches, and one of
/// them is damaged.
#[tokio::test]
async fn what_cannot_be_restored_is_told_and_the_rest_is_there() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    laptop.put("a.md", "in the snapshot").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    let log = lab
        .relay_state()
        .join("bucket/knowledge/alice/.sync/log/e1/laptop");
    let newest = || {
        let files = std::fs::read_dir(&log).expect("read");
        let files = files.map(|file| file.expect("read").file_name());
        files.max().expect("a batch")
    };
    laptop.put("b.md", "soon damaged").await;
    in_step(&[&laptop, &desktop]).await;
    let damaged = newest();
    laptop.put("c.md", "behind it").await;
    in_step(&[&laptop, &desktop]).await;
    assert_ne!(newest(), damaged);
    laptop.put("d.md", "soon missing").await;
    in_step(&[&laptop, &desktop]).await;
    let missing = newest();
    laptop.put("e.md", "beyond the gap").await;
    in_step(&[&laptop, &desktop]).await;
    assert_ne!(newest(), missing);
    std::fs::write(log.join(&damaged), "not what it was").expect("written");
    std::fs::remove_file(log.join(&missing)).expect("removed");
    let at = lab.relay.relay.now_ms().cast_unsigned();
    let relay = &lab.relay.relay;
    let knowledge = relay.knowledge.as_ref().expect("kept");
    let catalog = &relay.sync.as_ref().expect("kept").catalog;
    let user = "alice".parse().expect("a name");
    let restored = knowledge.restore(catalog, &user, at).await;
    assert_eq!(restored.expect("restored").epoch, 2);
    for known in [&laptop, &desktop] {
        known.sync.now();
        let status = in_time("a report", async {
            loop {
                let status = known.sync.status().await.expect("read");
                if status.epoch == Some(2) && status.incomplete.is_some() {
                    return status;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        let incomplete = status.await.incomplete.expect("told");
        let object = format!("log/e1/laptop/{}", damaged.display());
        assert!(incomplete.contains(&object), "{incomplete}");
        assert!(incomplete.contains("are missing"), "{incomplete}");
        assert_eq!(known.words("behind").await, ["c.md"]);
        assert_eq!(known.words("beyond").await, ["e.md"]);
        assert_eq!(known.words("snapshot").await, ["a.md"]);
        assert!(known.words("soon").await.is_empty());
    }
    in_step(&[&laptop, &desktop]).await;
    laptop.put("f.md", "life goes on").await;
    desktop.until_found("life").await;
}
