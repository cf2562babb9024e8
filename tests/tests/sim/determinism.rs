//! The same seed tells the same story: the same events and packet lengths at
//! the same times.

use std::process::Command;
use std::time::Duration;

use ginnel_tests::sim::{self, day};

const HOURS: Duration = Duration::from_secs(4 * 3600);

/// Set for a child process, to the seed it runs.
const SEED_VARIABLE: &str = "GINNEL_SIM_CHILD";

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, entries) = trace(11);
    assert_eq!(trace(11), (first, entries));
    assert!(entries > 1000, "{entries}");
    assert_ne!(trace(12).0, first);
}

#[test]
fn another_process_gives_the_same_trace() {
    let this = std::env::current_exe().expect("this test");
    let child = Command::new(this)
        .args(["--exact", "determinism::child", "--nocapture"])
        .env(SEED_VARIABLE, "11")
        .output()
        .expect("runs");
    let output = String::from_utf8_lossy(&child.stdout);
    let (hash, entries) = trace(11);
    let expected = format!("trace {hash:016x} {entries}");
    assert!(output.contains(&expected), "{expected} is not in {output}");
}

/// Does nothing but in the process that the test above starts.
#[test]
fn child() {
    let Ok(seed) = std::env::var(SEED_VARIABLE) else {
        return;
    };
    let (hash, entries) = trace(seed.parse().expect("a seed"));
    println!("trace {hash:016x} {entries}");
}

fn trace(seed: u64) -> (u64, u64) {
    let trace = sim::run(seed, async |world| {
        day::live(world, HOURS).await;
    });
    (trace.hash(), trace.entries())
}
