//! Artifacts pushed and pulled, end to end: real agents, a real relay, and a
//! folder or a real S3 server under R2's law as the bucket.

mod access;
mod damage;
mod full_disk;
mod loras;
mod outage;
mod r2;
mod two_relays;

use std::sync::atomic::{AtomicBool, Ordering};

use ginnel_agent::sync::Changes;
use ginnel_store::transfer::{State, Transfer};
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::until_true;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

fn assert_done(transfer: &Transfer) {
    assert_eq!(transfer.state, State::Done, "{transfer:?}");
}

/// The relay's folder, as other programs see it.
fn object(lab: &Lab, key: &str) -> Vec<u8> {
    std::fs::read(lab.relay_state().join("bucket").join(key)).expect("an object")
}

#[tokio::test]
async fn what_one_device_pushes_another_pulls_and_anybody_reads() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let model = safetensors("one", &[(1, 9 * MIB), (2, 100), (3, 9 * MIB)]);
    for (name, key) in [
        ("models/phi.safetensors", "models/phi.safetensors"),
        ("models/~/own.safetensors", "models/alice/own.safetensors"),
        ("loras/sql", "loras/sql/adapter.safetensors"),
        (
            "training/outputs/j1",
            "training/outputs/j1/adapter.safetensors",
        ),
    ] {
        laptop.write(name, &model);
        let pushed = laptop.push(name).await;
        assert_done(&pushed);
        assert_eq!(object(&lab, key), model, "a plain object, {name}");
        let pulled = desktop.pull(name).await;
        assert_done(&pulled);
        assert_eq!(desktop.read(name), model, "{name}");
    }
    let listed = desktop.sync.list().await.expect("listed");
    let names: Vec<_> = listed.artifacts.iter().map(|it| &*it.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(listed.used, 4 * model.len() as u64);
}

#[tokio::test]
async fn only_what_changed_travels() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let layers = [(1, 3 * MIB), (2, 3 * MIB), (3, 3 * MIB), (4, 3 * MIB)];
    let padding = "x".repeat(4000);
    laptop.write(name, &safetensors(&padding, &layers));
    let first = laptop.push(name).await;
    assert_done(&first);
    assert!(first.progress.sent >= 12 * MIB as u64, "{first:?}");
    assert_done(&desktop.pull(name).await);

    // The same again.
    let same = laptop.push(name).await;
    assert_done(&same);
    assert_eq!(same.progress.sent, 0, "{same:?}");

    // A longer header: every byte behind it moves.
    let edited = safetensors(&"y".repeat(4100), &layers);
    let header = edited.len() - 12 * MIB;
    laptop.write(name, &edited);
    let push = laptop.push(name).await;
    assert_done(&push);
    assert!(push.progress.sent <= header as u64 + 1024, "{push:?}");
    let pull = desktop.pull(name).await;
    assert_done(&pull);
    assert!(pull.progress.sent <= header as u64 + 1024, "{pull:?}");
    assert_eq!(desktop.read(name), edited);

    // One layer of four.
    let mut retrained = layers;
    retrained[2].0 = 33;
    let retrained = safetensors(&"y".repeat(4100), &retrained);
    laptop.write(name, &retrained);
    let push = laptop.push(name).await;
    assert_done(&push);
    let changed = 3 * MIB as u64;
    assert!(
        (changed..changed + changed / 500).contains(&push.progress.sent),
        "{push:?}"
    );
    assert_eq!(object(&lab, name), retrained);

    // Indexes of versions that are gone are gone.
    let catalog = lab.relay_state().join("bucket/models/.sync");
    let index = format!("{}.index", push.blob);
    until_true("old indexes are taken away", || {
        let files = std::fs::read_dir(&catalog).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name());
        let mut indexes = names.filter(|name| name.to_string_lossy().ends_with(".index"));
        indexes.next().is_some_and(|name| name == *index) && indexes.next().is_none()
    })
    .await;

    // Another name, for which the first is the base.
    laptop.write("models/~/copy.safetensors", &retrained);
    let copy = laptop.push("models/~/copy.safetensors").await;
    assert_done(&copy);
    assert_eq!(copy.progress.sent, 0, "{copy:?}");
    assert_eq!(object(&lab, "models/alice/copy.safetensors"), retrained);
}

#[tokio::test]
async fn changes_that_were_never_pushed_are_kept() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "training/datasets/j1";
    laptop.write(name, b"{\"a\":1}\n");
    assert_done(&laptop.push(name).await);
    assert_done(&desktop.pull(name).await);
    desktop.write(name, b"{\"a\":1}\n{\"mine\":2}\n");
    laptop.write(name, b"{\"a\":2}\n");
    assert_done(&laptop.push(name).await);
    let refused = desktop.sync.pull(artifact(name), Changes::Keep).await;
    let refused = refused.expect_err("there are changes");
    assert!(refused.reason.contains("never pushed"), "{refused}");
    assert!(refused.reason.contains("--force"), "{refused}");
    let pull = desktop.sync.pull(artifact(name), Changes::Replace).await;
    assert_done(&desktop.over(pull.expect("begun").id).await);
    assert_eq!(desktop.read(name), b"{\"a\":2}\n");
}

