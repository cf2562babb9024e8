//! The nearest so many of what is compared.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::vector::Neighbour;

/// Keeps the nearest neighbours of those it is given, at most as many as are
/// wanted, in a heap whose top is the farthest of them.
#[derive(Debug)]
pub struct Nearest {
    wanted: usize,
    kept: BinaryHeap<Farthest>,
}

impl Nearest {
    /// None yet.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        Self {
            wanted,
            kept: BinaryHeap::new(),
        }
    }

    /// Keeps it if it is one of the nearest so far.
    pub fn push(&mut self, neighbour: Neighbour) {
        let neighbour = Farthest(neighbour);
        if self.kept.len() < self.wanted {
            self.kept.push(neighbour);
        } else if let Some(mut farthest) = self.kept.peek_mut()
            && neighbour < *farthest
        {
            *farthest = neighbour;
        }
    }

    /// The farthest that is kept, if there are as many as wanted.
    #[must_use]
    pub fn farthest(&self) -> Option<Neighbour> {
        let full = self.kept.len() >= self.wanted;
        self.kept.peek().filter(|_| full).map(|kept| kept.0)
    }

    /// The nearest first, those of the same score by their rowid.
    #[must_use]
    pub fn finish(self) -> Vec<Neighbour> {
        let kept = self.kept.into_sorted_vec();
        kept.into_iter().map(|kept| kept.0).collect()
    }
}

/// Which of two neighbours comes first: the nearer one, and of the same score
/// that with the lower rowid. A score that is no number, which only products
/// beyond f32 make, is the farthest.
#[must_use]
pub fn nearest_first(a: &Neighbour, b: &Neighbour) -> Ordering {
    place(b.score)
        .total_cmp(&place(a.score))
        .then_with(|| a.passage.cmp(&b.passage))
}

/// The score with one zero only.
fn place(score: f32) -> f32 {
    if score.is_nan() {
        f32::NEG_INFINITY
    } else {
        score + 0.0
    }
}

/// A neighbour that is greater the farther it is.
#[derive(Debug, Clone, Copy)]
struct Farthest(Neighbour);

impl Ord for Farthest {
    fn cmp(&self, other: &Self) -> Ordering {
        nearest_first(&self.0, &other.0)
    }
}

impl PartialOrd for Farthest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Farthest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Farthest {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_keeps_what_sorting_would(
            scores in prop::collection::vec(-4..4_i8, 0..60),
            wanted in 1..20_usize,
        ) {
            let mut all: Vec<_> = scores.iter().zip(0_i64..).map(|(score, passage)| {
                Neighbour { passage, score: f32::from(*score) }
            }).collect();
            let mut nearest = Nearest::new(wanted);
            all.iter().rev().for_each(|neighbour| nearest.push(*neighbour));
            let farthest = nearest.farthest();
            all.sort_by(|a, b| b.score.partial_cmp(&a.score).expect("finite")
                .then(a.passage.cmp(&b.passage)));
            all.truncate(wanted);
            prop_assert_eq!(farthest, all.get(wanted - 1).copied());
            prop_assert_eq!(nearest.finish(), all);
        }
    }

    #[test]
    fn zeros_are_equal_and_what_is_no_number_is_last() {
        let mut nearest = Nearest::new(4);
        for (passage, score) in [(1, f32::NAN), (2, 0.0), (3, -0.0), (4, -1.0)] {
            nearest.push(Neighbour { passage, score });
        }
        let order: Vec<_> = nearest.finish().iter().map(|found| found.passage).collect();
        assert_eq!(order, [2, 3, 4, 1]);
    }
}
