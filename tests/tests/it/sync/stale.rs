//! A device that has not heard of a restore or an erasure, and publishes.

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::push::PushAnswer;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::lab::Lab;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::erase::{ADA_ERASED, erase, keys_of_ada};
use super::publish::manifest;
use super::restore::restore;

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

#[tokio::test]
async fn a_restore_is_not_undone_by_a_device_that_has_not_heard_of_it() {
    let (lab, desk) = published().await;
    let at = lab.relay.relay.now_ms().cast_unsigned();
    desk.publish(1, &database("mistake")).await;
    let restored = restore(&lab, "ada", at).await;
    assert_eq!(restored.expect("restored").epoch, 2);
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
    assert_eq!(erase(&lab, "ada").await.expect("erased").epoch, 2);
    assert_stale_or_lost(&desk.push(&database("before, and more")).await);
    let (status, said) = lease(&desk, 1).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let snapshot = json!({
        "blob": "00".repeat(32), "size": 1, "etag": "\"e\"", "schema": 1, "read": {},
    });
    let body = Bytes::from(snapshot.to_string());
    let (status, _) = desk.ask(Method::PUT, "/manifest/1", Some(body)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(keys_of_ada(&lab), ADA_ERASED);
}

#[tokio::test]
async fn an_erasure_in_the_middle_of_a_push_leaves_nothing_of_it() {
    let (lab, desk) = published().await;
    let begun = desk.begin_push(&database("before, and more")).await;
    let begun = begun.expect("wanted");
    assert_eq!(erase(&lab, "ada").await.expect("erased").epoch, 2);
    let answer = begun.finish().await;
    assert!(matches!(answer, PushAnswer::Declined { .. }), "{answer:?}");
    assert_eq!(keys_of_ada(&lab), ADA_ERASED);
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
