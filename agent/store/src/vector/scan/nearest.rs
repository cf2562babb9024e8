//! A search: the scan chooses rows, and their stored vectors decide.

use std::collections::HashMap;

use super::bits::Bits;
use super::funnel::{Kept, Place};
use super::space::Probe;
use super::state::{Now, Part, State, check_vector};
use super::sweep::{self, Living};
use super::view::View;
use crate::error::{Error, Result};
use crate::vector::passages::Passages;
use crate::vector::{NEIGHBOURS_MAX, Neighbour, Request, Rows};

/// Stored vectors that are read beyond those wanted, at most. Usually a few are;
/// where rows are so near each other that their bytes do not tell them apart it
/// takes many.
const MORE: usize = 500;

/// A filter of so few passages, of all there are, is looked up passage by
/// passage.
const FEW_OF: usize = 64;

/// A row that may be among the nearest.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    key: f32,
    passage: i64,
    embedding: i64,
}

/// Answers a request.
///
/// # Errors
/// The rows cannot be read, the request is not one of this index, or the index
/// must be made anew.
pub fn search(state: &State, request: Request<'_>, rows: &dyn Rows) -> Result<Vec<Neighbour>> {
    check_vector(request.query, state.spec())?;
    if !(1..=NEIGHBOURS_MAX).contains(&request.wanted) {
        let error = Error::invalid("number of neighbours is out of bounds");
        return Err(error.with("wanted", &request.wanted));
    }
    let mut wanted = request.wanted;
    loop {
        let (candidates, all) = candidates(state, request, wanted)?;
        let mut found = exact(state, request, &candidates, rows)?;
        // Rows that are gone from the database leave room for others.
        if found.len() >= request.wanted || wanted >= all {
            found.truncate(request.wanted);
            return Ok(found);
        }
        wanted = wanted.saturating_mul(4).min(all);
    }
}

/// The candidates, the best first, and how many rows there are at all.
fn candidates(
    state: &State,
    request: Request<'_>,
    wanted: usize,
) -> Result<(Vec<Candidate>, usize)> {
    let now = state.read();
    now.check()?;
    let all = now.living();
    let Some(space) = now.space.as_ref().filter(|_| all > 0) else {
        return Ok((Vec::new(), 0));
    };
    let views: Vec<View<'_>> = now.views().collect();
    let probe = space.probe(request.query);
    let kept = choose(&now, &views, (&probe, wanted.min(all)), request.filter);
    let candidate = |kept: &Kept| {
        let view = views.get(kept.place.part as usize)?;
        Some(Candidate {
            key: kept.key,
            passage: view.passage(kept.place.row)?,
            embedding: view.embedding(kept.place.row)?,
        })
    };
    let mut candidates: Vec<_> = kept.iter().filter_map(candidate).collect();
    drop(now);
    candidates.sort_unstable_by(|a, b| {
        let order = b.key.total_cmp(&a.key);
        order.then_with(|| a.passage.cmp(&b.passage))
    });
    candidates.truncate(wanted.saturating_add(MORE));
    Ok((candidates, all))
}

fn choose(
    now: &Now,
    views: &[View<'_>],
    (probe, wanted): (&Probe, usize),
    filter: Option<&Passages>,
) -> Vec<Kept> {
    let few = filter.filter(|filter| filter.len() * FEW_OF <= now.living());
    if let Some(few) = few {
        return sweep::look_at(views, &now.locate(few), probe, wanted).kept;
    }
    let dead: Vec<&Bits> = now.dead().collect();
    let living = Living {
        dead: &dead,
        filter,
    };
    sweep::scan(views, living, probe, wanted).kept
}

/// Scores candidates by their stored vectors, each of which is read once.
fn exact(
    state: &State,
    request: Request<'_>,
    candidates: &[Candidate],
    rows: &dyn Rows,
) -> Result<Vec<Neighbour>> {
    let mut places = HashMap::with_capacity(candidates.len());
    let mut embeddings = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        places.entry(candidate.embedding).or_insert_with(|| {
            embeddings.push(candidate.embedding);
            embeddings.len() - 1
        });
    }
    let metric = state.spec().metric;
    let mut scores = vec![None; embeddings.len()];
    rows.vectors(&embeddings, &mut |at, vector| {
        if let Some(score) = scores
            .get_mut(at)
            .filter(|_| vector.len() == request.query.len())
        {
            *score = Some(metric.score(request.query, vector));
        }
    })?;
    let scored = candidates.iter().filter_map(|candidate| {
        let place = places.get(&candidate.embedding)?;
        Some(Neighbour {
            passage: candidate.passage,
            score: scores.get(*place).copied().flatten()?,
        })
    });
    let mut found: Vec<_> = scored.collect();
    found.sort_unstable_by(|a, b| {
        let order = b.score.total_cmp(&a.score);
        order.then_with(|| a.passage.cmp(&b.passage))
    });
    Ok(found)
}

impl Now {
    /// All parts, the tail last.
    fn views(&self) -> impl Iterator<Item = View<'_>> {
        let parts = self.parts.iter().map(Part::view);
        parts.chain([self.tail.rows.view()])
    }

    fn dead(&self) -> impl Iterator<Item = &Bits> {
        let parts = self.parts.iter().map(Part::dead);
        parts.chain([&self.tail.dead])
    }

    /// The living rows of passages, as they lie in memory.
    fn locate(&self, passages: &Passages) -> Vec<Place> {
        let mut places = Vec::with_capacity(passages.len());
        let mut add = |part: usize, rows: &Bits, dead: &Bits| {
            let part = u32::try_from(part).unwrap_or(u32::MAX);
            let rows = rows.iter().filter(|row| !dead.contains(*row));
            places.extend(rows.map(|row| Place { part, row }));
        };
        for (at, part) in self.parts.iter().enumerate() {
            let rows = match part {
                Part::Segment { of, .. } => of.rows.locate_all(passages.iter()),
                Part::Frozen { of, .. } => of.rows.locate_all(passages.iter()),
            };
            add(at, &rows, part.dead());
        }
        let rows = self.tail.rows.locate_all(passages.iter());
        add(self.parts.len(), &rows, &self.tail.dead);
        places
    }
}
