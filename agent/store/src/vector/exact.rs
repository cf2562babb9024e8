//! No index: every row is read and compared. Slow, and right by definition: the
//! oracle of the tests, and what other engines fall back on where their index
//! cannot answer.

pub mod nearest;
pub(crate) mod settle;

use std::ops::ControlFlow;

use super::engine::Engine;
use super::{Change, NEIGHBOURS_MAX, Neighbour, Request, Rows, Spec, Stats, VectorIndex};
use crate::error::{Error, Result};
use nearest::Nearest;

/// Compares the query with every row. Keeps nothing, in memory or on disk.
#[derive(Debug, Clone)]
pub struct Exact {
    spec: Spec,
}

impl Exact {
    /// Of these rows.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self { spec }
    }
}

impl VectorIndex for Exact {
    fn engine(&self) -> Engine {
        Engine::Exact
    }

    /// All changes there will ever be: what is read are the rows themselves, so
    /// no change has to be given again, and none at all.
    fn durable(&self) -> u64 {
        u64::MAX
    }

    fn apply(&self, _changes: &[Change], _watermark: u64) -> Result<()> {
        Ok(())
    }

    fn search(&self, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>> {
        check(&self.spec, request)?;
        search_rows(&self.spec, request, rows)
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// All zero: it holds nothing.
    fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }
}

/// Whether a search makes sense.
///
/// # Errors
/// The number of dimensions or of neighbours is wrong, or a value of the query
/// is not finite.
pub(crate) fn check(spec: &Spec, request: Request<'_>) -> Result<()> {
    let (expected, found) = (spec.dimensions, request.query.len());
    if found != expected {
        return Err(Error::invalid(format!(
            "query has the wrong number of dimensions, expected={expected}, found={found}"
        )));
    }
    if let Some(at) = request.query.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(format!("query is not finite, at={at}")));
    }
    if !(1..=NEIGHBOURS_MAX).contains(&request.wanted) {
        return Err(Error::invalid(format!(
            "too many or no neighbours wanted, limit={NEIGHBOURS_MAX}, found={}",
            request.wanted
        )));
    }
    Ok(())
}

/// Whether the vectors of changes are such as the index is of.
///
/// # Errors
/// One of them has the wrong number of dimensions, or is not finite.
pub(crate) fn check_changes(spec: &Spec, changes: &[Change]) -> Result<()> {
    for change in changes {
        let Change::Upsert(entry) = change else {
            continue;
        };
        let (expected, found) = (spec.dimensions, entry.vector.len());
        if found != expected || !entry.vector.iter().all(|value| value.is_finite()) {
            return Err(Error::invalid(format!(
                "vector does not fit the index, passage={}, expected={expected} finite values, found={found}",
                entry.passage
            )));
        }
    }
    Ok(())
}

/// Reads every row, and compares those that the filter lets through.
///
/// # Errors
/// The rows cannot be read.
pub(crate) fn search_rows(
    spec: &Spec,
    request: Request<'_>,
    rows: &dyn Rows,
) -> Result<Vec<Neighbour>> {
    let mut nearest = Nearest::new(request.wanted);
    if request.filter.is_some_and(|passing| passing.is_empty()) {
        return Ok(Vec::new());
    }
    rows.entries(&mut |entry| {
        let passes = |passing: &super::passages::Passages| passing.contains(entry.passage);
        if request.filter.is_none_or(passes) {
            nearest.push(Neighbour {
                passage: entry.passage,
                score: spec.metric.score(request.query, entry.vector),
            });
        }
        ControlFlow::Continue(())
    })?;
    Ok(nearest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::conformance::{self, Files, Subject};
    use crate::vector::metric::Metric;

    conformance::suite!(Subject {
        open: |_, spec| Ok(Box::new(Exact::new(spec.clone()))),
        metrics: &Metric::ALL,
        recall: 1.0,
        files: Files::None,
        available: || true,
    });
}
