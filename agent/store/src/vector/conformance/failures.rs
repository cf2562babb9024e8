//! What happens when others fail, or hurry.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Files;
use super::rows::Fails;
use super::world::World;
use crate::error::ErrorKind;
use crate::vector::passages::Passages;
use crate::vector::{Change, Request};

pub(crate) fn rows_that_fail_are_told_and_do_no_harm(world: &mut World) {
    world.fill(1..200);
    world.index().flush().expect("written");
    world.fill(200..220);
    let half: Passages = (1..100).collect();
    for filter in [None, Some(&half)] {
        let query = world.vector();
        world.rows.fail(Fails::All);
        let request = Request {
            query: &query,
            wanted: 10,
            filter,
        };
        let told = world.index().search(request, &world.rows);
        let error = told.expect_err("the rows' own");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "rows fail on purpose");
        world.rows.fail(Fails::Nothing);
        world.check_query(&query, 10, filter);
    }
    world.fill(210..230);
    world.check(20, None);
}

/// What an index is for, with and without a wide filter.
pub(crate) fn an_index_answers_without_reading_all_rows(world: &mut World) {
    if world.subject.files == Files::None {
        return;
    }
    world.fill(1..1500);
    world.index().flush().expect("written");
    world.fill(1500..1600);
    let half: Passages = (1..1600).step_by(2).collect();
    world.rows.fail(Fails::ReadingAll);
    for wanted in [1, 10, 100, 2000] {
        world.check(wanted, None);
        world.check(wanted, Some(&half));
    }
}

/// The rows may be newer than the index.
pub(crate) fn rows_that_are_gone_are_not_found(world: &mut World) {
    world.fill(1..200);
    let all: Passages = (1..200).collect();
    let gone: Vec<_> = (1..150).map(|passage| Change::Delete { passage }).collect();
    gone.iter().for_each(|change| world.rows.apply(change));
    for filter in [None, Some(&all)] {
        world.check(10, filter);
        world.check(100, filter);
    }
    world.apply(gone);
    world.check(100, None);
}

pub(crate) fn many_threads_search_while_rows_change(world: &mut World) {
    const SEARCHES: usize = 60;
    world.fill(1..300);
    // The rows have all that will come and go, as newer rows may; only the
    // first ones are certain to be in the index, so only they are asked for.
    let churn: Vec<_> = (300..360).map(|passage| world.entry(passage)).collect();
    for entry in &churn {
        world.rows.apply(&Change::Upsert(entry.clone()));
    }
    let stay: Passages = (1..300).collect();
    let queries: Vec<_> = (0..3).map(|_| world.vector()).collect();
    let (done, numbers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let (index, rows, stay) = (world.index(), &world.rows, &stay);
        let (done, numbers) = (&done, &numbers);
        let searchers = queries.iter().map(|query| {
            let search = move || {
                let request = Request {
                    query,
                    wanted: 10,
                    filter: Some(stay),
                };
                let answer = |_| {
                    numbers.fetch_add(1, Ordering::SeqCst);
                    (query.clone(), index.search(request, rows).expect("found"))
                };
                (0..SEARCHES).map(answer).collect::<Vec<_>>()
            };
            scope.spawn(search)
        });
        let searchers: Vec<_> = searchers.collect();
        let writer = scope.spawn(|| {
            let mut number = world.watermark();
            while !done.load(Ordering::SeqCst) {
                number += 1;
                let delete = number.is_multiple_of(2);
                let changes: Vec<_> = churn
                    .iter()
                    .map(|entry| match delete {
                        true => Change::Delete {
                            passage: entry.passage,
                        },
                        false => Change::Upsert(entry.clone()),
                    })
                    .collect();
                index.apply(&changes, number).expect("taken in");
                if number.is_multiple_of(5) {
                    index.flush().expect("written");
                }
            }
        });
        // The writer stops whatever became of the others.
        let searched: Vec<_> = searchers.into_iter().map(|one| one.join()).collect();
        done.store(true, Ordering::SeqCst);
        writer.join().expect("no panic");
        for searched in searched {
            answers.extend(searched.expect("no panic"));
        }
    });
    assert_eq!(numbers.into_inner(), 3 * SEARCHES);
    for (query, found) in answers {
        let request = Request {
            query: &query,
            wanted: 10,
            filter: Some(&stay),
        };
        world.judge(request, &found);
    }
    if world.subject.files == Files::Index {
        let stats = world.index().stats().expect("known");
        assert!(stats.entries >= 299, "{stats:?}");
    }
}
