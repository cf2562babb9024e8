//! What a search finds.

use super::world::{World, normalise};
use crate::error::ErrorKind;
use crate::vector::metric::Metric;
use crate::vector::passages::Passages;
use crate::vector::{Change, DIMENSIONS_MAX, Entry, NEIGHBOURS_MAX, Request};

pub(crate) fn an_empty_index_finds_nothing(world: &mut World) {
    let some = Passages::from_iter([1, 2, 3]);
    for filter in [None, Some(&some), Some(&Passages::new())] {
        world.check(1, filter);
        world.check(NEIGHBOURS_MAX, filter);
    }
    // And once all is deleted again.
    world.fill(1..4);
    let gone = (1..4).map(|passage| Change::Delete { passage }).collect();
    world.apply(gone);
    world.check(10, None);
    world.index().flush().expect("written");
    world.check(10, Some(&some));
    world.reopen();
    world.check(10, None);
}

pub(crate) fn one_row_is_found(world: &mut World) {
    let passage = 3_000_000;
    let entry = world.entry(passage);
    let own = entry.vector.clone();
    world.apply(vec![Change::Upsert(entry)]);
    for wanted in [1, 10, NEIGHBOURS_MAX] {
        world.check_query(&own, wanted, None);
        world.check(wanted, None);
        world.check(wanted, Some(&Passages::from_iter([passage])));
        world.check(wanted, Some(&Passages::from_iter([1])));
    }
    let last = world.entry(i64::from(u32::MAX));
    world.apply(vec![Change::Upsert(last)]);
    world.check(10, None);
}

pub(crate) fn more_can_be_wanted_than_there_is(world: &mut World) {
    world.fill(1..40);
    for wanted in [38, 39, 40, 1000] {
        world.check(wanted, None);
    }
}

pub(crate) fn changes_are_visible_at_once(world: &mut World) {
    world.fill(1..100);
    for passage in 1..30 {
        let entry = world.entry(passage);
        let (query, embedding) = (entry.vector.clone(), entry.embedding);
        world.apply(vec![Change::Upsert(entry)]);
        world.check_query(&query, 5, None);
        // The same embedding, whose vector was made again.
        let vector = world.vector();
        let again = Entry {
            passage,
            embedding,
            vector: vector.clone(),
        };
        world.apply(vec![Change::Upsert(again)]);
        world.check_query(&vector, 5, None);
        world.check_query(&query, 5, None);
        if passage % 2 == 0 {
            world.apply(vec![Change::Delete { passage }]);
            world.check_query(&vector, 5, None);
        }
    }
    // Several changes of one passage at once: the last one counts.
    let steps = [
        Change::Upsert(world.entry(7)),
        Change::Delete { passage: 7 },
        Change::Upsert(world.entry(7)),
        Change::Upsert(world.entry(8)),
        Change::Delete { passage: 8 },
    ];
    world.apply(steps.to_vec());
    world.check(200, None);
}

pub(crate) fn changes_given_twice_are_as_once(world: &mut World) {
    world.fill(1..60);
    let mut changes: Vec<_> = (40..90)
        .map(|passage| Change::Upsert(world.entry(passage)))
        .collect();
    changes.extend((1..20).map(|passage| Change::Delete { passage }));
    changes.push(Change::Delete { passage: 5000 });
    world.apply(changes);
    world.check(200, None);
    for after in [120, 60, 0] {
        world.replay(after).expect("again");
        world.check(200, None);
        world.check(5, None);
    }
    let stats = world.index().stats().expect("known");
    assert!([0, 70].contains(&stats.entries), "{stats:?}");
}

pub(crate) fn passages_of_the_same_text_are_all_found(world: &mut World) {
    world.fill(1..30);
    let shared = world.entry(100);
    let copies = (100..400).map(|passage| {
        Change::Upsert(Entry {
            passage,
            ..shared.clone()
        })
    });
    world.apply(copies.collect());
    for _ in 0..2 {
        for wanted in [1, 10, 299, 300, 301, 400] {
            world.check_query(&shared.vector, wanted, None);
            world.check(wanted, None);
        }
        world.index().flush().expect("written");
    }
    // Others keep it when one lets go of it.
    let moved = world.entry(150);
    world.apply(vec![
        Change::Delete { passage: 100 },
        Change::Upsert(moved),
        Change::Delete { passage: 399 },
    ]);
    world.check_query(&shared.vector, 10, None);
    world.check_query(&shared.vector, 400, None);
}

