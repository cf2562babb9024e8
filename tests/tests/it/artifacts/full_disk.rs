//! A disk that is full, in the middle of a pull.

use std::path::{Path, PathBuf};
use std::process::Command;

use ginnel_agent::sync::Changes;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::Lab;

use super::outage::restarted_with;
use super::{MIB, assert_done};

/// A file system of few MiB, in memory; only root may make one.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, mib: usize) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let disk = Self(at.to_owned());
        disk.run("-t tmpfs", mib).then_some(disk)
    }

    fn resize(&self, mib: usize) {
        assert!(self.run("-o remount", mib), "it cannot be made larger");
    }

    fn run(&self, how: &str, mib: usize) -> bool {
        let mut mount = Command::new("mount");
        mount.args(how.split(' '));
        mount.args(["-o", &format!("size={mib}m"), "tmpfs"]);
        let done = mount.arg(&self.0).status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_pull_to_a_full_disk_says_so_waits_and_leaves_the_old_version() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let agent = lab.another_agent("alice", "desktop").await;
    let folder = agent.state.join("small");
    let Some(disk) = Disk::mount(&folder, 8) else {
        println!("skipped, only root can make a small disk");
        return;
    };
    let agent = restarted_with(agent, |config| config.models_folder = folder.clone()).await;
    let desktop = Mover::of(&agent).await.in_folder(folder);
    let name = "models/phi.safetensors";
    let [small, large] = [(1, MIB), (2, 12 * MIB)].map(|tensor| safetensors("", &[tensor]));
    laptop.write(name, &small);
    assert_done(&laptop.push(name).await);
    assert_done(&desktop.pull(name).await);

    laptop.write(name, &large);
    assert_done(&laptop.push(name).await);
    let pull = desktop.sync.pull(artifact(name), Changes::Keep).await;
    let id = pull.expect("begun").id;
    let told = desktop.until(id, |it| it.last_error.is_some()).await;
    let reason = told.last_error.unwrap_or_default();
    assert!(reason.contains("No space left"), "{reason}");
    assert_eq!(desktop.read(name), small, "the old version stays");
    // Somebody makes room.
    disk.resize(64);
    assert_done(&desktop.over(id).await);
    assert_eq!(desktop.read(name), large);
    drop(desktop);
    agent.daemon.stop.cancel();
    agent.daemon.wait().await.expect("stopped");
}
