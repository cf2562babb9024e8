//! What is published: a plain database in the bucket, and what new devices
//! begin with.

use std::path::{Path, PathBuf};

use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time};

use super::pair;

pub(super) fn database(lab: &Lab) -> PathBuf {
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
pub(super) fn count(path: &Path, sql: &str) -> i64 {
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
    let (lab, _agent, laptop, desktop) = pair().await;
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
