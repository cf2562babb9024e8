//! Anything that can happen, in any order.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Files;
use super::world::World;
use crate::vector::passages::Passages;
use crate::vector::{Change, Entry};

/// Histories a metric; each has its own index.
const HISTORIES: u32 = 12;

/// So few passages that they are changed and deleted again and again.
const PASSAGES: i64 = 40;

#[derive(Debug, Clone)]
enum Step {
    Upsert { first: i64, count: i64 },
    Share { from: i64, to: i64 },
    Delete { first: i64, count: i64 },
    Again { changes: u64 },
    Nothing,
    Flush,
    Reopen,
    Crash,
    Rebuild,
    Search { wanted: usize, modulus: Option<i64> },
}

pub(crate) fn histories_end_as_the_model(world: &mut World) {
    let seed: [u8; 32] = std::array::from_fn(|_| world.dice.u8(..));
    let config = Config {
        cases: HISTORIES,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, random);
    let steps = prop::collection::vec(step(), 1..40);
    let outcome = runner.run(&steps, |steps| {
        let mut world = world.with_dimensions(6);
        steps.iter().for_each(|step| walk(&mut world, step));
        finish(&mut world);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn step() -> impl Strategy<Value = Step> {
    let passage = || 1..=PASSAGES;
    prop_oneof![
        6 => (passage(), 1..20_i64).prop_map(|(first, count)| Step::Upsert { first, count }),
        3 => (passage(), passage()).prop_map(|(from, to)| Step::Share { from, to }),
        3 => (passage(), 1..20_i64).prop_map(|(first, count)| Step::Delete { first, count }),
        2 => (0..30_u64).prop_map(|changes| Step::Again { changes }),
        1 => Just(Step::Nothing),
        2 => Just(Step::Flush),
        2 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        1 => Just(Step::Rebuild),
        8 => (1..50_usize, prop::option::of(1..9_i64))
            .prop_map(|(wanted, modulus)| Step::Search { wanted, modulus }),
    ]
}

fn walk(world: &mut World, step: &Step) {
    match *step {
        Step::Upsert { first, count } => world.fill(first..first + count),
        Step::Share { from, to } => share(world, from, to),
        Step::Delete { first, count } => {
            let gone = (first..first + count).map(|passage| Change::Delete { passage });
            world.apply(gone.collect());
        }
        Step::Again { changes } => {
            let after = world.watermark().saturating_sub(changes);
            world.replay(after).expect("again");
        }
        Step::Nothing => world.apply(Vec::new()),
        Step::Flush => flush(world),
        Step::Reopen => world.reopen(),
        Step::Crash => world.crash(),
        Step::Rebuild => world.rebuild().expect("made anew"),
        Step::Search { wanted, modulus } => {
            let passing = |modulus| -> Passages { (0..80).step_by(modulus).collect() };
            let modulus = modulus.map(|modulus| usize::try_from(modulus).expect("small"));
            world.check(wanted, modulus.map(passing).as_ref());
        }
    }
}

fn share(world: &mut World, from: i64, to: i64) {
    let all = world.rows.all();
    if let Some(shared) = all.iter().find(|entry| entry.passage == from) {
        let shared = Entry {
            passage: to,
            ..shared.clone()
        };
        world.apply(vec![Change::Upsert(shared)]);
    }
}

fn flush(world: &mut World) {
    world.index().flush().expect("written");
    if world.subject.files == Files::Index {
        assert_eq!(world.index().durable(), world.watermark(), "after a flush");
    }
}

fn finish(world: &mut World) {
    world.check(100, None);
    flush(world);
    world.reopen();
    world.check(100, None);
    world.crash();
    world.check(100, None);
}
