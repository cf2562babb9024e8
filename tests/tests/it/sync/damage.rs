//! Logs that are not what devices wrote.

use std::path::PathBuf;

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_proto::sync::batch::{BatchPlace, decode, encode};
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::reading::FIRST;
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};

use super::publish::publish;

/// A device that has written a batch that no other has read, and where it is.
async fn written() -> (Lab, Known, PathBuf) {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    laptop.put("a.md", "the first batch").await;
    let path = lab
        .relay_state()
        .join("bucket/knowledge/alice/.sync/log/e1/laptop/0000000000000001.batch");
    in_time("a batch", async {
        while !path.exists() || laptop.store.outgoing_backlog().await.expect("read") > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    (lab, laptop, path)
}

fn place(sequence: u64) -> BatchPlace {
    BatchPlace {
        user: "alice".parse().expect("a name"),
        epoch: 1,
        device: "laptop".parse().expect("a name"),
        sequence,
    }
}

/// The batch as one of the next major version.
fn newer(batch: &[u8]) -> Vec<u8> {
    let mut newer = batch[..batch.len() - Hash::LENGTH].to_vec();
    newer[5] = 2;
    let hash = Hash::of(&newer);
    newer.extend_from_slice(hash.as_bytes());
    newer
}

/// Waits until the device reports what is wrong with a batch.
pub(super) async fn reported(known: &Known, sequence: u64, says: &str) -> String {
    in_time("a report", async {
        loop {
            let status = known.sync.status().await.expect("status");
            let left = status.quarantined.iter();
            let mut left = left.filter(|it| it.sequence == sequence && it.device == "laptop");
            if let Some(left) = left.next() {
                assert!(left.reason.contains(says), "{}", left.reason);
                return left.reason.clone();
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_damaged_batch_is_reported_and_the_rest_goes_on() {
    let (lab, laptop, path) = written().await;
    let whole = std::fs::read(&path).expect("read");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&path, &damaged).expect("written");
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    reported(&desktop, 1, "another hash").await;
    // What comes behind it, and what other devices write, is read.
    laptop.put("b.md", "the second batch").await;
    desktop.until_found("second").await;
    let agent = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&agent).await;
    phone.put("c.md", "from the phone").await;
    desktop.until_found("phone").await;
    assert!(desktop.words("first").await.is_empty());
    // Mended, it is applied when it is looked at again.
    std::fs::write(&path, &whole).expect("written");
    desktop.sync.now();
    desktop.until_found("first").await;
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.quarantined.len(), 0, "{status:?}");
    phone.sync.now();
    in_step(&[&laptop, &desktop, &phone]).await;
}

#[tokio::test]
async fn what_is_cut_short_missing_or_of_elsewhere_is_reported() {
    type Spoil = fn(&[u8]) -> Option<Vec<u8>>;
    let ways: [(&str, Spoil); 5] = [
        ("another hash", |whole| {
            Some(whole[..whole.len() - 9].to_vec())
        }),
        ("too short", |_| Some(Vec::new())),
        ("missing", |_| None),
        ("elsewhere", |whole| {
            let batch = decode(&Bytes::copy_from_slice(whole), &place(1)).expect("whole");
            let mut foreign = place(1);
            foreign.user = "bob".parse().expect("a name");
            let (bytes, _) = encode(&foreign, FIRST, &batch.rows).expect("memory");
            Some(bytes.to_vec())
        }),
        ("follow", |whole| {
            let batch = decode(&Bytes::copy_from_slice(whole), &place(1)).expect("whole");
            let forged = Hash::of(b"of nothing");
            let (bytes, _) = encode(&place(1), forged, &batch.rows).expect("memory");
            Some(bytes.to_vec())
        }),
    ];
    let all = ways.map(|(says, spoil)| async move {
        let (lab, laptop, path) = written().await;
        let whole = std::fs::read(&path).expect("read");
        laptop.put("b.md", "the second batch").await;
        in_time("a second batch", async {
            while laptop.store.outgoing_backlog().await.expect("read") > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
        match spoil(&whole) {
            Some(bytes) => std::fs::write(&path, bytes).expect("written"),
            None => std::fs::remove_file(&path).expect("removed"),
        }
        let agent = lab.another_agent("alice", "desktop").await;
        let desktop = Known::of(&agent).await;
        reported(&desktop, 1, says).await;
        desktop.until_found("second").await;
        assert!(desktop.words("first").await.is_empty(), "{says}");
    });
    // Each waits for its tries.
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn a_batch_of_a_newer_version_or_from_the_future_waits() {
    let (lab, laptop, path) = written().await;
    let whole = std::fs::read(&path).expect("read");
    std::fs::write(&path, newer(&whole)).expect("written");
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    reported(&desktop, 1, "upgrade this device").await;
    // It is not left out: what comes behind it waits too.
    laptop.put("b.md", "the second batch").await;
    let agent = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&agent).await;
    phone.put("c.md", "from the phone").await;
    desktop.until_found("phone").await;
    assert!(desktop.words("second").await.is_empty());

    let mut batch = decode(&whole.clone().into(), &place(1)).expect("whole");
    let in_an_hour = batch.header.stamps.1.millis() + 3_600_000;
    let ahead = Hlc::of_parts(in_an_hour, 0).expect("it fits");
    batch.rows.documents[0].hlc = ahead;
    let (bytes, _) = encode(&place(1), FIRST, &batch.rows).expect("memory");
    std::fs::write(&path, &bytes).expect("written");
    let agent = lab.another_agent("alice", "tablet").await;
    let tablet = Known::of(&agent).await;
    reported(&tablet, 1, "ahead of the relay's time").await;
    assert!(tablet.words("first").await.is_empty());
    // As it should be, both take it.
    std::fs::write(&path, &whole).expect("written");
    for known in [&desktop, &tablet] {
        known.sync.now();
        known.until_found("second").await;
    }
    in_step(&[&laptop, &desktop, &tablet]).await;
}

/// What was left out is in what is published by who has it.
#[tokio::test]
async fn what_was_left_out_comes_with_what_is_published() {
    let (lab, laptop, path) = written().await;
    std::fs::write(&path, b"lost for good").expect("written");
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    reported(&desktop, 1, "too short").await;
    laptop.put("b.md", "the second batch").await;
    desktop.until_found("second").await;
    assert!(desktop.words("first").await.is_empty());
    publish(&laptop).await;
    desktop.sync.now();
    desktop.until_found("first").await;
    in_step(&[&laptop, &desktop]).await;
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.quarantined.len(), 0, "{status:?}");
}

/// A batch that is written once more, in the place of the next one.
#[tokio::test]
async fn a_replay_is_reported_and_the_log_goes_on_behind_it() {
    let (lab, laptop, path) = written().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    in_step(&[&laptop, &desktop]).await;
    let before = desktop.dump().await;
    laptop.sync.set_paused(true).await.expect("paused");
    let next = path.with_file_name("0000000000000002.batch");
    std::fs::copy(&path, &next).expect("copied");
    desktop.sync.now();
    reported(&desktop, 2, "elsewhere").await;
    let status = desktop.sync.status().await.expect("status");
    let object = status.quarantined[0].object.as_deref();
    assert_eq!(object, Some(&*place(2).object()));
    assert_eq!(desktop.dump().await, before);
    // Who wrote the log finds it, too, and goes on.
    laptop.put("b.md", "the second batch").await;
    laptop.sync.set_paused(false).await.expect("resumed");
    desktop.until_found("second").await;
    in_step(&[&laptop, &desktop]).await;
    assert!(path.with_file_name("0000000000000003.batch").exists());
}

/// What waits for an upgrade of this device is in nothing that it publishes, and
/// does not keep it from publishing.
#[tokio::test]
async fn a_log_that_has_to_wait_stops_nobody() {
    let (_lab, laptop, path) = written().await;
    let newer = newer(&std::fs::read(&path).expect("read"));
    let ghost = path
        .parent()
        .and_then(|log| log.parent())
        .expect("a folder");
    let ghost = ghost.join("ghost");
    std::fs::create_dir_all(&ghost).expect("made");
    std::fs::write(ghost.join("0000000000000001.batch"), newer).expect("written");
    laptop.sync.now();
    in_time("a report", async {
        while laptop
            .sync
            .status()
            .await
            .expect("read")
            .quarantined
            .is_empty()
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    in_step(&[&laptop]).await;
    publish(&laptop).await;
    // But it would be left behind if all were encrypted now.
    let refused = laptop.sync.encrypt(false).await.expect_err("it waits");
    assert!(refused.reason.contains("left behind"), "{refused}");
    laptop.put("b.md", "the second batch").await;
    in_step(&[&laptop]).await;
    assert_eq!(laptop.sync.status().await.expect("read").key, None);
}

/// A bucket that said too early that all is safe.
#[tokio::test]
async fn a_bucket_that_loses_the_newest_batch_gets_it_again() {
    let (lab, laptop, path) = written().await;
    let whole = std::fs::read(&path).expect("read");
    std::fs::remove_file(&path).expect("removed");
    laptop.sync.now();
    in_time("the batch once more", async {
        while !path.exists() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    in_step(&[&laptop, &desktop]).await;
    assert_eq!(std::fs::read(&path).expect("read"), whole);
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.quarantined.len(), 0, "{status:?}");

    // What was deleted since is not kept for that, and all the rest comes anyway.
    let gone = laptop.put("gone.md", "soon to be deleted").await;
    let kept = laptop.put("kept.md", "in a batch that is lost").await;
    in_step(&[&laptop, &desktop]).await;
    laptop.store.delete(gone).await.expect("deleted");
    let kept_words = laptop.store.written(2).await.expect("read");
    assert!(kept_words.is_none(), "a deleted text is kept");
    in_step(&[&laptop, &desktop]).await;
    let log = path.parent().expect("a folder");
    for batch in std::fs::read_dir(log).expect("read") {
        std::fs::remove_file(batch.expect("read").path()).expect("removed");
    }
    laptop.sync.now();
    let third = lab.another_agent("alice", "phone").await;
    let phone = Known::of(&third).await;
    in_step(&[&laptop, &desktop, &phone]).await;
    assert_eq!(phone.words("lost").await, ["kept.md"]);
    assert!(laptop.store.document(kept).await.expect("read").is_some());
}
