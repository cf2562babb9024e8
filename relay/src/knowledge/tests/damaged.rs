//! Objects that cannot be read.

use super::*;
use ginnel_proto::sync::horizon::Word;
use ginnel_proto::sync::manifest::MANIFEST_MAX;

/// What nobody can make sense of.
const GARBAGE: [&str; 3] = ["", "{", "{\"epoch\":\"?\"}"];

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_none() {
    for garbage in GARBAGE
        .map(str::to_owned)
        .into_iter()
        .chain(["x".repeat(5000)])
    {
        let case = Case::new();
        let desk = case.device("desk");
        // By a relay whose clock is ahead.
        case.pass(HOUR);
        let before = case.publish(1, "one").await.expect("published");
        case.clock.store(NOW, Ordering::Relaxed);
        case.put(&case.place.lease(), &garbage).await;
        assert_declined(
            case.knowledge.check_lease(&desk).await,
            Code::Conflict,
            "another device publishes now",
        );
        let after = case.publish(1, "two").await.expect("published");
        assert!(after.fence > before.fence, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_user_is_erased_though_the_manifest_cannot_be_read() {
    for garbage in GARBAGE {
        let case = Case::new();
        case.publish(1, "one").await.expect("published");
        case.batch(1, 1).await;
        case.restore(case.now()).await.expect("restored");
        // Nobody has written anything in the second epoch.
        case.put(&case.place.manifest(), garbage).await;
        let refused = case.restore(NOW).await.expect_err("unreadable");
        assert!(
            matches!(refused, RestoreError::Unreadable { .. }),
            "{refused}"
        );
        assert!(refused.to_string().contains("user erase ada"), "{refused}");
        let erased = case.erase().await;
        assert_eq!(erased.epoch, 3, "{garbage:?}");
        assert!(erased.erases(2));
        assert_eq!(case.manifest().await, erased);
    }
}

#[tokio::test]
async fn the_epoch_of_a_log_counts_where_nothing_else_is_left() {
    let case = Case::new();
    case.batch(7, 1).await;
    case.put(&case.place.manifest(), "{").await;
    case.put(&case.place.head(), "{").await;
    assert_eq!(case.erase().await.epoch, 8);
}

#[tokio::test]
async fn a_manifest_that_nobody_could_read_is_not_written() {
    let case = Case::new();
    let desk = case.device("desk");
    case.publish(1, "one").await.expect("published");
    let before = case.manifest().await;
    let mut snapshot = case.push(&desk, "two").await;
    // The device's own text is short enough, and what becomes of it is not.
    let mut number = 0;
    while serde_json::to_vec(&snapshot).expect("JSON").len() < MANIFEST_MAX - 90 {
        let device = format!("device-{number}").parse().expect("a name");
        snapshot.read.insert(device, number);
        number += 1;
    }
    assert!(serde_json::to_vec(&snapshot).expect("JSON").len() <= MANIFEST_MAX);
    let published = case.knowledge.publish(&case.catalog, &desk, 1, &snapshot);
    assert_declined(
        published.await,
        Code::BadRequest,
        "the manifest would be too long",
    );
    assert_eq!(case.manifest().await, before);
}

#[tokio::test]
async fn a_word_that_nobody_could_read_is_not_kept() {
    let case = Case::new();
    let desk = case.device("desk");
    let mut word = Word::default();
    for number in 0..3000 {
        let device = format!("device-{number}").parse().expect("a name");
        word.read.insert(device, number);
    }
    assert_declined(
        case.knowledge.hear(&desk, word).await,
        Code::BadRequest,
        "the word is too long",
    );
    assert!(
        case.knowledge
            .words(&case.user)
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test]
async fn a_snapshot_of_which_nothing_can_be_read_is_not_kept() {
    let case = Case::new();
    case.publish(1, "one").await.expect("published");
    let about = case
        .place
        .kept_at(NOW, crate::objects::layout::KeptPart::About);
    case.put(&about, "{").await;
    case.pass(MINUTE);
    let refused = case.restore(case.now()).await.expect_err("nothing is kept");
    assert!(matches!(refused, RestoreError::NotKept { .. }), "{refused}");
    // The next one is kept at once, and it goes when nobody could restore it.
    case.publish(1, "two").await.expect("published");
    case.restore(case.now()).await.expect("restored");
    case.pass(8 * DAY);
    case.publish(2, "three").await.expect("published");
    assert_eq!(case.text(&about).await, None);
}
