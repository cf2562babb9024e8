//! What is kept for a restore, and what goes.

use super::*;

#[tokio::test]
async fn what_is_kept_is_what_was_published() {
    let case = Case::new();
    let desk = case.device("desk");
    case.knowledge.take_lease(&desk, 1).await.expect("free");
    let first = case.push(&desk, "one").await;
    // Another of the same size is there by the time that it is kept.
    let pushed = case.knowledge.pushed(&case.catalog, &desk, &first).await;
    case.push(&desk, "two").await;
    let manifest = Manifest::first().publish(1, first, NOW, NOW);
    let manifest = manifest.expect("newer");
    let pushed = pushed.expect("pushed");
    case.knowledge.archive(&desk, &manifest, &pushed).await;
    let kept = case.knowledge.kept(&case.user).await.expect("read");
    assert!(kept.is_empty(), "{kept:?}");
    let left = case.all().await;
    let left = left.iter().filter(|it| it.key.as_ref().contains("pitr"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn logs_of_epochs_that_nobody_can_restore_go() {
    let case = Case::new();
    let first = case.batch(1, 1).await;
    case.publish(1, "one").await.expect("published");
    case.pass(MINUTE);
    case.restore(case.now()).await.expect("restored");
    let second = case.batch(2, 1).await;
    // Nothing was published there, and nothing can be restored.
    case.pass(MINUTE);
    case.restore(NOW + 1).await.expect("restored");
    let third = case.batch(3, 1).await;
    case.publish(3, "three").await.expect("published");
    for key in [&first, &second, &third] {
        assert!(case.text(key).await.is_some(), "{key}");
    }
    // The first snapshot is needed for a week.
    case.pass(7 * DAY);
    case.publish(3, "four").await.expect("published");
    assert!(case.text(&first).await.is_some());
    case.pass(8 * DAY);
    case.publish(3, "five").await.expect("published");
    case.pass(HOUR);
    case.publish(3, "six").await.expect("published");
    let kept = case.knowledge.kept(&case.user).await.expect("read");
    assert!(kept.values().all(|epoch| *epoch == 3), "{kept:?}");
    assert_eq!(case.text(&first).await, None);
    assert_eq!(case.text(&second).await, None);
    assert!(case.text(&third).await.is_some(), "it is in no snapshot");
}

#[tokio::test]
async fn what_a_restore_needs_stays_until_something_is_published() {
    let case = Case::new();
    let first = case.batch(1, 1).await;
    case.publish(1, "one").await.expect("published");
    case.pass(9 * DAY);
    case.restore(case.now()).await.expect("restored");
    assert_eq!(case.manifest().await.base.map(|base| base.epoch), Some(1));
    case.publish(2, "two").await.expect("published");
    assert!(
        case.text(&first).await.is_some(),
        "the first can be restored"
    );
    case.pass(9 * DAY);
    case.publish(2, "three").await.expect("published");
    case.pass(HOUR);
    case.publish(2, "four").await.expect("published");
    assert_eq!(case.text(&first).await, None);
}
