//! Devices of one user keep what they know in step: real agents, real relays.

mod commands;
mod damage;
mod encrypt;
mod erase;
mod garbage;
mod head;
mod kill;
mod publish;
mod r2;
mod restore;
mod room;
mod stale;

use std::time::{Duration, Instant};

use ginnel_agent::knowledge::sync::status::SyncState;
use ginnel_relay::config::bucket::BucketPlace;
use ginnel_tests::chaos::world::{Paths, Programs, Setting, World};
use ginnel_tests::knowledge::{Known, in_step};
use ginnel_tests::lab::{Lab, restart_agent};
use ginnel_tests::wait::{LOOK_AGAIN, until};

/// A relay and two devices, each a process; `None` where there is no S3 server.
async fn processes(bandwidth: Option<&'static str>) -> Option<World> {
    let setting = Setting {
        programs: Programs::Child("chaos::child"),
        paths: Paths::Strict,
        bandwidth,
    };
    World::start(setting).await
}

/// A relay and two devices of one user.
async fn pair() -> (Lab, ginnel_tests::lab::LabAgent, Known, Known) {
    let lab = Lab::start().await;
    let other = lab.another_agent("alice", "desktop").await;
    let laptop = Known::of(&lab.agent).await;
    let desktop = Known::of(&other).await;
    (lab, other, laptop, desktop)
}

