//! What is measured round by round.

use super::ask::{Ask, Found, Look, Opened, Times, UNFILTERED};
use super::clock::Took;
use super::set::Set;
use super::subject::Running;
use super::truth::Truth;
use super::{Ready, files};
use crate::samples::{Figure, Samples};

/// Queries, each alone.
pub const QUERY: &str = "query";
/// Queries in two threads at once.
pub const TWO_THREADS: &str = "two threads";
/// One row, on disk when it returns.
pub const COMMIT: &str = "commit";
/// Filters, with the share that they let through.
pub const FILTERS: [(u32, &str); 3] = [(1, "filter 1 %"), (10, "filter 10 %"), (50, "filter 50 %")];

/// Queries whose true neighbours are looked for under each filter.
const FILTERED_QUERIES: usize = 100;

/// Commits of each subject in a round, and CPU seconds that they may take.
const COMMITS: usize = 20;
const COMMITS_SECONDS: f64 = 3.0;

/// Rounds under way.
#[derive(Debug)]
pub struct Rounds<'a> {
    /// The data set.
    pub set: &'a Set,
    /// What should be found.
    pub truth: &'a Truth,
    /// Who is measured.
    pub ready: Vec<Ready>,
    /// What was measured.
    pub samples: Samples,
}

impl Rounds<'_> {
    /// Measures everything so many times. Commits come last: they change what
    /// is searched.
    ///
    /// # Errors
    /// A subject fails.
    pub fn run(&mut self, rounds: u32) -> anyhow::Result<()> {
        let filters = FILTERS.map(|(percent, _)| percent);
        let truths = Truth::filtered(self.set, FILTERED_QUERIES, &filters)?;
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            for at in self.order(round) {
                self.queries(round, at)?;
                self.filters(round, at, &truths)?;
                self.together(round, at)?;
            }
        }
        self.use_copies()?;
        for round in 1..=rounds {
            for at in self.order(round) {
                self.commits(round, at)?;
            }
        }
        Ok(())
    }

    /// Commits go to a copy of the index, so that the index can be kept.
    fn use_copies(&mut self) -> anyhow::Result<()> {
        self.ready.retain(|one| one.prepared.kind.commits());
        for one in &mut self.ready {
            let mut place = one.place.clone();
            place.folder.set_extension("copy");
            files::copy(&one.place.folder, &place.folder)?;
            one.running = Running::start(one.prepared.kind, &place)?;
            let _: Opened = one.running.ask(&Ask::Open)?;
        }
        Ok(())
    }

    /// Another subject is first in each round.
    fn order(&self, round: u32) -> Vec<usize> {
        let (count, first) = (self.ready.len(), round as usize);
        (0..count).map(|at| (at + first) % count).collect()
    }

    fn queries(&mut self, round: u32, at: usize) -> anyhow::Result<()> {
        let Some(one) = self.ready.get_mut(at) else {
            return Ok(());
        };
        let look = Look {
            first: (round as usize - 1) * one.count,
            count: one.count,
            effort: one.prepared.effort,
            percent: UNFILTERED,
        };
        let found = one.running.ask(&Ask::Search(look))?;
        self.add(
            round,
            QUERY,
            at,
            &found,
            self.truth.recall(look.first, &found.rows)?,
        );
        Ok(())
    }

    fn filters(&mut self, round: u32, at: usize, truths: &[Truth]) -> anyhow::Result<()> {
        for ((percent, measure), truth) in FILTERS.into_iter().zip(truths) {
            let Some(one) = self.ready.get_mut(at) else {
                return Ok(());
            };
            if !one.prepared.kind.filters() {
                return Ok(());
            }
            let look = Look {
                first: 0,
                count: one.count.min(FILTERED_QUERIES),
                effort: one.prepared.effort,
                percent,
            };
            match one.running.ask(&Ask::Search(look)) {
                Ok(found) => self.add(round, measure, at, &found, truth.recall(0, &found.rows)?),
                Err(error) => eprintln!("{measure}: {error:#}"),
            }
        }
        Ok(())
    }

    fn add(&mut self, round: u32, measure: &'static str, at: usize, found: &Found, recall: f64) {
        let Some(one) = self.ready.get(at) else {
            return;
        };
        let Times { cpu_us, wall_us } = &found.times;
        let figures = [
            (Figure::CpuP50Us, median(cpu_us)),
            (Figure::CpuP99Us, quantile(cpu_us, 0.99)),
            (Figure::P50Us, median(wall_us)),
            (Figure::P99Us, quantile(wall_us, 0.99)),
            (Figure::Recall, recall),
        ];
        let name = one.prepared.kind.name();
        self.samples.add(round, measure, name, &figures);
    }

    fn together(&mut self, round: u32, at: usize) -> anyhow::Result<()> {
        let Some(one) = self.ready.get_mut(at) else {
            return Ok(());
        };
        let look = Look {
            first: 0,
            count: one.count,
            effort: one.prepared.effort,
            percent: UNFILTERED,
        };
        let took: Took = one.running.ask(&Ask::Together { look, threads: 2 })?;
        let figures = [
            (Figure::QueriesPerSecond, look.count as f64 / took.wall_s),
            (Figure::CpuUs, took.cpu_s * 1e6 / look.count as f64),
        ];
        let name = one.prepared.kind.name();
        self.samples.add(round, TWO_THREADS, name, &figures);
        Ok(())
    }

    fn commits(&mut self, round: u32, at: usize) -> anyhow::Result<()> {
        let Some(one) = self.ready.get_mut(at) else {
            return Ok(());
        };
        let mut times: Times = one.running.ask(&Ask::Commit { count: 1 })?;
        let first = median(&times.cpu_us).max(1.0) / 1e6;
        if first * (COMMITS as f64) < COMMITS_SECONDS {
            times = one.running.ask(&Ask::Commit { count: COMMITS })?;
        }
        let figures = [
            (Figure::CpuP50Us, median(&times.cpu_us)),
            (Figure::P50Us, median(&times.wall_us)),
        ];
        let name = one.prepared.kind.name();
        self.samples.add(round, COMMIT, name, &figures);
        Ok(())
    }
}

/// The one in the middle; 0 of nothing.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The one behind such a share of them; 0 of nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in the list"
)]
#[must_use]
pub fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1)) as f64 * quantile;
    sorted.get(at.round() as usize).copied().unwrap_or(0.0)
}
