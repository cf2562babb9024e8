//! Who may publish, and what becomes of what comes too late.

use super::*;
use crate::knowledge::stale::Stale;

#[tokio::test]
async fn a_lease_is_of_the_epoch_that_it_is() {
    let case = Case::new();
    let (desk, lap) = (case.device("desk"), case.device("lap"));
    let first = case.knowledge.take_lease(&desk, 1).await.expect("free");
    assert_declined(
        case.knowledge.take_lease(&lap, 1).await,
        Code::Overloaded,
        "device desk publishes now",
    );
    case.knowledge
        .recheck_lease(&desk, &first)
        .await
        .expect("held");
    assert_eq!(case.erase().await.epoch, 2);
    // Who has not heard of it has lost it at once, and does not get another.
    for held in [
        case.knowledge.check_lease(&desk).await.map(drop),
        case.knowledge.recheck_lease(&desk, &first).await,
        case.knowledge.take_lease(&desk, 1).await.map(drop),
    ] {
        assert_declined(held, Code::Conflict, "another epoch began");
    }
    // Who has need not wait for it.
    let second = case.knowledge.take_lease(&lap, 2).await.expect("free");
    assert!(second.fence > first.fence);
}

#[tokio::test]
async fn a_lease_that_ran_out_and_was_taken_again_is_another() {
    let case = Case::new();
    let desk = case.device("desk");
    let first = case.knowledge.take_lease(&desk, 1).await.expect("free");
    case.pass(3 * MINUTE);
    case.knowledge.take_lease(&desk, 1).await.expect("free");
    assert_declined(
        case.knowledge.recheck_lease(&desk, &first).await,
        Code::Conflict,
        "took too long",
    );
}

#[tokio::test]
async fn what_was_pushed_for_an_erased_epoch_is_taken_away() {
    let case = Case::new();
    let desk = case.device("desk");
    case.publish(1, "secret").await.expect("published");
    case.erase().await;
    // It was complete in that moment.
    let late = case.push(&desk, "secret, and more").await;
    let published = case.knowledge.publish(&case.catalog, &desk, 1, &late);
    assert_declined(published.await, Code::Conflict, "another epoch began");
    let left = case.all().await.into_iter().map(|object| object.key);
    let left: Vec<_> = left
        .filter(|key| !key.as_ref().contains("/pitr/"))
        .collect();
    let place = &case.place;
    let first = case.published().index(&Hash::of(b"secret"));
    assert_eq!(left, [first, place.head(), place.lease(), place.manifest()]);
}

#[tokio::test]
async fn what_others_pushed_is_not_taken_away() {
    let case = Case::new();
    let (desk, lap) = (case.device("desk"), case.device("lap"));
    case.publish(1, "before").await.expect("published");
    case.erase().await;
    let stale = Stale {
        epoch: 1,
        cover: Cover::Plain,
        blob: Hash::of(b"before"),
    };
    // Another device pushes in the new epoch.
    let fresh = case.push(&lap, "a new beginning").await;
    case.knowledge.take_back(&case.catalog, &desk, &stale).await;
    assert_eq!(case.database().await.as_deref(), Some("a new beginning"));
    // Nor is what is published there, though it has the same bytes.
    case.knowledge.take_lease(&lap, 2).await.expect("free");
    let moved = case.knowledge.publish(&case.catalog, &lap, 2, &fresh);
    assert_eq!(moved.await.expect("published").epoch, 2);
    let same = Stale {
        blob: fresh.blob,
        ..stale
    };
    case.knowledge.take_back(&case.catalog, &desk, &same).await;
    assert_eq!(case.database().await.as_deref(), Some("a new beginning"));
}

/// A relay that could not look whether the epoch lasts, or died before it could, may
/// have left a batch that comes once more.
#[tokio::test]
async fn a_batch_for_an_epoch_that_is_over_leaves_nothing() {
    let case = Case::new();
    let desk = case.device("desk");
    let write = |epoch, sequence| {
        let batch = Bytes::from_static(b"a secret");
        case.knowledge.write(&desk, epoch, sequence, batch)
    };
    write(1, 1).await.expect("written");
    case.publish(1, "one").await.expect("published");
    case.pass(MINUTE);
    case.restore(NOW).await.expect("restored");
    assert_declined(write(1, 2).await, Code::Conflict, "epoch=2");
    let key = |sequence| case.place.batch(1, &desk.device, sequence);
    assert_eq!(case.text(&key(2)).await, None);
    // One of before belongs to what may be restored.
    assert_declined(write(1, 1).await, Code::Conflict, "epoch=2");
    assert_eq!(case.text(&key(1)).await.as_deref(), Some("a secret"));
    case.erase().await;
    assert_declined(write(1, 1).await, Code::Conflict, "epoch=3");
    assert_eq!(case.text(&key(1)).await, None);
}
