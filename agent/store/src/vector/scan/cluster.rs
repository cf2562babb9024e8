//! Puts points that are near each other into the same list: k-means, where
//! the nearest centre is found by the same codes as the nearest passage.

use fastrand::Rng;

use super::bytes8;
use super::code::{self, BLOCK, Codes, Terms, block_bytes};
use super::kernel::{Bounds, Kernel};
use super::query::Query;
use super::space::{Probe, Scale, square};
use crate::vector::metric::Metric;

/// Rounds of training. More move few points to another list.
const ROUNDS: usize = 5;

/// A centre whose estimate is below the best by so many typical errors is not
/// looked at: a wrong list costs little.
const DEVIATIONS: f32 = 1.0;

/// Centres of lists, to be searched by points.
#[derive(Debug, Clone)]
pub struct Centres {
    padded: usize,
    points: Vec<f32>,
    codes: Codes,
    bytes: Vec<u8>,
    scales: Vec<Scale>,
    kernel: Kernel,
}

impl Centres {
    /// These centres, one after the other.
    #[must_use]
    pub fn new(points: Vec<f32>, padded: usize) -> Self {
        let count = points.len() / padded;
        let mut centres = Self {
            padded,
            codes: Codes::new(padded),
            bytes: vec![0; count * padded],
            scales: Vec::with_capacity(count),
            points,
            kernel: Kernel::best(),
        };
        let mut bits = vec![0; padded / 8];
        let rows = centres.bytes.chunks_exact_mut(padded);
        for (point, bytes) in centres.points.chunks_exact(padded).zip(rows) {
            let (step, bias) = (bytes8::encode(point, bytes), -0.5 * square(point));
            let factor = code::encode(point, &mut bits);
            let addend = bias;
            centres.codes.push(&bits, Terms { factor, addend });
            centres.scales.push(Scale { step, bias });
        }
        centres
    }

