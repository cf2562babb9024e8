//! A short chaos; the long one is `cargo run -p ginnel-tests --bin chaos`.

use std::process::ExitCode;

use ginnel_tests::chaos::world::Programs;
use ginnel_tests::chaos::{Direction, Plan, run};
use ginnel_tests::processes::play;

const MIB: usize = 1 << 20;

/// Does nothing but in the processes that the test here starts.
#[test]
fn child() -> ExitCode {
    play()
}

#[tokio::test]
async fn whatever_is_killed_no_file_is_wrong_and_little_travels_twice() {
    let plan = Plan {
        seed: fastrand::u64(..1_000_000),
        hits: 6,
        programs: Programs::Child("chaos::child"),
    };
    let seed = plan.seed;
    let Some(report) = run(plan).await else {
        return;
    };
    eprint!("{report}");
    assert_eq!(report.wrong, [""; 0], "seed={seed}");
    assert!(report.hits.len() >= 6, "seed={seed}");
    let up = report.twice_at_most(Direction::Push);
    let down = report.twice_at_most(Direction::Pull);
    assert!(up <= 16 * MIB as u64, "up={up} seed={seed}");
    assert!(down <= 64 * MIB as u64, "down={down} seed={seed}");
}
