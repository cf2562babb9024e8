//! Days of a laptop, drawn from seeds.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use ginnel_tests::sim;
use ginnel_tests::sim::day::{self, Day};

/// Days in an ordinary run, and how long they are: many short ones meet more
/// than a few long ones, and a minute is what an ordinary run may take. Most
/// of a whole day is keep-alives, which `quiet` looks at.
const SEEDS: u64 = 200;
const HOURS: u64 = 2;

#[test]
fn every_day_ends_well() {
    let first = variable("GINNEL_SIM_FIRST").unwrap_or(1);
    let count = variable("GINNEL_SIM_SEEDS").unwrap_or(SEEDS);
    let hours = variable("GINNEL_SIM_HOURS").unwrap_or(HOURS);
    let length = Duration::from_secs(hours * 3600);
    let began = Instant::now();
    let mut all = Day::default();
    let mut failed = Vec::new();
    for seed in first..first + count {
        match catch_unwind(|| one(seed, length)) {
            Ok(day) => all.add(day),
            Err(_) => failed.push(seed),
        }
    }
    eprintln!(
        "{count} days in {:?}, {} requests in quiet hours",
        began.elapsed(),
        all.asked
    );
    for (kind, times) in &all.recoveries {
        eprintln!("{kind:>20}: {times}");
    }
    let seed = failed.first().copied().unwrap_or_default();
    assert!(
        failed.is_empty(),
        "seeds failed: {failed:?}\nhint: GINNEL_SIM_FIRST={seed} GINNEL_SIM_SEEDS=1 \
         GINNEL_SIM_HOURS={hours} cargo test -p ginnel-tests --test sim days"
    );
}

fn one(seed: u64, length: Duration) -> Day {
    let mut day = Day::default();
    sim::run(seed, async |world| day = day::live(world, length).await);
    day
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}
