//! Eight devices and three relays, whatever happens, end with the same, and the
//! latest, of what was done.
//!
//! ```text
//! GINNEL_SIM_FIRST=1000 GINNEL_SIM_SEEDS=5000 cargo test -p ginnel-tests --test sim knowledge
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ginnel_tests::sim::knowledge::story::{Told, live};

fn number(variable: &str, otherwise: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(otherwise, |text| text.parse().expect(variable))
}

#[test]
fn devices_end_alike_and_nothing_is_lost() {
    let first = number("GINNEL_SIM_FIRST", 1);
    let seeds = number("GINNEL_SIM_SEEDS", 500);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let all: Mutex<Vec<Told>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let told = std::panic::catch_unwind(|| live(seed));
                    let Ok(told) = told else {
                        eprintln!("simulation failed, seed={seed}");
                        next.store(first + seeds, Ordering::Relaxed);
                        panic!("seed {seed}");
                    };
                    all.lock().expect("held").push(told);
                }
            });
        }
    });
    let all = all.into_inner().expect("held");
    assert_eq!(all.len() as u64, seeds);
    let sum = |of: fn(&Told) -> u64| all.iter().map(of).sum::<u64>();
    let mut in_step: Vec<Duration> = all.iter().map(|told| told.in_step).collect();
    in_step.sort_unstable();
    println!(
        "{seeds} seeds from {first} in {:?}: {} edits, {} of {} documents sure; {} answers, {} requests lost, {} answers lost, {} repeated, {} refused, {} writes forgotten; in step after {:?} at the median, {:?} at most",
        began.elapsed(),
        sum(|told| told.edits as u64),
        sum(|told| told.sure as u64),
        seeds * 10,
        sum(|told| told.counts.answered),
        sum(|told| told.counts.lost),
        sum(|told| told.counts.unanswered),
        sum(|told| told.counts.repeated),
        sum(|told| told.counts.refused),
        sum(|told| told.counts.forgotten),
        in_step[in_step.len() / 2],
        in_step[in_step.len() - 1],
    );
    // A quiet run would prove nothing.
    assert!(sum(|told| told.edits as u64) > 20 * seeds);
    assert!(sum(|told| told.sure as u64) > 6 * seeds);
    for count in [
        sum(|told| told.counts.lost),
        sum(|told| told.counts.unanswered),
        sum(|told| told.counts.repeated),
        sum(|told| told.counts.refused),
    ] {
        assert!(count > seeds);
    }
    assert!(sum(|told| told.counts.forgotten) * 4 > seeds);
}
