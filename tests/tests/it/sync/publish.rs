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

/// Those that the documentation shows, of what was published here.
#[tokio::test]
async fn the_queries_of_the_documentation_find_what_is_there() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    for text in ["a backup of the cellar", "zebras", "quite a zebra"] {
        laptop.put(&format!("{text}.md"), text).await;
    }
    publish(&laptop).await;
    let documented = include_str!("../../../../docs/KNOWLEDGE.md");
    let folder = database(&lab).parent().expect("a folder").to_owned();
    let blocks = |begin: &'static str| -> Vec<&str> {
        let begun = documented.split(begin).skip(1);
        begun
            .filter_map(|block| block.split("```").next())
            .collect()
    };
    let mut found = Vec::new();
    for block in blocks("```console\n") {
        for query in block.split("$ sqlite3 embeddings.db \"").skip(1) {
            let query = query.split('"').next().expect("a query");
            found.push(python(&folder, EACH_ROW, &[query]));
        }
    }
    let [collections, documents, passages, models] = &found[..] else {
        panic!("{} queries", found.len());
    };
    assert_eq!(collections, "notes|3");
    let documents: Vec<_> = documents.lines().collect();
    assert_eq!(documents.len(), 3, "{documents:?}");
    assert!(
        documents[0].starts_with("quite a zebra.md||20"),
        "{documents:?}"
    );
    assert!(documents[0].ends_with("|laptop"), "{documents:?}");
    assert_eq!(
        passages,
        "a backup of the cellar.md|0|a backup of the cellar"
    );
    assert_eq!(models, "letters|26|3");
    let [near] = blocks("```python\n")[..] else {
        panic!("another example");
    };
    let near = python(&folder, near, &[]);
    assert!(near.starts_with("['a backup of the cellar.md', "), "{near}");
    assert_eq!(near.matches(".md").count(), 3, "{near}");
}

/// A program that prints what a query finds.
const EACH_ROW: &str = "import sqlite3, sys\n\
    for row in sqlite3.connect('file:embeddings.db?mode=ro', uri=True).execute(sys.argv[1]):\n    \
    print('|'.join('' if it is None else str(it) for it in row))";

fn python(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new("python3")
        .current_dir(folder)
        .args(["-c", program])
        .args(arguments)
        .output()
        .expect("python3 runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}\n{told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn only_what_changed_travels_when_it_is_published_again() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    for at in 0..400 {
        let text = format!("number {at} {}", "of some length ".repeat(60));
        laptop.put(&format!("{at}.md"), &text).await;
    }
    publish(&laptop).await;
    let size = std::fs::metadata(database(&lab)).expect("there").len();
    laptop.put("7.md", "another text").await;
    publish(&laptop).await;
    let transfers = laptop.store.transfers().await.expect("read").into_iter();
    let pushed = transfers.max_by_key(|it| it.created_ms).expect("a push");
    // 14 blocks at most, of which some are half empty.
    let sent = pushed.progress.sent;
    assert!(
        sent > 0 && sent <= 14 << 16 && size > 2 * sent,
        "{sent} of {size}"
    );
}

/// Models may travel at night only, and it is day.
#[tokio::test]
async fn what_is_published_waits_for_no_schedule() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    laptop.put("a.md", "in daylight").await;
    publish(&laptop).await;
    lab.agent.daemon.stop.cancel();
    let state = lab.agent.state.clone();
    let Lab {
        agent,
        relay: _relay,
        ..
    } = lab;
    agent.daemon.wait().await.expect("stopped");
    let now = ginnel_agent::sync::schedule::now();
    let hour = i32::from(now.hour());
    let night = format!("{:02}:00-{:02}:00", (hour + 11) % 24, (hour + 12) % 24);
    let change = |config: &mut ginnel_agent::config::Config| {
        config.sync.schedule = Some(night.parse().expect("a time"));
    };
    let daemon = ginnel_tests::lab::restart_agent_with(&state, change).await;
    let device = agent.device;
    let agent = ginnel_tests::lab::LabAgent {
        daemon,
        device,
        state,
    };
    let laptop = Known::of(&agent).await;
    laptop.put("b.md", "in daylight, too").await;
    publish(&laptop).await;
    let mover = ginnel_tests::artifacts::Mover::of(&agent).await;
    mover.write(
        "models/phi.safetensors",
        &ginnel_tests::artifacts::safetensors("", &[(1, 1000)]),
    );
    let artifact = ginnel_tests::artifacts::artifact("models/phi.safetensors");
    let model = mover.sync.push(artifact).await.expect("queued");
    let waits = mover.until(model.id, |it| it.last_error.is_some()).await;
    assert!(
        waits
            .last_error
            .unwrap_or_default()
            .contains("models.schedule")
    );
    laptop.put("c.md", "beside a model that waits").await;
    publish(&laptop).await;
}

/// The logs have it all: they are read, once it is plain that the other is not to be had.
#[tokio::test]
async fn a_database_that_is_damaged_in_the_bucket_keeps_nobody_from_the_logs() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    laptop.put("a.md", "in the logs").await;
    publish(&laptop).await;
    let path = database(&lab);
    let mut bytes = std::fs::read(&path).expect("read");
    let modified = std::fs::metadata(&path)
        .expect("read")
        .modified()
        .expect("known");
    bytes[5000..6000].fill(7);
    // The bucket has not noticed: it is under the same tag.
    let file = std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("opened");
    std::io::Write::write_all(&mut &file, &bytes).expect("written");
    file.set_modified(modified).expect("set");
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Known::of(&agent).await;
    in_step(&[&laptop, &desktop]).await;
    assert_eq!(desktop.words("logs").await, ["a.md"]);
}

#[tokio::test]
async fn it_is_published_while_changes_keep_coming() {
    let lab = Lab::start().await;
    let laptop = Known::of(&lab.agent).await;
    laptop.put("first.md", "before").await;
    let written = std::cell::Cell::new(0_u32);
    let writing = async {
        loop {
            let number = written.get();
            laptop.put(&format!("{number}.md"), "and more").await;
            written.set(number + 1);
        }
    };
    let publishing = async {
        // From here on batches go together, and something always waits.
        while written.get() < 100 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        publish(&laptop).await;
    };
    tokio::select! {
        () = writing => {}
        () = publishing => {}
    }
    let first = "SELECT count(*) FROM document WHERE source = 'first.md'";
    assert_eq!(count(&database(&lab), first), 1);
}
