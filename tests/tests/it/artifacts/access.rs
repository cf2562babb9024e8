//! Who may do what: users reach their own artifacts and those that are shared,
//! and never more than their quota.

use ginnel_agent::sync::Changes;
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::Lab;

use super::{MIB, assert_done, object};

#[tokio::test]
async fn users_reach_their_own_and_what_is_shared() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    let other = lab.another_agent("bob", "bobs").await;
    let bob = Mover::of(&other).await;
    let model = safetensors("alice's", &[(1, 100_000)]);
    for name in [
        "models/shared.safetensors",
        "models/~/private.safetensors",
        "loras/adapter",
        "training/outputs/j1",
    ] {
        alice.write(name, &model);
        assert_done(&alice.push(name).await);
    }

    // He sees and pulls what is shared.
    let listed = bob.sync.list().await.expect("listed").artifacts;
    let names: Vec<_> = listed.iter().map(|it| (&*it.name, it.mine)).collect();
    assert_eq!(names, [("models/shared.safetensors", false)]);
    assert_done(&bob.pull("models/shared.safetensors").await);

    // For him the rest does not exist, and his own private shelf is another.
    for name in [
        "models/~/private.safetensors",
        "loras/adapter",
        "training/outputs/j1",
    ] {
        let refused = bob.sync.pull(artifact(name), Changes::Keep).await;
        let refused = refused.expect_err(name);
        assert!(refused.reason.contains("no such artifact"), "{refused}");
        let refused = bob.sync.remove_remote(artifact(name)).await;
        let refused = refused.expect_err(name);
        assert!(refused.reason.contains("no such artifact"), "{refused}");
    }
    let his = safetensors("bob's", &[(2, 1000)]);
    bob.write("models/~/private.safetensors", &his);
    assert_done(&bob.push("models/~/private.safetensors").await);
    assert_eq!(object(&lab, "models/alice/private.safetensors"), model);
    assert_eq!(object(&lab, "models/bob/private.safetensors"), his);

    // The names that she was first to push are hers.
    for name in [
        "models/shared.safetensors",
        "loras/adapter",
        "training/outputs/j1",
    ] {
        bob.write(name, &his);
        let refused = bob.push(name).await;
        assert_eq!(refused.state, State::Failed, "{refused:?}");
        let reason = refused.last_error.unwrap_or_default();
        assert!(reason.contains("belongs to another user"), "{reason}");
    }
    let refused = bob
        .sync
        .remove_remote(artifact("models/shared.safetensors"))
        .await;
    let refused = refused.expect_err("it is hers");
    assert!(
        refused.reason.contains("belongs to another user"),
        "{refused}"
    );
    assert_eq!(object(&lab, "models/shared.safetensors"), model);
}

#[tokio::test]
async fn what_is_removed_is_gone_and_its_name_stays_its_owners() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    alice.write(name, &safetensors("", &[(1, 100_000)]));
    assert_done(&alice.push(name).await);
    alice
        .sync
        .remove_remote(artifact(name))
        .await
        .expect("hers");
    let left: Vec<_> = std::fs::read_dir(lab.relay_state().join("bucket/models/.sync"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["phi.safetensors.json"], "the index is gone too");
    assert!(!lab.relay_state().join("bucket").join(name).exists());
    let refused = alice.sync.pull(artifact(name), Changes::Keep).await;
    assert!(
        refused
            .expect_err("gone")
            .reason
            .contains("no such artifact")
    );

    let other = lab.another_agent("bob", "bobs").await;
    let bob = Mover::of(&other).await;
    bob.write(name, &safetensors("bob's", &[(2, 1000)]));
    assert_eq!(bob.push(name).await.state, State::Failed);
    assert_done(&alice.push(name).await);
}

#[tokio::test]
async fn a_name_on_ones_own_shelf_is_free_again() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    let name = "models/~/phi.safetensors";
    for seed in [1, 2] {
        let model = safetensors("", &[(seed, 100_000)]);
        alice.write(name, &model);
        assert_done(&alice.push(name).await);
        let place = lab.relay_state().join("bucket/models/alice");
        let object = std::fs::read(place.join("phi.safetensors"));
        assert_eq!(object.expect("pushed"), model);
        let removed = alice.sync.remove_remote(artifact(name)).await;
        removed.expect("hers");
        let left = std::fs::read_dir(place.join(".sync")).expect("a folder");
        assert_eq!(left.count(), 0, "nothing is left");
    }
}

#[tokio::test]
async fn names_are_limited() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    alice.write("models/~/first", b"1");
    assert_done(&alice.push("models/~/first").await);
    // As many as there may be, most of them removed long ago.
    let shelf = lab.relay_state().join("bucket/training/outputs/.sync");
    std::fs::create_dir_all(&shelf).expect("made");
    let entry = r#"{"version":1,"owner":"alice","fence":9,"published":null,"publishing":null}"#;
    for number in 1..5_000 {
        std::fs::write(shelf.join(format!("job{number}.json")), entry).expect("written");
    }
    alice.write("models/~/second", b"2");
    let refused = alice.push("models/~/second").await;
    let reason = refused.last_error.clone().unwrap_or_default();
    assert_eq!(refused.state, State::Failed, "{refused:?}");
    assert!(reason.contains("names=5000"), "{reason}");
    // Those that are there can be used, and one that goes makes room.
    alice.write("models/~/first", b"3");
    assert_done(&alice.push("models/~/first").await);
    let removed = alice.sync.remove_remote(artifact("models/~/first")).await;
    removed.expect("hers");
    alice.write("models/~/third", b"4");
    assert_done(&alice.push("models/~/third").await);
}

