//! Turns what an extension found into neighbours with exact scores, if it is
//! certain that none is missing.
//!
//! An extension adds up in another order than [`Metric::score`], so its scores
//! differ in the last digits, and of rows with the same score it gives any. So
//! more rows are asked for than are wanted; the answer is certain when the last
//! wanted one is nearer than any row that was not given can be.

use super::nearest::Nearest;
use crate::error::Result;
use crate::vector::metric::Metric;
use crate::vector::{Neighbour, Request, Rows, Spec};

/// How far from 1 the length of a vector may be where the metric is cosine.
/// Vectors made so in f32 are within a hundredth of this.
const LENGTH_TOLERANCE: f64 = 1e-5;

/// A passage that an extension's index found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) passage: i64,
    pub(crate) embedding: i64,
    /// By the extension's own arithmetic, as [`Metric::score`] means it.
    pub(crate) score: f64,
}

/// What is known of the rows that were not given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rest {
    /// There is none that passes the filter.
    None,
    /// By the extension's arithmetic none of them scores more.
    AtMost(f64),
}

/// What an extension's index answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) found: Vec<Found>,
    pub(crate) rest: Rest,
    /// No vector in the index is longer. Only of interest for products.
    pub(crate) longest: f64,
}

impl Answer {
    /// The neighbours, or nothing if another row could belong among them, or if
    /// the index and the rows do not agree.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub(crate) fn settle(
        &self,
        spec: &Spec,
        request: Request<'_>,
        rows: &dyn Rows,
    ) -> Result<Option<Vec<Neighbour>>> {
        let doubt = |score| self.doubt(spec, request.query, score);
        let mut nearest = Nearest::new(request.wanted);
        let mut agree = true;
        let embeddings: Vec<_> = self.found.iter().map(|found| found.embedding).collect();
        rows.vectors(&embeddings, &mut |at, vector| {
            let Some(found) = self.found.get(at) else {
                return;
            };
            let score = spec.metric.score(request.query, vector);
            let error = (f64::from(score) - found.score).abs();
            agree &= error <= doubt(found.score);
            nearest.push(Neighbour {
                passage: found.passage,
                score,
            });
        })?;
        let certain = match self.rest {
            Rest::None => true,
            Rest::AtMost(best) => {
                let last = nearest.farthest().map(|last| f64::from(last.score));
                last.is_some_and(|last| last > best + doubt(best))
            }
        };
        Ok((agree && certain).then(|| nearest.finish()))
    }

    /// How much two ways of adding up can differ: each of the sums of `n`
    /// products is off by at most n · ε/2 of the sum of their absolute values
    /// (Higham, "Accuracy and Stability of Numerical Algorithms", §3.1), which
    /// is at most the product of the lengths.
    fn doubt(&self, spec: &Spec, query: &[f32], score: f64) -> f64 {
        let terms = u32::try_from(spec.dimensions).map_or(f64::INFINITY, f64::from) + 8.0;
        let relative = terms * f64::from(f32::EPSILON);
        match spec.metric {
            Metric::Euclidean => relative * score.abs(),
            Metric::Cosine => relative + LENGTH_TOLERANCE,
            Metric::Dot => relative * length(query) * self.longest,
        }
    }
}

/// The Euclidean length of a vector.
pub(crate) fn length(vector: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    vector.iter().map(square).sum::<f64>().sqrt()
}
