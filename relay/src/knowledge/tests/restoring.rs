//! Knowledge as it was.

use super::*;
use crate::objects::failing::Fault;
use crate::objects::layout::KeptPart;

/// A user who published `one`, an hour later `two`, and another one later wants the
/// first back.
async fn published_twice() -> Case {
    let case = Case::new();
    case.publish(1, "one").await.expect("published");
    case.pass(HOUR);
    case.publish(1, "two").await.expect("published");
    case.pass(HOUR);
    case
}

#[tokio::test]
async fn a_restore_begins_with_the_snapshot_before_the_time() {
    let case = published_twice().await;
    let restored = case.restore(NOW + MINUTE).await.expect("restored");
    assert_eq!((restored.epoch, restored.snapshot_unix_ms), (2, NOW));
    assert_eq!(case.database().await.as_deref(), Some("one"));
    let manifest = case.manifest().await;
    let snapshot = manifest.snapshot.expect("a snapshot");
    let entry = case.catalog.read(&case.published()).await.expect("read");
    let entry = entry.expect("there").entry;
    let published = entry.published.as_ref().expect("published");
    assert_eq!(published.etag, snapshot.etag);
    assert_eq!(entry.publishing, None, "the name is free again");
    let base = manifest.base.expect("a base");
    assert_eq!((base.epoch, base.until_unix_ms), (1, NOW + MINUTE));
}

#[tokio::test]
async fn a_moment_is_restored_from_its_own_epoch_or_not_at_all() {
    let case = published_twice().await;
    case.restore(NOW + MINUTE).await.expect("restored");
    let second = case.now();
    case.pass(10 * MINUTE);
    case.publish(2, "one and three").await.expect("published");
    case.pass(10 * MINUTE);
    case.restore(NOW + HOUR).await.expect("restored");
    let third = case.now();
    case.pass(10 * MINUTE);
    // In the second epoch, after what was published there, and before.
    let restored = case.restore(third - MINUTE).await.expect("restored");
    assert_eq!(restored.snapshot_unix_ms, second + 10 * MINUTE);
    assert_eq!(case.database().await.as_deref(), Some("one and three"));
    let refused = case.restore(second + MINUTE).await.expect_err("of none");
    let RestoreError::NotPublished { epoch, began, .. } = &refused else {
        panic!("{refused}");
    };
    let beginning = crate::cli::when::utc(second.cast_signed());
    assert_eq!((*epoch, began), (2, &beginning), "{refused}");
    // And in the third, where nothing was.
    let refused = case.restore(third + MINUTE).await.expect_err("of none");
    assert!(
        matches!(&refused, RestoreError::NotPublished { epoch: 3, .. }),
        "{refused}"
    );
    // The first is there for as long as it is kept.
    let restored = case.restore(second - MINUTE).await.expect("restored");
    assert_eq!(restored.snapshot_unix_ms, NOW + HOUR);
}

#[tokio::test]
async fn what_follows_a_restore_can_be_restored_in_the_same_hour() {
    let case = Case::new();
    case.publish(1, "one").await.expect("published");
    case.pass(MINUTE);
    case.restore(case.now()).await.expect("restored");
    case.pass(MINUTE);
    case.publish(2, "right").await.expect("published");
    case.pass(MINUTE);
    case.publish(2, "wrong").await.expect("published");
    case.pass(MINUTE);
    case.restore(case.now() - 2 * MINUTE + 1)
        .await
        .expect("restored");
    assert_eq!(case.database().await.as_deref(), Some("right"));
}

#[tokio::test]
async fn nobody_knows_the_future() {
    let case = published_twice().await;
    let refused = case.restore(case.now() + 1).await.expect_err("not yet");
    assert!(matches!(refused, RestoreError::Future { .. }), "{refused}");
    assert_eq!(case.manifest().await.epoch, 1);
    case.restore(case.now()).await.expect("now");
}