#[tokio::test]
async fn a_file_that_is_written_while_it_is_pulled_is_kept() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    laptop.write(name, &safetensors("", &[(1, 20 * MIB)]));
    assert_done(&laptop.push(name).await);
    desktop.sync.set_bandwidth(Some(10 * MIB as u64));
    let pull = desktop.sync.pull(artifact(name), Changes::Keep).await;
    let id = pull.expect("begun").id;
    desktop.until(id, |it| it.progress.needed > 0).await;
    let mine = safetensors("mine", &[(2, 1000)]);
    desktop.write(name, &mine);
    desktop.sync.set_bandwidth(None);
    let pull = desktop.over(id).await;
    assert_eq!(pull.state, State::Failed, "{pull:?}");
    let reason = pull.last_error.unwrap_or_default();
    assert!(reason.contains("was changed while"), "{reason}");
    assert_eq!(desktop.read(name), mine);
}

#[tokio::test]
async fn who_pulls_beside_pushes_gets_one_version_whole() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let versions = [1, 2].map(|seed| safetensors("", &[(seed, 12 * MIB)]));
    laptop.write(name, &versions[0]);
    assert_done(&laptop.push(name).await);
    let is_over = AtomicBool::new(false);
    let pushing = async {
        for version in versions.iter().cycle().skip(1).take(8) {
            laptop.write(name, version);
            assert_done(&laptop.push(name).await);
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let pulling = async {
        let mut seen = [0; 2];
        while !is_over.load(Ordering::Relaxed) {
            let pulled = desktop.pull(name).await;
            let file = desktop.read(name);
            let which = versions.iter().position(|version| *version == file);
            let which = which.expect("one of them");
            if pulled.state == State::Done {
                seen[which] += 1;
            } else {
                // It lost against a push, says so, and leaves the old file.
                let reason = pulled.last_error.unwrap_or_default();
                assert!(reason.contains("another version"), "{reason}");
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(pushing, pulling);
    assert!(seen.iter().sum::<u32>() > 0, "{seen:?}");
    assert_done(&desktop.pull(name).await);
    assert_eq!(desktop.read(name), versions[0], "the last one");
}

/// A relay died after it had completed an object, and before it told so. What
/// it replaced is not there any more.
#[tokio::test]
async fn what_was_complete_and_not_told_is_told_before_another_is_pushed() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let versions = [1, 2, 3].map(|seed| safetensors("", &[(seed, 12 * MIB)]));
    let file = lab
        .relay_state()
        .join("bucket/models/.sync/phi.safetensors.json");
    let entry = || -> Value {
        let bytes = std::fs::read(&file).expect("an entry");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    laptop.write(name, &versions[0]);
    assert_done(&laptop.push(name).await);
    let first = entry();
    laptop.write(name, &versions[1]);
    assert_done(&laptop.push(name).await);
    let second = entry();
    let mut untold = first.clone();
    untold["fence"] = second["fence"].clone();
    untold["publishing"] = json!({
        "fence": second["fence"], "user": "alice", "device": "laptop",
        "blob": second["published"]["blob"], "size": second["published"]["size"],
        "upload": "0".repeat(32), "expires_unix_ms": u64::MAX,
    });
    std::fs::write(&file, untold.to_string()).expect("written");

    laptop.write(name, &versions[2]);
    laptop.sync.set_bandwidth(Some(2 * MIB as u64));
    let id = laptop.sync.push(artifact(name)).await.expect("begun").id;
    laptop.until(id, |it| it.progress.sent > 0).await;
    laptop.sync.cancel(id).await.expect("forgotten");
    assert_done(&desktop.pull(name).await);
    assert_eq!(desktop.read(name), versions[1]);
    assert_eq!(entry()["published"]["blob"], second["published"]["blob"]);
}

#[tokio::test]
async fn a_paused_transfer_goes_on_when_it_is_let() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/big.safetensors";
    let model = safetensors("", &[(5, 30 * MIB)]);
    laptop.write(name, &model);
    laptop.sync.set_bandwidth(Some(6 * MIB as u64));
    let id = laptop.sync.push(artifact(name)).await.expect("begun").id;
    let moving = laptop.until(id, |it| it.progress.sent > 0).await;
    assert_eq!(moving.state, State::Running);
    laptop.sync.pause(id).await.expect("paused");
    laptop.sync.set_bandwidth(None);
    let paused = laptop.until(id, |it| it.state == State::Paused).await;
    let parts = laptop
        .knowledge
        .store()
        .transfer_parts(id)
        .await
        .expect("read");
    assert!(!parts.is_empty());
    laptop.sync.resume(id).await.expect("goes on");
    let done = laptop.over(id).await;
    assert_done(&done);
    assert!(done.progress.sent >= paused.progress.sent);
    let again = done.progress.sent - model.len() as u64;
    assert!(again <= 16 * MIB as u64, "sent twice: {again}");
    assert_eq!(object(&lab, name), model);
}
