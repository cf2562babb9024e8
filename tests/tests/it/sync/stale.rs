//! A device that has not heard of a restore or an erasure, and publishes.

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::push::PushAnswer;
use ginnel_relay::objects::Bucket;
use ginnel_relay::user::erase::erase;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::lab::Lab;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::erase::keys;
use super::publish::manifest;

/// A relay, and a device of `ada` that has published `before` and has the lease.
async fn published() -> (Lab, ByHand) {
    let lab = Lab::start().await;
    let desk = ByHand::join(&lab, "ada", "desk").await;
    let (status, said) = desk.publish(1, &database("before")).await;
    assert_eq!(
        (status, &said["epoch"]),
        (StatusCode::OK, &json!(1)),
        "{said}"
    );
    (lab, desk)
}

/// Something that stands for a database: the relay does not look into it.
fn database(what: &str) -> Vec<u8> {
    what.repeat(30_000).into_bytes()
}

fn object(lab: &Lab) -> Option<Vec<u8>> {
    let path = lab.relay_state().join("bucket/knowledge/ada/embeddings.db");
    std::fs::read(path).ok()
}

fn assert_stale(answer: &PushAnswer) {
    let PushAnswer::Declined { code, reason } = answer else {
        panic!("it is not declined: {answer:?}");
    };
    assert_eq!(*code, Code::Conflict, "{reason}");
    assert!(reason.contains("another epoch began"), "{reason}");
}

async fn lease(device: &ByHand, epoch: u64) -> (StatusCode, Value) {
    let path = format!("/lease/{epoch}");
    device.ask(Method::POST, &path, None).await
}

async fn restore(lab: &Lab, at: i64) -> u64 {
    let relay = &lab.relay.relay;
    let knowledge = relay.knowledge.as_ref().expect("kept");
    let catalog = &relay.sync.as_ref().expect("kept").catalog;
    let user = "ada".parse().expect("a name");
    let restored = knowledge.restore(catalog, &user, at.cast_unsigned()).await;
    restored.expect("restored").epoch
}

async fn erased(lab: &Lab) -> u64 {
    let bucket = Bucket::folder(&lab.relay_state().join("bucket")).expect("opened");
    let registry = lab.registry().await;
    let knowledge = lab.relay.relay.knowledge.as_ref().expect("kept");
    let user = "ada".parse().expect("a name");
    let now = lab.relay.relay.now_ms();
    let receipt = erase(&bucket, &registry, knowledge, &user, now).await;
    receipt.expect("erased").epoch
}

fn files_of_ada(lab: &Lab) -> Vec<String> {
    let keys = keys(lab).into_iter();
    keys.filter(|key| key.contains("/ada/")).collect()
}

const AFTER_ERASURE: [&str; 2] = [
    "knowledge/ada/.sync/head.json",
    "knowledge/ada/.sync/manifest.json",
];

#[tokio::test]
async fn a_restore_is_not_undone_by_a_device_that_has_not_heard_of_it() {
    let (lab, desk) = published().await;
    let at = lab.relay.relay.now_ms();
    desk.publish(1, &database("mistake")).await;
    assert_eq!(restore(&lab, at).await, 2);
    assert_eq!(object(&lab), Some(database("before")));
    let restored = manifest_of_ada(&lab);
    // It had the lease, which would last two minutes.
    assert_stale(&desk.push(&database("mistake, and more")).await);
    // Nor does what is there already count as published.
    assert_stale(&desk.push(&database("before")).await);
    let (status, said) = lease(&desk, 1).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    assert!(said["error"].to_string().contains("epoch=2"), "{said}");
    assert_eq!(object(&lab), Some(database("before")));
    assert_eq!(manifest_of_ada(&lab), restored);
    // Once it has, it goes on at once.
    let (status, said) = desk.publish(2, &database("from now on")).await;
    assert_eq!(
        (status, &said["epoch"]),
        (StatusCode::OK, &json!(2)),
        "{said}"
    );
    assert_eq!(object(&lab), Some(database("from now on")));
}

#[tokio::test]
async fn what_is_erased_does_not_come_back_with_a_device_that_has_not_heard_of_it() {
    let (lab, desk) = published().await;
    assert_eq!(erased(&lab).await, 2);
    assert_stale_or_lost(&desk.push(&database("before, and more")).await);
    let (status, said) = lease(&desk, 1).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let snapshot = json!({
        "blob": "00".repeat(32), "size": 1, "etag": "\"e\"", "schema": 1, "read": {},
    });
    let body = Bytes::from(snapshot.to_string());
    let (status, _) = desk.ask(Method::PUT, "/manifest/1", Some(body)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(files_of_ada(&lab), AFTER_ERASURE);
}

#[tokio::test]
async fn an_erasure_in_the_middle_of_a_push_leaves_nothing_of_it() {
    let (lab, desk) = published().await;
    let begun = desk.begin_push(&database("before, and more")).await;
    let begun = begun.expect("wanted");
    assert_eq!(erased(&lab).await, 2);
    let answer = begun.finish().await;
    assert!(matches!(answer, PushAnswer::Declined { .. }), "{answer:?}");
    assert_eq!(files_of_ada(&lab), AFTER_ERASURE);
}

#[tokio::test]
async fn who_loses_the_lease_half_way_publishes_nothing() {
    let (lab, desk) = published().await;
    let begun = desk
        .begin_push(&database("too late"))
        .await
        .expect("wanted");
    let path = lab
        .relay_state()
        .join("bucket/knowledge/ada/.sync/lease.json");
    let text = std::fs::read(&path).expect("read");
    let mut held: Value = serde_json::from_slice(&text).expect("JSON");
    held["device"] = "lap".into();
    held["fence"] = (held["fence"].as_u64().expect("a number") + 1).into();
    std::fs::write(&path, held.to_string()).expect("written");
    let before = manifest_of_ada(&lab);
    let answer = begun.finish().await;
    let PushAnswer::Declined { code, reason } = &answer else {
        panic!("it is not declined: {answer:?}");
    };
    assert_eq!(*code, Code::Conflict, "{reason}");
    assert!(reason.contains("another device publishes now"), "{reason}");
    assert_eq!(object(&lab), Some(database("before")));
    assert_eq!(manifest_of_ada(&lab), before);
}

/// The lease may be gone with everything else.
fn assert_stale_or_lost(answer: &PushAnswer) {
    let PushAnswer::Declined { code, .. } = answer else {
        panic!("it is not declined: {answer:?}");
    };
    assert_eq!(*code, Code::Conflict);
}

fn manifest_of_ada(lab: &Lab) -> Value {
    manifest(lab, "ada")
}