#[tokio::test]
async fn an_edit_is_found_on_the_other_device_at_once() {
    let (_lab, _other, laptop, desktop) = pair().await;
    laptop.put("first.md", "to begin with").await;
    in_step(&[&laptop, &desktop]).await;
    let mut took = Vec::new();
    for at in 0..20_u8 {
        let (one, other) = match at % 2 {
            0 => (&laptop, &desktop),
            _ => (&desktop, &laptop),
        };
        // Of letters of its own, which the vector counts.
        let letter = char::from(b'a' + at).to_string().repeat(9);
        let text = format!("edit{at} {letter}");
        let begun = Instant::now();
        one.put(&format!("{at}.md"), &text).await;
        other.until_found(&format!("edit{at}")).await;
        took.push(begun.elapsed());
        // The index of vectors follows the commit that is seen already.
        ginnel_tests::wait::promptly("its vector", async {
            while other.near(&text).await[0] != format!("{at}.md") {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    took.sort_unstable();
    eprintln!("median {:?}, slowest {:?}", took[10], took[19]);
    // Far above what it takes, and far below what asking now and then would.
    assert!(took[10] < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn both_edit_offline_and_agree_when_they_are_back() {
    let (lab, _other, laptop, desktop) = pair().await;
    let id = laptop.put("shared.md", "what both know").await;
    laptop.put("kept.md", "this one stays").await;
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        known.sync.set_paused(true).await.expect("paused");
        let status = known.sync.status().await.expect("status");
        assert_eq!(status.state, SyncState::Paused);
    }
    laptop.put("laptop.md", "written on the train").await;
    laptop.put("shared.md", "edited on the train").await;
    desktop.put("desktop.md", "written at home").await;
    // Later, so that it is this that stays.
    restore::moment(&lab).await;
    desktop.put("shared.md", "edited at home").await;
    assert!(laptop.words("home").await.is_empty());
    for known in [&laptop, &desktop] {
        known.sync.set_paused(false).await.expect("resumed");
    }
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("edited").await, ["shared.md"]);
        assert_eq!(known.words("home").await.len(), 2);
        assert_eq!(known.words("train").await, ["laptop.md"]);
    }
    // What is deleted on one is gone on both.
    assert!(desktop.store.delete(id).await.expect("deleted"));
    let gone = async {
        while !laptop.words("edited").await.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    ginnel_tests::wait::in_time("a deletion", gone).await;
    in_step(&[&laptop, &desktop]).await;
}

#[tokio::test]
async fn other_users_know_nothing_of_it() {
    let (lab, _other, laptop, desktop) = pair().await;
    let agent = lab.another_agent("bob", "tower").await;
    let bob = Known::of(&agent).await;
    laptop.put("secret.md", "for alice alone").await;
    in_step(&[&laptop, &desktop]).await;
    bob.put("own.md", "of bob").await;
    bob.sync.now();
    until("bob is in step", || {
        let status = lab
            .relay_state()
            .join("bucket/knowledge/bob/.sync/log/e1/tower");
        status.exists().then_some(())
    })
    .await;
    assert!(bob.words("alice").await.is_empty());
    assert!(laptop.words("bob").await.is_empty());
}

#[tokio::test]
async fn a_device_goes_on_where_it_was_after_a_restart() {
    let (_lab, other, laptop, desktop) = pair().await;
    laptop.put("a.md", "before the restart").await;
    in_step(&[&laptop, &desktop]).await;
    let state = other.state.clone();
    other.daemon.stop.cancel();
    other.daemon.wait().await.expect("stopped");
    laptop.put("b.md", "while it was away").await;
    let again = ginnel_tests::lab::LabAgent {
        daemon: restart_agent(&state).await,
        device: "desktop".parse().expect("a name"),
        state,
    };
    let desktop = Known::of(&again).await;
    desktop.put("c.md", "first thing in the morning").await;
    in_step(&[&laptop, &desktop]).await;
    // It wrote one batch more, and read one more.
    let status = desktop.sync.status().await.expect("status");
    assert_eq!(status.read_batches, 1, "{status:?}");
}

/// They share nothing but the bucket; either may die.
#[tokio::test]
async fn two_relays_need_not_know_of_each_other() {
    let first = Lab::start().await;
    let place = BucketPlace::Folder(first.relay_state().join("bucket"));
    let second = Lab::start_with(|config| config.bucket.at = place).await;
    let agent = second.another_agent("alice", "desktop").await;
    let laptop = Known::of(&first.agent).await;
    let desktop = Known::of(&agent).await;
    laptop.put("a.md", "by way of the bucket").await;
    // No news come from another relay: it is found when it is looked for.
    ginnel_tests::wait::in_time("the other relay's batch", async {
        while desktop.words("bucket").await.is_empty() {
            desktop.sync.now();
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    // Both wrote to the head.
    desktop.put("b.md", "and back").await;
    let head = first
        .relay_state()
        .join("bucket/knowledge/alice/.sync/head.json");
    until("both logs in the head", || {
        let head = std::fs::read_to_string(&head).ok()?;
        let both = head.contains("\"laptop\":1") && head.contains("\"desktop\":1");
        both.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_restored_from_a_backup_reads_its_own_log() {
    let (_lab, other, laptop, desktop) = pair().await;
    desktop.put("a.md", "before the backup").await;
    in_step(&[&laptop, &desktop]).await;
    let state = other.state.clone();
    let backup = state.join("backup.db");
    desktop.store.backup(backup.clone()).await.expect("written");
    desktop.put("b.md", "after the backup").await;
    in_step(&[&laptop, &desktop]).await;
    other.daemon.stop.cancel();
    other.daemon.wait().await.expect("stopped");
    let store = state.join("store");
    std::fs::remove_dir_all(store.join("index")).expect("removed");
    std::fs::rename(&backup, store.join("store.db")).expect("restored");
    let again = ginnel_tests::lab::LabAgent {
        daemon: restart_agent(&state).await,
        device: "desktop".parse().expect("a name"),
        state,
    };
    let desktop = Known::of(&again).await;
    assert!(desktop.words("after").await.is_empty());
    desktop.put("c.md", "once restored").await;
    in_step(&[&laptop, &desktop]).await;
    for known in [&laptop, &desktop] {
        assert_eq!(known.words("after").await, ["b.md"]);
        assert_eq!(known.words("restored").await, ["c.md"]);
    }
}