pub(crate) fn ties_are_in_the_order_of_rowids(world: &mut World) {
    let vector = world.vector();
    let mut passages: Vec<i64> = (1..500).collect();
    world.dice.shuffle(&mut passages);
    for batch in passages.chunks(90) {
        let same = batch.iter().map(|passage| {
            let entry = world.entry_of(*passage, vector.clone());
            Change::Upsert(entry)
        });
        let same = same.collect();
        world.apply(same);
    }
    let even: Passages = (2..500).step_by(2).collect();
    for _ in 0..2 {
        for wanted in [1, 3, 100, 498] {
            world.check_query(&vector, wanted, None);
            world.check(wanted, Some(&even));
        }
        world.index().flush().expect("written");
    }
}

pub(crate) fn filters_still_give_all_that_are_wanted(world: &mut World) {
    world.fill(1..2001);
    world.index().flush().expect("written");
    world.fill(2001..2101);
    for percent in [0, 1, 10, 50, 100] {
        let mut passing = Passages::new();
        // Some that pass are not there, as of another collection.
        for passage in 1..3000 {
            if world.dice.u32(..100) < percent {
                passing.insert(passage);
            }
        }
        for wanted in [1, 10, 100] {
            world.check(wanted, Some(&passing));
        }
    }
    let own = world.entry(5);
    let query = own.vector.clone();
    world.apply(vec![Change::Upsert(own)]);
    // All that are near do not pass: only the farthest do.
    let far = Request {
        query: &query,
        wanted: 5000,
        filter: None,
    };
    let far = world.rows.nearest(&world.spec, far);
    for count in [12, 1000] {
        let far = far.iter().rev().take(count);
        let far: Passages = far.map(|far| far.passage).collect();
        world.check_query(&query, 10, Some(&far));
        world.check_query(&query, 50, Some(&far));
    }
}

pub(crate) fn from_one_neighbour_to_the_most(world: &mut World) {
    let mut world = world.with_dimensions(8);
    world.fill(1..4301);
    for wanted in [1, NEIGHBOURS_MAX - 1, NEIGHBOURS_MAX] {
        world.check(wanted, None);
    }
    let most: Passages = (1..4200).collect();
    world.check(NEIGHBOURS_MAX, Some(&most));
}

pub(crate) fn all_dimensions(world: &mut World) {
    for dimensions in [1, 3, 64, 100, 384, 768, DIMENSIONS_MAX] {
        let mut world = world.with_dimensions(dimensions);
        world.fill(1..40);
        world.check(10, None);
        world.reopen();
        world.check(10, Some(&(1..20).collect()));
        // Opposites and values far from 1.
        let mut query = world.vector();
        query.iter_mut().for_each(|value| *value = -*value * 1e3);
        if world.spec.metric == Metric::Cosine {
            normalise(&mut query);
        }
        world.check_query(&query, 10, None);
    }
}

pub(crate) fn what_is_no_query_is_refused(world: &mut World) {
    world.fill(1..20);
    let good = world.vector();
    let broken = |value: f32| {
        let mut query = good.clone();
        *query.last_mut().expect("some") = value;
        query
    };
    let long = [good.as_slice(), &[0.0]].concat();
    let short = good.split_last().expect("some").1.to_vec();
    let queries = [
        (long, 10),
        (short, 10),
        (Vec::new(), 10),
        (broken(f32::NAN), 10),
        (broken(f32::INFINITY), 10),
        (broken(f32::NEG_INFINITY), 10),
        (good.clone(), 0),
        (good.clone(), NEIGHBOURS_MAX + 1),
        (good.clone(), usize::MAX),
    ];
    for (query, wanted) in &queries {
        let request = Request {
            query,
            wanted: *wanted,
            filter: None,
        };
        let refused = world.index().search(request, &world.rows);
        let error = refused.expect_err("no query");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    world.check_query(&good, 10, None);
}