#[tokio::test]
async fn a_damaged_copy_changes_nothing() {
    let case = published_twice().await;
    // Of the same size, as pages are.
    let kept = case.place.kept_at(NOW, KeptPart::Database);
    case.put(&kept, "onE").await;
    let before = case.all().await;
    let refused = case.restore(NOW + MINUTE).await.expect_err("damaged");
    let RestoreError::Bucket(why) = &refused else {
        panic!("{refused}");
    };
    assert!(
        why.to_string().contains("kept database is damaged"),
        "{why}"
    );
    assert_eq!(case.all().await, before);
}

#[tokio::test]
async fn what_fails_before_the_copy_changes_nothing() {
    let case = published_twice().await;
    case.faults.next("/embeddings.db", Fault::Fails);
    let refused = case.restore(NOW + MINUTE).await.expect_err("it fails");
    assert!(matches!(refused, RestoreError::Bucket(_)), "{refused}");
    assert_eq!(case.database().await.as_deref(), Some("two"));
    assert_eq!(case.manifest().await.epoch, 1);
    // Everything goes on as before, at once.
    case.publish(1, "three").await.expect("published");
    let restored = case.restore(NOW + MINUTE).await.expect("restored");
    assert_eq!(restored.epoch, 2);
}

#[tokio::test]
async fn what_fails_half_way_is_told_and_the_same_again_goes_on() {
    let case = published_twice().await;
    case.faults.next("/manifest.json", Fault::Fails);
    let refused = case.restore(NOW + MINUTE).await.expect_err("it fails");
    assert!(matches!(refused, RestoreError::HalfWay { .. }), "{refused}");
    assert!(refused.to_string().contains("hint: the same again"));
    // No entry speaks of what is not there: nobody begins with it by mistake.
    let entry = case.catalog.read(&case.published()).await.expect("read");
    assert_eq!(entry.expect("there").entry.published, None);
    let restored = case.restore(NOW + MINUTE).await.expect("restored");
    assert_eq!(restored.epoch, 2);
    assert_eq!(case.database().await.as_deref(), Some("one"));
}

#[tokio::test]
async fn an_answer_that_is_lost_and_a_head_that_fails_do_no_harm() {
    let case = published_twice().await;
    case.faults.next("/manifest.json", Fault::LosesAnswer);
    case.faults.next("/head.json", Fault::Fails);
    let restored = case.restore(NOW + MINUTE).await.expect("restored");
    assert_eq!((restored.epoch, case.manifest().await.epoch), (2, 2));
}

#[tokio::test]
async fn who_pushes_while_it_is_restored_has_lost() {
    let case = published_twice().await;
    let place = case.published();
    let desk = case.device("desk");
    let wish = Wish {
        device: &desk,
        blob: Hash::of(b"late"),
        size: 4,
    };
    let upload = case.bucket.begin_upload(place.object()).await;
    let upload = upload.expect("begun");
    let now = case.catalog.read(&place).await.expect("read").expect("one");
    let claimed = Entry::claim(Some(&now.entry), &wish, &upload, case.now()).expect("free");
    let written = case.catalog.write(&place, Some(&now), claimed).await;
    assert!(matches!(written, Ok(Written::Yes(_))), "{written:?}");
    let part = vec!["late".into()];
    let tag = case.bucket.put_part(place.object(), &upload, 0, part).await;
    let tag = tag.expect("stored");
    case.restore(NOW + MINUTE).await.expect("restored");
    let completed = case.bucket.complete(place.object(), &upload, vec![tag]);
    completed.await.expect_err("it was ended");
    assert_eq!(case.database().await.as_deref(), Some("one"));
}

/// It was stopped before it had removed what is kept.
#[tokio::test]
async fn nothing_that_was_erased_is_restored() {
    let case = published_twice().await;
    case.erase().await;
    let refused = case.restore(NOW + MINUTE).await.expect_err("erased");
    assert!(
        matches!(&refused, RestoreError::NotKept { .. }),
        "{refused}"
    );
}
