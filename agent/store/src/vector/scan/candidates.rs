//! The best so many of what a scan finds.

/// Keeps the rows with the highest estimates. A row costs a comparison; every
/// so many rows that pass, the worse half is thrown away.
#[derive(Debug, Clone)]
pub struct Candidates {
    wanted: usize,
    /// Only higher estimates are of interest.
    threshold: f32,
    found: Vec<Candidate>,
}

/// A row that may be near.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// About its inner product with the query.
    pub estimate: f32,
    /// Which segment it is in, and where.
    pub segment: u32,
    /// Its place in the segment.
    pub row: u32,
}

impl Candidates {
    /// None yet, and so many wanted, at least one.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        let wanted = wanted.max(1);
        Self {
            wanted,
            threshold: f32::NEG_INFINITY,
            found: Vec::with_capacity(2 * wanted),
        }
    }

    /// What an estimate must exceed to be kept. It only grows.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Keeps a row whose estimate is above the threshold.
    pub fn push(&mut self, candidate: Candidate) {
        if candidate.estimate <= self.threshold {
            return;
        }
        self.found.push(candidate);
        if self.found.len() == 2 * self.wanted {
            self.throw_away();
        }
    }

    /// The best, the very best first.
    #[must_use]
    pub fn finish(mut self) -> Vec<Candidate> {
        self.throw_away();
        self.found.sort_unstable_by(best_first);
        self.found
    }

    fn throw_away(&mut self) {
        if self.found.len() <= self.wanted {
            return;
        }
        let (_, last, _) = self
            .found
            .select_nth_unstable_by(self.wanted - 1, best_first);
        self.threshold = last.estimate;
        self.found.truncate(self.wanted);
    }
}

/// Rows of the same estimate in their order, so that the answer does not
/// depend on chance.
fn best_first(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let place = |candidate: &Candidate| (candidate.segment, candidate.row);
    b.estimate
        .total_cmp(&a.estimate)
        .then_with(|| place(a).cmp(&place(b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(estimate: f32, row: u32) -> Candidate {
        Candidate {
            estimate,
            segment: 0,
            row,
        }
    }

    proptest! {
        #[test]
        fn the_best_are_kept(
            estimates in prop::collection::vec(-100..100_i8, 0..300),
            wanted in 1_usize..40,
        ) {
            let mut candidates = Candidates::new(wanted);
            let mut all = Vec::new();
            for (row, estimate) in (0..).zip(estimates) {
                all.push(f32::from(estimate));
                candidates.push(candidate(f32::from(estimate), row));
            }
            all.sort_by(|a, b| b.total_cmp(a));
            all.truncate(wanted);
            let kept: Vec<f32> = candidates.finish().iter().map(|kept| kept.estimate).collect();
            prop_assert_eq!(kept, all);
        }
    }

    #[test]
    fn the_threshold_is_the_worst_that_is_kept() {
        let mut candidates = Candidates::new(2);
        assert_eq!(candidates.threshold(), f32::NEG_INFINITY);
        for (row, estimate) in [(0, 1.0), (1, 5.0), (2, 3.0), (3, 4.0)] {
            candidates.push(candidate(estimate, row));
        }
        assert_eq!(candidates.threshold(), 4.0);
        candidates.push(candidate(4.0, 4));
        let kept: Vec<u32> = candidates.finish().iter().map(|kept| kept.row).collect();
        assert_eq!(kept, [1, 3]);
    }
}
