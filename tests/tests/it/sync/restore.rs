//! What a restore and an erasure leave in the bucket, as other programs see it.

use ginnel_relay::objects::Bucket;
use ginnel_relay::user::erase::erase;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::lab::Lab;
use http::StatusCode;

use super::erase::keys;

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
