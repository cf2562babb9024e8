//! Days of a laptop, drawn from seeds.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ginnel_tests::sim;
use ginnel_tests::sim::day::{self, Day};

/// Days in an ordinary run, and hours of each.
const SEEDS: u64 = 200;
const HOURS: u64 = 24;

#[test]
fn every_day_ends_well() {
    let first = variable("GINNEL_SIM_FIRST").unwrap_or(1);
    let count = variable("GINNEL_SIM_SEEDS").unwrap_or(SEEDS);
    let hours = variable("GINNEL_SIM_HOURS").unwrap_or(HOURS);
    let length = Duration::from_secs(hours * 3600);
    let began = Instant::now();
    let (all, mut failed) = live_all(first..first + count, length);
    failed.sort_unstable();
    eprintln!(
        "{count} days of {hours} h in {:?}, {} requests in quiet hours",
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

/// Lives through a day of every seed, on all processors; returns the seeds
/// that broke a rule beside what was counted.
fn live_all(seeds: std::ops::Range<u64>, length: Duration) -> (Day, Vec<u64>) {
    let next = AtomicU64::new(seeds.start);
    let live_some = || {
        let (mut all, mut failed) = (Day::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (all, failed);
            }
            match catch_unwind(|| one(seed, length)) {
                Ok(day) => all.add(day),
                Err(_) => failed.push(seed),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live_some)).collect();
        let (mut all, mut failed) = (Day::default(), Vec::new());
        for thread in threads {
            let (days, seeds) = thread.join().expect("panics are caught");
            all.add(days);
            failed.extend(seeds);
        }
        (all, failed)
    })
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