    /// Finds `count` centres of a sample, at least one and at most as many as
    /// there are points. `stop` says that it is in vain.
    #[must_use]
    pub fn train(sample: &[f32], padded: usize, count: usize, stop: &dyn Fn() -> bool) -> Self {
        let points = sample.chunks_exact(padded);
        let mut chosen: Vec<usize> = (0..points.len()).collect();
        // Any seed will do; the same one gives the same lists.
        let mut random = Rng::with_seed(1);
        random.shuffle(&mut chosen);
        let first = chosen.iter().take(count.max(1));
        let first = first.filter_map(|at| points.clone().nth(*at));
        let mut centres = Self::new(first.flatten().copied().collect(), padded);
        for _ in 0..ROUNDS {
            if stop() {
                break;
            }
            centres = centres.moved(sample, &mut random);
        }
        centres
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// All of them, one after the other.
    #[must_use]
    pub fn points(&self) -> &[f32] {
        &self.points
    }

    /// The number of the centre that is nearest to a point, or nearly so.
    #[must_use]
    pub fn nearest(&self, point: &[f32]) -> usize {
        let probe = Probe::new(point.to_vec(), Metric::Euclidean);
        let mut query = Query::new(&probe.values);
        query.raise(DEVIATIONS, probe.length);
        let (mut nearest, mut best) = (0, f32::NEG_INFINITY);
        let mut estimates = [0.0; BLOCK];
        let blocks = self.codes.blocks().chunks_exact(block_bytes(self.padded));
        for (block, first) in blocks.zip((0..).step_by(BLOCK)) {
            let bounds = Bounds {
                centre: 0.0,
                threshold: best,
            };
            let mut above = self.kernel.score(block, &query, bounds, &mut estimates);
            while above != 0 {
                let lane = above.trailing_zeros() as usize;
                above &= above - 1;
                let estimate = estimates.get(lane).copied().unwrap_or_default();
                // The best rose since the block was scored.
                if estimate <= best {
                    continue;
                }
                let at = first + lane;
                if let Some(key) = self.key(at, &probe).filter(|key| *key > best) {
                    (nearest, best) = (at, key);
                }
            }
        }
        nearest
    }

    fn key(&self, at: usize, probe: &Probe) -> Option<f32> {
        let scale = self.scales.get(at)?;
        let start = at * self.padded;
        let bytes = self.bytes.get(start..start + self.padded)?;
        let sum = self.kernel.dot(probe.bytes.values(), bytes);
        Some(probe.bytes.product(sum, scale.step) + scale.bias)
    }

    /// Moves each centre to the mean of the points that are nearest to it, and
    /// one that has none to a point by chance.
    fn moved(&self, sample: &[f32], random: &mut Rng) -> Self {
        let padded = self.padded;
        let mut sums = vec![0.0; self.points.len()];
        let mut counts = vec![0_u32; self.len()];
        for point in sample.chunks_exact(padded) {
            let nearest = self.nearest(point);
            if let Some(sum) = sums.chunks_exact_mut(padded).nth(nearest) {
                sum.iter_mut()
                    .zip(point)
                    .for_each(|(sum, value)| *sum += value);
            }
            if let Some(count) = counts.get_mut(nearest) {
                *count += 1;
            }
        }
        for (sum, count) in sums.chunks_exact_mut(padded).zip(counts) {
            if count == 0 {
                let any = random.usize(..(sample.len() / padded).max(1));
                let any = sample.chunks_exact(padded).nth(any);
                sum.iter_mut()
                    .zip(any.into_iter().flatten())
                    .for_each(|(to, from)| *to = *from);
            } else {
                sum.iter_mut().for_each(|sum| *sum /= count as f32);
            }
        }
        Self::new(sums, padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_find_the_middle_of_their_group() {
        let mut random = Rng::with_seed(2);
        let mut even =
            |scale: f32| -> Vec<f32> { (0..64).map(|_| scale * (random.f32() - 0.5)).collect() };
        let middles: Vec<_> = (0..40).map(|_| even(4.0)).collect();
        let mut sample = Vec::new();
        for at in 0..2000 {
            let near = even(0.5);
            let middle = middles[at % 40].iter();
            sample.extend(middle.zip(near).map(|(a, b)| a + b));
        }
        let centres = Centres::train(&sample, 64, 80, &|| false);
        assert_eq!(centres.len(), 80);
        let lists: Vec<_> = sample
            .chunks(64)
            .map(|point| centres.nearest(point))
            .collect();
        // Groups may be split, and hardly any list has points of two.
        let mut group_of = std::collections::HashMap::new();
        let strangers = lists
            .iter()
            .enumerate()
            .filter(|(at, list)| *group_of.entry(**list).or_insert(at % 40) != at % 40);
        assert!(strangers.count() < 100);
    }

    #[test]
    fn the_nearest_is_found_nearly_always() {
        let mut random = Rng::with_seed(4);
        let mut points =
            |count: usize| -> Vec<f32> { (0..count * 128).map(|_| random.f32() - 0.5).collect() };
        let (centres, queries) = (Centres::new(points(300), 128), points(100));
        let right = queries.chunks(128).filter(|query| {
            let distance = |at: &usize| -> f32 {
                let centre = &centres.points()[at * 128..(at + 1) * 128];
                centre
                    .iter()
                    .zip(*query)
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum()
            };
            let mut all: Vec<usize> = (0..300).collect();
            all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            // Mostly the very nearest.
            let found = centres.nearest(query);
            assert!(all[..30].contains(&found));
            all[0] == found
        });
        assert!(right.count() > 60);
    }

    #[test]
    fn there_may_be_fewer_points_than_lists() {
        let centres = Centres::train(&[1.0; 128], 64, 10, &|| false);
        assert_eq!(centres.len(), 2);
        assert!(centres.nearest(&[1.0; 64]) < 2);
    }
}
