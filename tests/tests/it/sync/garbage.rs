//! What is forgotten once all devices know it, and devices that were silent for long.

use std::path::PathBuf;

use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};
use serde_json::Value;

use super::pair;
use super::publish::publish;

/// What a device says of itself in the bucket.
struct Word(PathBuf);

impl Word {
    fn of(lab: &Lab, device: &str) -> Self {
        let folder = "bucket/knowledge/alice/.sync/devices";
        Self(
            lab.relay_state()
                .join(folder)
                .join(format!("{device}.json")),
        )
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.0).expect("read")).expect("JSON")
    }

    /// As if it had last spoken 91 days ago; gives when that was, in ms of Unix time.
    fn make_old(&self) -> u64 {
        let mut word = self.read();
        let then = word["unix_ms"].as_u64().expect("a time") - 91 * 24 * 3_600_000;
        word["unix_ms"] = then.into();
        std::fs::write(&self.0, word.to_string()).expect("written");
        then
    }
}

/// Nothing of what was deleted is left on a device.
async fn until_forgotten(known: &Known) {
    in_time("tombstones that go", async {
        loop {
            known.sync.now();
            if known.store.stats().await.expect("read").tombstones == 0 {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_all_devices_know_is_forgotten_and_who_was_silent_revives_nothing() {
    let (lab, _agent, laptop, desktop) = pair().await;
    let gone = laptop.put("gone.md", "gone soon").await;
    laptop.put("stays.md", "this one stays").await;
    in_step(&[&laptop, &desktop]).await;
    // The desktop goes away with an edit that it never sent.
    desktop.sync.set_paused(true).await.expect("paused");
    desktop.put("gone.md", "edited offline").await;
    desktop.put("new.md", "added offline").await;
    laptop.put("stays.md", "edited meanwhile").await;
    laptop.store.delete(gone).await.expect("deleted");
    laptop.sync.now();
    // While it is waited for, the deletion is kept.
    publish(&laptop).await;
    assert_eq!(laptop.store.stats().await.expect("read").tombstones, 1);
    Word::of(&lab, "desktop").make_old();
    until_forgotten(&laptop).await;
    publish(&laptop).await;
    desktop.sync.set_paused(false).await.expect("resumed");
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("offline").await, ["new.md"]);
        assert_eq!(known.words("meanwhile").await, ["stays.md"]);
        assert!(known.words("gone").await.is_empty());
    }
    until_forgotten(&desktop).await;
}

/// A device that was away for some days: what it lacks is in no log any more, only in
/// what is published.
#[tokio::test]
async fn a_log_that_was_cleared_whole_comes_with_what_is_published() {
    let (lab, _agent, laptop, desktop) = pair().await;
    let gone = laptop.put("gone.md", "gone soon").await;
    in_step(&[&laptop, &desktop]).await;
    desktop.sync.set_paused(true).await.expect("paused");
    desktop.put("own.md", "added offline").await;
    laptop.put("a.md", "written meanwhile").await;
    laptop.store.delete(gone).await.expect("deleted");
    in_step(&[&laptop]).await;
    publish(&laptop).await;
    let log = "bucket/knowledge/alice/.sync/log/e1/laptop";
    std::fs::remove_dir_all(lab.relay_state().join(log)).expect("removed");
    desktop.sync.set_paused(false).await.expect("resumed");
    desktop.until_found("meanwhile").await;
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("offline").await, ["own.md"]);
        assert!(known.words("gone").await.is_empty());
        let status = known.sync.status().await.expect("read");
        assert_eq!(status.quarantined.len(), 0, "{status:?}");
    }
}

/// Nobody waited for it, and nothing was published: all logs are there still. It hears them all
/// before it says that it is there, and before it writes.
#[tokio::test]
async fn who_was_silent_where_nothing_is_published_hears_everything_first() {
    let (lab, _agent, laptop, desktop) = pair().await;
    let gone = laptop.put("gone.md", "gone soon").await;
    in_step(&[&laptop, &desktop]).await;
    desktop.sync.set_paused(true).await.expect("paused");
    desktop.put("new.md", "added offline").await;
    let word = Word::of(&lab, "desktop");
    let then = word.make_old();
    laptop.store.delete(gone).await.expect("deleted");
    laptop.put("stays.md", "edited meanwhile").await;
    in_step(&[&laptop]).await;
    desktop.sync.set_paused(false).await.expect("resumed");
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("offline").await, ["new.md"]);
        assert!(known.words("gone").await.is_empty());
    }
    let said = word.read();
    assert!(said["unix_ms"].as_u64() > Some(then), "{said}");
    let heard = said["read"]["laptop"].as_u64();
    assert!(heard >= Some(2), "it spoke before it had heard: {said}");
}
