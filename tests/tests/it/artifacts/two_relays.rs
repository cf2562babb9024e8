//! Two relays that know nothing of each other, and one bucket.

use ginnel_relay::config::bucket::BucketPlace;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::Lab;

use super::{MIB, assert_done, object};

#[tokio::test]
async fn what_one_relay_takes_the_other_gives_and_of_two_pushes_one_is_last() {
    let first = Lab::start().await;
    let folder = first.relay_state().join("bucket");
    let place = BucketPlace::Folder(folder);
    let second = Lab::start_with(|config| config.bucket.at = place).await;
    let laptop = Mover::of(&first.agent).await;
    let agent = second.another_agent("alice", "desktop").await;
    let desktop = Mover::of(&agent).await;
    let name = "models/~/phi.safetensors";
    let versions = [1, 2, 3].map(|seed| safetensors("", &[(seed, 20 * MIB)]));
    laptop.write(name, &versions[0]);
    assert_done(&laptop.push(name).await);
    assert_done(&desktop.pull(name).await);
    assert_eq!(desktop.read(name), versions[0]);

    // At once, through one relay each.
    laptop.write(name, &versions[1]);
    desktop.write(name, &versions[2]);
    let (one, other) = tokio::join!(laptop.push(name), desktop.push(name));
    assert_done(&one);
    assert_done(&other);
    let last = object(&first, "models/alice/phi.safetensors");
    let which = versions.iter().position(|version| *version == last);
    assert!(which > Some(0), "{which:?}");
    for mover in [&laptop, &desktop] {
        let listed = mover.sync.list().await.expect("listed");
        assert_eq!(listed.artifacts.len(), 1, "{listed:?}");
        // Whoever was first has a version that was pushed, and may replace it.
        assert_done(&mover.pull(name).await);
        assert_eq!(mover.read(name), last);
    }
    // Who removes it does so for both.
    laptop
        .sync
        .remove_remote(artifact(name))
        .await
        .expect("hers");
    let left = desktop.sync.list().await.expect("listed");
    assert_eq!(left.artifacts.len(), 0, "{left:?}");
}
