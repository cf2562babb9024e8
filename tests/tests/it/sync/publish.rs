//! What is published: a plain database in the bucket, and what new devices
//! begin with.

use std::path::{Path, PathBuf};

use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};

fn database(lab: &Lab) -> PathBuf {
    lab.relay_state()
        .join("bucket/knowledge/alice/embeddings.db")
}

pub(super) fn manifest(lab: &Lab, user: &str) -> serde_json::Value {
    let path = lab
        .relay_state()
        .join(format!("bucket/knowledge/{user}/.sync/manifest.json"));
    let text = std::fs::read(path).unwrap_or_else(|_| b"null".to_vec());
    serde_json::from_slice(&text).expect("JSON")
}

/// Publishes, and waits until that is done.
pub(super) async fn publish(known: &Known) {
    let before = known.sync.status().await.expect("status");
    known.sync.publish();
    in_time("a publication", async {
        loop {
            let now = known.sync.status().await.expect("status");
            if let Some(why) = &now.unpublished {
                eprintln!("not published: {why}");
            }
            if now.published_unix_ms != before.published_unix_ms {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// What stock SQLite finds there.
fn count(path: &Path, sql: &str) -> i64 {
    let script = "import sqlite3, sys; db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True); \
                  print(db.execute(sys.argv[2]).fetchone()[0])";
    let output = std::process::Command::new("python3")
        .args(["-c", script, path.to_str().expect("text"), sql])
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.trim().parse();
    found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn the_bucket_has_a_plain_database_that_stock_tools_read() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    for at in 0..40 {
        laptop
            .put(&format!("{at}.md"), &format!("number {at}"))
            .await;
    }
    let gone = laptop.put("gone.md", "gone soon").await;
    publish(&laptop).await;
    let path = database(&lab);
    assert_eq!(
        count(&path, "SELECT count(*) FROM document WHERE deleted = 0"),
        41
    );
    assert_eq!(
        count(&path, "SELECT length(vector) FROM embedding LIMIT 1"),
        104
    );
    let first = manifest(&lab, "alice");
    assert_eq!(first["epoch"], 1);
    assert!(
        first["snapshot"]["read"]["laptop"].as_u64() >= Some(1),
        "{first}"
    );
    laptop.store.delete(gone).await.expect("deleted");
    laptop.put("7.md", "number seven").await;
    publish(&laptop).await;
    assert_eq!(
        count(&path, "SELECT count(*) FROM document WHERE deleted = 0"),
        40
    );
    assert_eq!(
        count(
            &path,
            "SELECT count(*) FROM passage WHERE text = 'number seven'"
        ),
        1
    );
    let second = manifest(&lab, "alice");
    assert_ne!(first["snapshot"]["blob"], second["snapshot"]["blob"]);
}

#[tokio::test]
async fn a_new_device_begins_with_the_database_and_reads_the_rest() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    for at in 0..40 {
        laptop
            .put(&format!("{at}.md"), &format!("number {at}"))
            .await;
    }
    publish(&laptop).await;
    laptop.put("late.md", "after that").await;
    // What is in the database is in no log any more.
    let log = lab
        .relay_state()
        .join("bucket/knowledge/alice/.sync/log/e1/laptop");
    let read = manifest(&lab, "alice")["snapshot"]["read"]["laptop"].as_u64();
    for sequence in 1..=read.expect("a number") {
        std::fs::remove_file(log.join(format!("{sequence:016x}.batch"))).expect("removed");
    }
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    desktop.put("own.md", "of the desktop").await;
    let dump = in_step(&[&laptop, &desktop]).await;
    assert_eq!(dump.len(), 1 + 42 * 3);
    assert_eq!(desktop.words("after").await, ["late.md"]);
    assert_eq!(desktop.near("number").await.len(), 10);
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.quarantined.len(), 0, "{status:?}");
}

#[tokio::test]
async fn one_device_at_a_time_publishes() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    laptop.put("a.md", "first").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    let lease = lab
        .relay_state()
        .join("bucket/knowledge/alice/.sync/lease.json");
    let held = std::fs::read_to_string(&lease).expect("read");
    assert!(held.contains("laptop"), "{held}");
    // The other one is refused while the lease lasts.
    desktop.put("b.md", "second").await;
    in_step(&[&laptop, &desktop]).await;
    let before = manifest(&lab, "alice");
    desktop.sync.publish();
    in_time("a refusal", async {
        loop {
            let status = desktop.sync.status().await.expect("status");
            let told = status.unpublished.unwrap_or_default();
            if told.contains("device laptop publishes now") {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    assert_eq!(manifest(&lab, "alice"), before);
    assert_eq!(std::fs::read_to_string(&lease).expect("read"), held);
    // One that has run out it takes.
    let mut ended: serde_json::Value = serde_json::from_str(&held).expect("JSON");
    ended["expires_unix_ms"] = 1.into();
    std::fs::write(&lease, ended.to_string()).expect("written");
    publish(&desktop).await;
    let held = std::fs::read_to_string(&lease).expect("read");
    assert!(held.contains("desktop"), "{held}");
    assert_eq!(count(&database(&lab), "SELECT count(*) FROM document"), 2);
}

fn word(lab: &Lab, device: &str) -> PathBuf {
    let folder = lab
        .relay_state()
        .join("bucket/knowledge/alice/.sync/devices");
    folder.join(format!("{device}.json"))
}

/// Nothing of what was deleted is left on a device.
async fn until_forgotten(known: &Known) {
    in_time("tombstones that go", async {
        loop {
            known.sync.now();
            if known.store.stats().await.expect("read").tombstones == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_all_devices_know_is_forgotten_and_who_was_silent_revives_nothing() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
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
    // 91 days later.
    let path = word(&lab, "desktop");
    let mut silent: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    let then = silent["unix_ms"].as_u64().expect("a time") - 91 * 24 * 3_600_000;
    silent["unix_ms"] = then.into();
    std::fs::write(&path, silent.to_string()).expect("written");
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
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
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
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    let gone = laptop.put("gone.md", "gone soon").await;
    in_step(&[&laptop, &desktop]).await;
    desktop.sync.set_paused(true).await.expect("paused");
    desktop.put("new.md", "added offline").await;
    let path = word(&lab, "desktop");
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON")
    };
    let mut silent = read();
    let then = silent["unix_ms"].as_u64().expect("a time") - 91 * 24 * 3_600_000;
    silent["unix_ms"] = then.into();
    std::fs::write(&path, silent.to_string()).expect("written");
    laptop.store.delete(gone).await.expect("deleted");
    laptop.put("stays.md", "edited meanwhile").await;
    in_step(&[&laptop]).await;
    desktop.sync.set_paused(false).await.expect("resumed");
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("offline").await, ["new.md"]);
        assert!(known.words("gone").await.is_empty());
    }
    let said = read();
    assert!(said["unix_ms"].as_u64() > Some(then), "{said}");
    let heard = said["read"]["laptop"].as_u64();
    assert!(heard >= Some(2), "it spoke before it had heard: {said}");
}

#[tokio::test]
async fn a_restore_brings_back_what_was_and_devices_follow() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&agent).await;
    laptop.put("kept.md", "in the snapshot").await;
    let edited = laptop.put("edited.md", "as it was").await;
    in_step(&[&laptop, &desktop]).await;
    publish(&laptop).await;
    // After the snapshot, and before the time.
    desktop.put("between.md", "between the two").await;
    in_step(&[&laptop, &desktop]).await;
    let at = lab.relay.relay.now_ms().cast_unsigned();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
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

    let relay = &lab.relay.relay;
    let (knowledge, sync) = (relay.knowledge.as_ref(), relay.sync.as_ref());
    let (knowledge, sync) = (knowledge.expect("kept"), sync.expect("kept"));
    let user = "alice".parse().expect("a name");
    let early = knowledge.restore(&sync.catalog, &user, 1_000).await;
    assert!(
        early
            .expect_err("too early")
            .to_string()
            .contains("nothing is kept")
    );
    let restored = knowledge.restore(&sync.catalog, &user, at).await;
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
