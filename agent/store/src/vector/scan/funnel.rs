//! From estimates to the few rows that can be among the nearest.
//!
//! A scan gives rows whose estimate, raised by several times its typical
//! error, is above a threshold. They wait. When many wait, the most promising
//! are looked at by their bytes, which raises the threshold, and what is below
//! it then need not be looked at any more. So an easy query reads the bytes of
//! few rows and a hard one of as many as it takes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::kernel::Kernel;
use super::space::Probe;
use super::view::View;

/// At least so many rows wait before some are looked at.
const WAITING: usize = 256;

/// How many are looked at together: so many that their bytes are on the way
/// from memory while others are worked on.
const BATCH: usize = 16;

/// How far ahead bytes are asked for.
const AHEAD: usize = 8;

/// The error of a product of bytes is within so many typical ones.
const BYTE_DEVIATIONS: f32 = 3.0;

/// The typical error of a rounded value, in steps: 1 ÷ √12.
const ROUNDING: f32 = 0.288_7;

/// Collects rows and keeps those that can be among the best.
#[derive(Debug)]
pub struct Funnel<'a> {
    views: &'a [View<'a>],
    probe: &'a Probe,
    kernel: Kernel,
    wanted: usize,
    waiting: Vec<Waiting>,
    room: usize,
    /// The best lower bounds so far, as many as are wanted.
    best: BinaryHeap<Reverse<Bound>>,
    kept: Vec<Kept>,
    /// How many were looked at.
    looked_at: usize,
}

/// A row by its estimate.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    upper: f32,
    place: Place,
}

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which part.
    pub part: u32,
    /// Its number there.
    pub row: u32,
}

/// A row by its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// About its key: product and bias.
    pub key: f32,
    /// The true one is within so much of it.
    pub error: f32,
    /// Where it is.
    pub place: Place,
}

