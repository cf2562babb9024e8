//! One suite for every engine: what [`VectorIndex`] promises, checked against a
//! model that compares the query with every row.
//!
//! An engine joins by one line in its tests, which makes a test of each check:
//!
//! ```text
//! conformance::suite!(Subject { open: |folder, spec| …, … });
//! ```
//!
//! Every check runs once for each metric that the engine has. The seed is
//! printed; `GINNEL_STORE_SEED` sets it.

pub(crate) mod answers;
pub(crate) mod disk;
pub(crate) mod failures;
pub(crate) mod files;
pub(crate) mod histories;
pub(crate) mod rows;
pub(crate) mod world;

use std::path::Path;

use super::metric::Metric;
use super::{Spec, VectorIndex};
use crate::error::Result;
use world::World;

/// An engine as the suite sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Opens the index in a folder that need not be there yet.
    pub(crate) open: fn(&Path, &Spec) -> Result<Box<dyn VectorIndex>>,
    /// The metrics it has.
    pub(crate) metrics: &'static [Metric],
    /// How many of the true neighbours it finds at least, of 1; at 1 every
    /// answer must be the model's.
    pub(crate) recall: f64,
    /// What it keeps on disk.
    pub(crate) files: Files,
    /// Whether it can run here; its checks pass by themselves if not.
    pub(crate) available: fn() -> bool,
}

/// What an engine keeps on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Nothing: it reads the rows.
    None,
    /// An index that is found again.
    Index,
}

/// Makes a test of every check for an engine, in the module it is written in.
macro_rules! suite {
    ($subject:expr) => {
        $crate::vector::conformance::suite! { @ $subject;
            answers: an_empty_index_finds_nothing;
            answers: one_row_is_found;
            answers: more_can_be_wanted_than_there_is;
            answers: changes_are_visible_at_once;
            answers: changes_given_twice_are_as_once;
            answers: passages_of_the_same_text_are_all_found;
            answers: ties_are_in_the_order_of_rowids;
            answers: filters_still_give_all_that_are_wanted;
            answers: from_one_neighbour_to_the_most;
            answers: all_dimensions;
            answers: what_is_no_query_is_refused;
            failures: rows_that_fail_are_told_and_do_no_harm;
            failures: an_index_answers_without_reading_all_rows;
            failures: rows_that_are_gone_are_not_found;
            failures: many_threads_search_while_rows_change;
            histories: histories_end_as_the_model;
            files: an_index_is_found_again;
            files: an_index_of_something_else_is_not_used;
            files: an_index_half_made_is_not_used;
            files: damaged_files_give_no_wrong_answer;
            files: a_folder_that_cannot_be_is_told;
            disk: a_full_disk_does_no_harm;
        }
    };
    (@ $subject:expr; $($part:ident: $check:ident;)*) => { $(
        #[test]
        fn $check() {
            let name = concat!(module_path!(), "::", stringify!($check));
            $crate::vector::conformance::run(&$subject, name, $crate::vector::conformance::$part::$check);
        }
    )* };
}
pub(crate) use suite;

/// Runs a check with every metric of an engine.
pub(crate) fn run(subject: &Subject, name: &str, check: fn(&mut World)) {
    if !(subject.available)() {
        println!("skipped, the engine is not installed here");
        return;
    }
    let given = std::env::var("GINNEL_STORE_SEED").ok();
    let seed = given.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("a number in GINNEL_STORE_SEED"),
    );
    for metric in subject.metrics {
        println!("metric={metric} GINNEL_STORE_SEED={seed}");
        check(&mut World::new(subject, *metric, name, seed));
    }
}
