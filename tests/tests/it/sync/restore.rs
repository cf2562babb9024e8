//! Knowledge as it was at a time, and what a restore and an erasure leave in the
//! bucket, as other programs see it.

use ginnel_relay::knowledge::restore::{RestoreError, Restored};
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};
use http::StatusCode;

use super::erase::{ADA_ERASED, erase, keys_of_ada};
use super::pair;
use super::publish::{count, database, manifest, publish};

/// A time of the relay's clock, milliseconds since 1970, that is over: also by the clocks
/// of devices, which are corrected by the relay's and near it.
pub(super) async fn moment(lab: &Lab) -> u64 {
    let at = lab.relay.relay.now_ms().cast_unsigned();
    in_time("another time", async {
        while lab.relay.relay.now_ms().cast_unsigned() < at + APART_MS {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    at
}

/// By how much more than this no clock is off, milliseconds.
const APART_MS: u64 = 250;

/// Restores as `ginnel-relay knowledge restore` does.
pub(super) async fn restore(
    lab: &Lab,
    user: &str,
    at_unix_ms: u64,
) -> Result<Restored, RestoreError> {
    let relay = &lab.relay.relay;
    let knowledge = relay.knowledge.as_ref().expect("kept");
    let catalog = &relay.sync.as_ref().expect("kept").catalog;
    let user = user.parse().expect("a name");
    knowledge.restore(catalog, &user, at_unix_ms).await
}

#[tokio::test]
async fn nothing_hidden_is_left_after_restores_and_an_erasure() {
    let lab = Lab::start().await;
    let desk = ByHand::join(&lab, "ada", "desk").await;
    let secret = b"a secret of ada ".repeat(5000);
    let (status, said) = desk.publish(1, &secret).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    // The same snapshot again and again: it lies where it is put already.
    let at = lab.relay.relay.now_ms().cast_unsigned();
    for epoch in 2..5 {
        let restored = restore(&lab, "ada", at).await;
        assert_eq!(restored.expect("restored").epoch, epoch);
    }
    let hidden: Vec<_> = keys_of_ada(&lab)
        .into_iter()
        .filter(|key| key.contains('#'))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    // A version before this one left such a thing.
    let left = lab
        .relay_state()
        .join("bucket/knowledge/ada/embeddings.db#0");
    std::fs::write(&left, &secret).expect("written");
    assert_eq!(erase(&lab, "ada").await.expect("erased").epoch, 5);
    assert_eq!(keys_of_ada(&lab), ADA_ERASED);
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
    assert_eq!(erase(&lab, "ada").await.expect("erased").epoch, 2);
    assert_eq!(keys_of_ada(&lab), ADA_ERASED);
    // Life goes on.
    let (status, said) = desk.publish(2, b"a new beginning").await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

/// What was changed between the snapshot and the moment is in batches, and one of
/// them is damaged.
#[tokio::test]
async fn what_cannot_be_restored_is_told_and_the_rest_is_there() {
    let (lab, _agent, laptop, desktop) = pair().await;
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
    let restored = restore(&lab, "alice", at).await;
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

#[tokio::test]
async fn a_restore_brings_back_what_was_and_devices_follow() {
    let (lab, _agent, laptop, desktop) = pair().await;
    laptop.put("kept.md", "in the snapshot").await;
    let edited = laptop.put("edited.md", "as it was").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    // After the snapshot, and before the time.
    desktop.put("between.md", "between the two").await;
    in_step(&[&laptop, &desktop]).await;
    let at = moment(&lab).await;
    // A mistake.
    laptop.put("edited.md", "spoiled").await;
    laptop.store.delete(edited).await.expect("deleted");
    laptop.put("wrong.md", "should not be").await;
    in_step(&[&laptop, &desktop]).await;
    // A third device knows of the mistake, and is away while it is undone.
    let other = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&other).await;
    in_step(&[&laptop, &desktop, &phone]).await;
    phone.sync.set_paused(true).await.expect("paused");
    phone.put("offline.md", "added offline").await;

    let early = restore(&lab, "alice", 1_000).await.expect_err("too early");
    assert!(early.to_string().contains("nothing is kept"), "{early}");
    let restored = restore(&lab, "alice", at).await;
    assert_eq!(restored.expect("restored").epoch, 2);
    // The plain file is the restored one at once.
    let database = database(&lab);
    assert_eq!(count(&database, "SELECT count(*) FROM document"), 2);
    laptop.sync.now();
    desktop.sync.now();
    in_step(&[&laptop, &desktop]).await;
    phone.sync.set_paused(false).await.expect("resumed");
    in_step(&[&laptop, &desktop, &phone]).await;
    for known in [&laptop, &desktop, &phone] {
        assert_eq!(known.words("snapshot").await, ["kept.md"]);
        assert_eq!(known.words("was").await, ["edited.md"]);
        assert_eq!(known.words("between").await, ["between.md"]);
        assert_eq!(known.words("offline").await, ["offline.md"]);
        assert!(known.words("spoiled wrong should").await.is_empty());
        let epoch = known.store.epoch().await.expect("read");
        assert_eq!(epoch.map(|epoch| epoch.number), Some(2));
    }
    // Life goes on, in the new epoch.
    desktop.put("later.md", "after the restore").await;
    in_step(&[&laptop, &desktop, &phone]).await;
    publish(&laptop).await;
    // News of the epoch before concern nobody.
    for known in [&laptop, &desktop, &phone] {
        let status = known.sync.status().await.expect("read");
        assert_eq!(
            (status.behind, status.quarantined.len()),
            (0, 0),
            "{status:?}"
        );
    }
    assert_eq!(manifest(&lab, "alice")["epoch"], 2);
    assert_eq!(
        count(&database, "SELECT count(*) FROM document WHERE deleted = 0"),
        5
    );
}

/// Its own publication was stopped in the middle once, and SQLite's journal of that
/// lies there still.
#[tokio::test]
async fn a_journal_of_before_does_not_spoil_what_is_downloaded() {
    let (lab, _agent, laptop, desktop) = pair().await;
    for at in 0..50 {
        laptop
            .put(&format!("{at}.md"), &format!("number {at}"))
            .await;
    }
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    let at = moment(&lab).await;
    laptop.put("wrong.md", "should not be").await;
    in_step(&[&laptop, &desktop]).await;
    let copy = lab.agent.state.join("models/knowledge/embeddings.db");
    let stopped = std::process::Command::new("python3")
        .args(["-c", STOPPED, copy.to_str().expect("text")])
        .status();
    assert!(stopped.expect("python3 runs").success());
    let journal = copy.with_file_name("embeddings.db-journal");
    assert!(std::fs::metadata(&journal).expect("there").len() > 512);
    let restored = restore(&lab, "alice", at).await;
    assert_eq!(restored.expect("restored").epoch, 2);
    for known in [&laptop, &desktop] {
        known.until_epoch(2).await;
    }
    in_step(&[&laptop, &desktop]).await;
    assert!(laptop.words("should").await.is_empty());
    publish(&laptop).await;
    assert_eq!(count(&database(&lab), "SELECT count(*) FROM document"), 50);
}

/// Begins to write, and ends before that is done; what was written so far is on disk.
const STOPPED: &str = "import os, sqlite3, sys\n\
    db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
    db.execute('PRAGMA cache_size = 1')\n\
    db.execute('BEGIN IMMEDIATE')\n\
    db.execute('UPDATE passage SET text = text || hex(randomblob(2000))')\n\
    os._exit(0)";