impl Kept {
    /// Whether it cannot reach a threshold. What is no number may.
    fn is_below(&self, threshold: f32) -> bool {
        self.key + self.error < threshold
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound(f32);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl<'a> Funnel<'a> {
    /// Nothing yet, and so many wanted, at least one.
    #[must_use]
    pub fn new(views: &'a [View<'a>], probe: &'a Probe, wanted: usize) -> Self {
        let wanted = wanted.max(1);
        let room = WAITING.max(2 * wanted);
        Self {
            views,
            probe,
            kernel: Kernel::best(),
            wanted,
            waiting: Vec::with_capacity(room),
            room,
            best: BinaryHeap::with_capacity(wanted + 1),
            kept: Vec::with_capacity(2 * wanted),
            looked_at: 0,
        }
    }

    /// What a raised estimate must exceed. It only grows.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        match self.best.peek() {
            Some(Reverse(Bound(worst))) if self.best.len() == self.wanted => *worst,
            _ => f32::NEG_INFINITY,
        }
    }

    /// How many rows were looked at by their bytes.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// Takes a row by its raised estimate.
    pub fn push(&mut self, upper: f32, place: Place) {
        // What is no number is looked at first.
        let upper = if upper.is_nan() { f32::INFINITY } else { upper };
        self.waiting.push(Waiting { upper, place });
        if self.waiting.len() == self.room {
            self.thin_out();
        }
    }

    /// Looks at rows at once.
    pub fn look_at_all(&mut self, places: &[Place]) {
        for (at, place) in places.iter().enumerate() {
            if let Some(next) = places.get(at + AHEAD) {
                self.ask_for(*next);
            }
            self.look_at(*place);
        }
    }

    fn look_at(&mut self, place: Place) {
        let Some(view) = self.views.get(place.part as usize) else {
            return;
        };
        let Some((bytes, scale)) = view.bytes(place.row) else {
            return;
        };
        let sum = self.kernel.dot(self.probe.bytes.values(), bytes);
        let key = self.probe.bytes.product(sum, scale.step) + scale.bias;
        let error = BYTE_DEVIATIONS * ROUNDING * scale.step * self.probe.length;
        self.looked_at += 1;
        if key + error < self.threshold() {
            return;
        }
        self.kept.push(Kept { key, error, place });
        let lower = key - error;
        let lower = if lower.is_nan() {
            f32::NEG_INFINITY
        } else {
            lower
        };
        self.best.push(Reverse(Bound(lower)));
        if self.best.len() > self.wanted {
            self.best.pop();
        }
    }

    /// The rows that can be among the wanted ones, in any order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Kept> {
        while !self.waiting.is_empty() {
            self.look_at_the_best();
        }
        let threshold = self.threshold();
        self.kept.retain(|kept| !kept.is_below(threshold));
        self.kept
    }

    /// Looks at rows until half of the room is free.
    fn thin_out(&mut self) {
        while self.waiting.len() > self.room / 2 {
            self.look_at_the_best();
        }
        let threshold = self.threshold();
        self.kept.retain(|kept| !kept.is_below(threshold));
    }

    /// Looks at the most promising, and forgets what is out of the question.
    fn look_at_the_best(&mut self) {
        let count = BATCH.max(self.wanted).min(self.waiting.len());
        let by_upper = |a: &Waiting, b: &Waiting| b.upper.total_cmp(&a.upper);
        if count < self.waiting.len() {
            self.waiting.select_nth_unstable_by(count - 1, by_upper);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let batch = waiting.get(..count).unwrap_or_default();
        for (at, row) in batch.iter().enumerate() {
            if let Some(next) = batch.get(at + AHEAD) {
                self.ask_for(next.place);
            }
            // The threshold rose since the batch was chosen.
            if row.upper >= self.threshold() {
                self.look_at(row.place);
            }
        }
        waiting.drain(..count);
        let threshold = self.threshold();
        waiting.retain(|row| row.upper > threshold);
        self.waiting = waiting;
    }

    fn ask_for(&self, place: Place) {
        let view = self.views.get(place.part as usize);
        if let Some((bytes, scale)) = view.and_then(|view| view.where_bytes_are(place.row)) {
            Kernel::prefetch(bytes);
            Kernel::prefetch(scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::vector::metric::Metric;
    use crate::vector::scan::rotation::Rotation;
    use crate::vector::scan::space::Space;
    use crate::vector::scan::tail::{Ids, Tail};

    /// Whatever the upper bounds are, as long as they are that, the best are
    /// kept, and most of the others are not looked at.
    #[test]
    fn the_best_are_kept_and_few_are_looked_at() {
        let mut random = Rng::with_seed(8);
        let space = Space::new(Rotation::new(64, 1), vec![0.0; 64], Metric::Dot);
        let mut vector = || -> Vec<f32> { (0..64).map(|_| random.f32() - 0.5).collect() };
        let rows: Vec<_> = (0..5000).map(|_| vector()).collect();
        let query = vector();
        let encoded = space.encode(rows.iter().map(Vec::as_slice));
        let mut tail = Tail::new(64);
        for (at, passage) in (0..rows.len()).zip(0..) {
            let embedding = 0;
            tail.push(Ids { passage, embedding }, &encoded, at);
        }
        let (views, probe) = ([tail.view()], space.probe(&query));
        let scores = rows.iter().map(|row| Metric::Dot.score(&query, row));
        let scores: Vec<f32> = scores.collect();
        let mut best: Vec<u32> = (0..5000).collect();
        best.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        for wanted in [1, 10, 300, 6000] {
            let mut funnel = Funnel::new(&views, &probe, wanted);
            for (row, score) in (0..).zip(&scores) {
                let upper = score + 0.3 * random.f32() + 0.1;
                let upper = if row == 77 { f32::NAN } else { upper };
                if upper.is_nan() || upper > funnel.threshold() {
                    funnel.push(upper, Place { part: 0, row });
                }
            }
            let looked_at = funnel.looked_at();
            let kept: Vec<u32> = funnel.finish().iter().map(|kept| kept.place.row).collect();
            for row in best.iter().take(wanted) {
                assert!(kept.contains(row), "{wanted}: {row}");
            }
            if wanted <= 10 {
                assert!(looked_at < 1000, "{wanted}: {looked_at}");
                assert!(kept.len() < wanted + 20, "{wanted}: {}", kept.len());
            }
        }
    }
}
