//! What tests of the engine have in common: rows in memory, answers by reading
//! all of them, and made vectors.

mod changes;
mod files;
mod recall;
mod threads;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use fastrand::Rng;

use super::{Options, Scan, Upkeep};
use crate::error::Result;
use crate::vector::metric::Metric;
use crate::vector::passages::Passages;
use crate::vector::{Change, Entry, EntryRef, Neighbour, Request, Rows, Spec, VectorIndex};

/// Small segments and early lists, so that few rows try everything.
pub(super) const SMALL: Options = Options {
    segment_rows: 100,
    lists_from: 300,
    upkeep: Upkeep::Calls,
};

pub(super) fn spec(dimensions: usize, metric: Metric) -> Spec {
    Spec {
        database: [1; 16],
        model: [2; 32],
        dimensions,
        metric,
    }
}

pub(super) fn open(folder: &Path, spec: &Spec) -> Scan {
    Scan::open(folder, spec.clone(), SMALL).expect("opens")
}

mod suite {
    use crate::vector::conformance::{self, Files, Subject};
    use crate::vector::metric::Metric;

    conformance::suite!(Subject {
        // As the store does, a moment after opening.
        open: |folder, spec| {
            let scan = super::Scan::open(folder, spec.clone(), super::SMALL)?;
            if super::VectorIndex::verify(&scan).is_err() {
                super::VectorIndex::clear(&scan)?;
            }
            Ok(Box::new(scan))
        },
        metrics: &Metric::ALL,
        recall: 0.95,
        files: Files::Index,
        available: || true,
    });
}

/// Rows of a database.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) passages: BTreeMap<i64, i64>,
    pub(super) embeddings: BTreeMap<i64, Vec<f32>>,
}

impl Memory {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Upsert(entry) => {
                    self.passages.insert(entry.passage, entry.embedding);
                    let vector = entry.vector.clone();
                    self.embeddings.insert(entry.embedding, vector);
                }
                Change::Delete { passage } => {
                    self.passages.remove(passage);
                }
            }
        }
    }

    /// The nearest, by all rows.
    pub(super) fn nearest(&self, metric: Metric, request: Request<'_>) -> Vec<Neighbour> {
        let known = self.passages.iter().filter_map(|(passage, embedding)| {
            let filter = request.filter;
            let let_through = filter.is_none_or(|filter| filter.contains(*passage));
            let vector = self.embeddings.get(embedding).filter(|_| let_through)?;
            Some(Neighbour {
                passage: *passage,
                score: metric.score(request.query, vector),
            })
        });
        let mut all: Vec<_> = known.collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(request.wanted);
        all
    }
}

impl Rows for Memory {
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        for (at, embedding) in embeddings.iter().enumerate() {
            if let Some(vector) = self.embeddings.get(embedding) {
                each(at, vector);
            }
        }
        Ok(())
    }

    fn entries(&self, each: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>) -> Result<()> {
        for (passage, embedding) in &self.passages {
            let entry = EntryRef {
                passage: *passage,
                embedding: *embedding,
                vector: &self.embeddings[embedding],
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

pub(super) fn upsert(passage: i64, vector: Vec<f32>) -> Change {
    let embedding = passage + 1_000_000;
    Change::Upsert(Entry {
        passage,
        embedding,
        vector,
    })
}

pub(super) fn delete(passage: i64) -> Change {
    Change::Delete { passage }
}

pub(super) fn request(query: &[f32], wanted: usize) -> Request<'_> {
    Request {
        query,
        wanted,
        filter: None,
    }
}

/// Checks an answer, and returns how many of the nearest are in it, and of how
/// many.
///
/// Whatever is found must be alive, let through and scored by its stored
/// vector, in order, once, and as many as there can be.
pub(super) fn check(
    scan: &Scan,
    memory: &Memory,
    metric: Metric,
    asked: Request<'_>,
) -> (usize, usize) {
    let found = scan.search(asked, memory).expect("answers");
    let truth = memory.nearest(metric, asked);
    assert_eq!(found.len(), truth.len(), "as many as there are");
    for pair in found.windows(2) {
        let order = pair[1].score.total_cmp(&pair[0].score);
        assert!(
            order.then(pair[0].passage.cmp(&pair[1].passage)).is_lt(),
            "{pair:?}"
        );
    }
    for neighbour in &found {
        let embedding = memory.passages.get(&neighbour.passage).expect("is alive");
        let vector = &memory.embeddings[embedding];
        assert_eq!(
            neighbour.score,
            metric.score(asked.query, vector),
            "is exact"
        );
        let filter = asked.filter;
        assert!(
            filter.is_none_or(|filter| filter.contains(neighbour.passage)),
            "is let through"
        );
    }
    // Of two of the same score, as good as f32 can tell, either is right.
    let worst = truth.last().map_or(0.0, |last| last.score);
    let worst = worst - 8.0 * f32::EPSILON * worst.abs();
    let right = found.iter().filter(|neighbour| neighbour.score >= worst);
    (right.count(), truth.len())
}

/// How vectors of a test lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everywhere the same.
    Even,
    /// In groups.
    Groups,
    /// In one direction, mostly.
    Narrow,
    /// Of very unequal length.
    Unequal,
    /// Far from zero.
    Far,
    /// Few that are different.
    Twins,
    /// All the same.
    Same,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Even,
        Self::Groups,
        Self::Narrow,
        Self::Unequal,
        Self::Far,
        Self::Twins,
        Self::Same,
    ];
}

/// Makes vectors.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) random: Rng,
    dimensions: usize,
    metric: Metric,
    kind: Kind,
    middles: Vec<Vec<f32>>,
}

impl Maker {
    pub(super) fn new(seed: u64, spec: &Spec, kind: Kind) -> Self {
        let mut maker = Self {
            random: Rng::with_seed(seed),
            dimensions: spec.dimensions,
            metric: spec.metric,
            kind,
            middles: Vec::new(),
        };
        maker.middles = (0..40).map(|_| maker.even()).collect();
        maker
    }

    fn even(&mut self) -> Vec<f32> {
        let mut value = || (0..4).map(|_| self.random.f32() - 0.5).sum::<f32>();
        (0..self.dimensions).map(|_| value()).collect()
    }

    pub(super) fn vector(&mut self) -> Vec<f32> {
        let even = self.even();
        let middle = match self.kind {
            Kind::Narrow | Kind::Far | Kind::Same => 0,
            Kind::Even | Kind::Groups | Kind::Unequal | Kind::Twins => {
                self.random.usize(..self.middles.len())
            }
        };
        let middle = self.middles[middle].iter();
        let scale = 10.0_f32.powf(self.random.f32() * 3.0);
        let values = even
            .iter()
            .zip(middle)
            .map(|(value, middle)| match self.kind {
                Kind::Even => *value,
                Kind::Groups => middle + 0.4 * value,
                Kind::Narrow => 3.0 * middle + value,
                Kind::Unequal => scale * value,
                Kind::Far => 1000.0 * middle + value,
                Kind::Twins | Kind::Same => *middle,
            });
        self.finished(values.collect())
    }

    fn finished(&self, mut vector: Vec<f32>) -> Vec<f32> {
        if self.metric == Metric::Cosine {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector
    }

    pub(super) fn upserts(&mut self, passages: std::ops::Range<i64>) -> Vec<Change> {
        passages
            .map(|passage| upsert(passage, self.vector()))
            .collect()
    }

    pub(super) fn filter(&mut self, passages: std::ops::Range<i64>, share: f64) -> Passages {
        passages.filter(|_| self.random.f64() < share).collect()
    }
}
