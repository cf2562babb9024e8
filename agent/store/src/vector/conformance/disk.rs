//! What happens when there is no room on the disk.

use super::world::World;

/// Tells the test that it is the process with the full disk.
#[cfg(unix)]
const FULL: &str = "GINNEL_STORE_TEST_FULL_DISK";

/// Only where a limit can stand for the disk's end.
#[cfg(not(unix))]
pub(crate) fn a_full_disk_does_no_harm(_: &mut World) {}

/// In a process of its own, since the limit that stands for the disk's end is
/// one of the process.
#[cfg(unix)]
pub(crate) fn a_full_disk_does_no_harm(world: &mut World) {
    use std::process::Command;

    use super::Files;

    if std::env::var_os(FULL).is_some() {
        return run_out_of_disk(world);
    }
    if world.subject.files == Files::None {
        return;
    }
    let this = std::env::current_exe().expect("this test");
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(this)
        .args([&world.name, "--exact", "--nocapture"])
        .env(FULL, "1")
        .output()
        .expect("sh");
    let (out, err) = (child.stdout, child.stderr);
    let text = String::from_utf8_lossy(&out) + String::from_utf8_lossy(&err);
    assert!(child.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[cfg(unix)]
fn run_out_of_disk(world: &mut World) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use crate::error::ErrorKind;
    use crate::vector::Change;

    world.fill(1..500);
    world.index().flush().expect("written");
    let whole = getrlimit(Resource::Fsize);
    let none = Rlimit {
        current: Some(2048),
        maximum: whole.maximum,
    };
    setrlimit(Resource::Fsize, none).expect("less is always allowed");
    let more: Vec<_> = (500..900)
        .map(|passage| Change::Upsert(world.entry(passage)))
        .collect();
    let old = world.watermark();
    let (applied, flushed) = (world.try_apply(more), world.index().flush());
    if applied.is_ok() {
        // It is only not on disk.
        world.check(10, None);
        world.check(1000, None);
    }
    let errors: Vec<_> = [applied, flushed]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(!errors.is_empty(), "the disk is full");
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(world.index().durable() <= old, "what was not written");
    let stay = (1..500).collect();
    world.check(10, Some(&stay));
    setrlimit(Resource::Fsize, whole).expect("as it was");
    world.replay(old).expect("there is room again");
    world.check(10, None);
    world.check(1000, None);
    world.index().flush().expect("written");
    assert_eq!(world.index().durable(), world.watermark());
    world.reopen();
    world.check(1000, None);
}