#[tokio::test]
async fn no_model_takes_the_place_of_a_users_folder() {
    let lab = Lab::start().await;
    let alice = Mover::of(&lab.agent).await;
    alice.write("models/bob", &safetensors("", &[(1, 1000)]));
    let refused = alice.push("models/bob").await;
    assert_eq!(refused.state, State::Failed, "{refused:?}");
    let reason = refused.last_error.unwrap_or_default();
    assert!(reason.contains("a user's folder"), "{reason}");
    let other = lab.another_agent("bob", "bobs").await;
    let bob = Mover::of(&other).await;
    bob.write("models/~/x.safetensors", &safetensors("", &[(1, 1000)]));
    assert_done(&bob.push("models/~/x.safetensors").await);
}

#[tokio::test]
async fn pushes_that_were_given_up_count_until_they_are_ended() {
    let quota = 40 * MIB as u64;
    let lab = Lab::start_with(|config| config.bucket.quota = quota).await;
    let agent = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&agent).await;
    desktop.write("models/~/a.safetensors", &safetensors("", &[(1, 30 * MIB)]));
    desktop.sync.set_bandwidth(Some(10 * MIB as u64));
    let id = desktop.sync.push(artifact("models/~/a.safetensors")).await;
    let id = id.expect("begun").id;
    desktop.until(id, |it| it.progress.sent > 0).await;
    desktop.sync.cancel(id).await.expect("forgotten");
    let laptop = Mover::of(&lab.agent).await;
    laptop.write("models/~/b.safetensors", &safetensors("", &[(2, 30 * MIB)]));
    let refused = laptop.push("models/~/b.safetensors").await;
    assert_eq!(refused.state, State::Failed, "{refused:?}");
    assert!(refused.last_error.unwrap_or_default().contains("quota="));
    // Whose it was ends it by removing it.
    let gone = desktop
        .sync
        .remove_remote(artifact("models/~/a.safetensors"))
        .await;
    gone.expect("it was being pushed");
    let id = laptop.sync.push(artifact("models/~/b.safetensors")).await;
    assert_done(&laptop.over(id.expect("begun").id).await);
    let uploads = std::fs::read_dir(lab.relay_state().join("bucket/.uploads"));
    assert_eq!(uploads.expect("a folder").count(), 0, "parts are left");
}

#[tokio::test]
async fn the_quota_is_held_before_bytes_flow() {
    let quota = 3 * MIB as u64;
    let lab = Lab::start_with(|config| config.bucket.quota = quota).await;
    let alice = Mover::of(&lab.agent).await;
    alice.write("models/~/a.safetensors", &safetensors("", &[(1, 2 * MIB)]));
    assert_done(&alice.push("models/~/a.safetensors").await);
    alice.write("models/~/b.safetensors", &safetensors("", &[(2, 2 * MIB)]));
    let refused = alice.push("models/~/b.safetensors").await;
    assert_eq!(refused.state, State::Failed, "{refused:?}");
    let reason = refused.last_error.clone().unwrap_or_default();
    assert!(reason.contains("quota=3145728"), "{reason}");
    assert_eq!(refused.progress.sent, 0, "{refused:?}");
    let uploads = std::fs::read_dir(lab.relay_state().join("bucket/.uploads"));
    assert_eq!(uploads.expect("a folder").count(), 0, "nothing is left");

    // Another user's room is his own.
    let other = lab.another_agent("bob", "bobs").await;
    let bob = Mover::of(&other).await;
    bob.write("models/~/b.safetensors", &safetensors("", &[(2, 2 * MIB)]));
    assert_done(&bob.push("models/~/b.safetensors").await);
    // What replaces something takes its room.
    alice.write("models/~/a.safetensors", &safetensors("", &[(3, 2 * MIB)]));
    assert_done(&alice.push("models/~/a.safetensors").await);
}

#[tokio::test]
async fn of_two_devices_that_push_one_name_both_versions_are_whole() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let other = lab.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&other).await;
    let name = "models/phi.safetensors";
    let versions = [
        safetensors("laptop", &[(1, 20 * MIB)]),
        safetensors("desktop", &[(2, 20 * MIB)]),
    ];
    laptop.write(name, &versions[0]);
    desktop.write(name, &versions[1]);
    laptop.sync.set_bandwidth(Some(10 * MIB as u64));
    let first = laptop.sync.push(artifact(name)).await.expect("begun").id;
    laptop.until(first, |it| it.progress.needed > 0).await;
    // Its claim is on the name: the other one is told, and waits.
    let second = desktop.sync.push(artifact(name)).await.expect("begun").id;
    let told = desktop.until(second, |it| it.last_error.is_some()).await;
    let reason = told.last_error.unwrap_or_default();
    assert!(reason.contains("laptop is pushing it now"), "{reason}");
    laptop.sync.set_bandwidth(None);
    assert_done(&laptop.over(first).await);
    assert_done(&desktop.over(second).await);
    assert_eq!(object(&lab, name), versions[1], "the last one");
}
