//! A random rotation that costs `D log D` instead of `D²`.
//!
//! A vector's size and direction are spread over all dimensions, so that one
//! bit of each says equally much. Each round flips signs at random and applies
//! a Walsh–Hadamard transform to the first power of two of dimensions, then to
//! the last; where the dimensions are no power of two, the two overlap and
//! mix. Every step is orthogonal, so inner products stay what they were.

use std::ops::Range;

use super::wide::wide;

/// Rounds of flips and transforms. Two leave traces of an axis-parallel input
/// where the transforms overlap little; four do not (see the tests).
const ROUNDS: usize = 4;

/// Rotated vectors have a multiple of this many dimensions.
pub const DIMENSIONS_STEP: usize = 64;

/// A rotation, the same for the same seed and dimensions on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    dimensions: usize,
    padded: usize,
    /// One sign for each dimension and round, as the sign bit of an f32.
    flips: Vec<u32>,
}

impl Rotation {
    /// A rotation of vectors with so many dimensions.
    #[must_use]
    pub fn new(dimensions: usize, seed: u64) -> Self {
        let padded = dimensions.next_multiple_of(DIMENSIONS_STEP);
        let mut random = SplitMix(seed);
        let flips = (0..padded * ROUNDS).map(|_| random.sign_bit()).collect();
        Self {
            dimensions,
            padded,
            flips,
        }
    }

    /// Dimensions of a vector before.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Dimensions of a vector after: the next multiple of [`DIMENSIONS_STEP`].
    #[must_use]
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Writes the rotated `vector` to `out`, which has [`Rotation::padded`]
    /// dimensions. What a vector has too few is zero, too many is not read.
    pub fn apply(&self, vector: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (to, from) in out.iter_mut().zip(vector.iter().take(self.dimensions)) {
            *to = *from;
        }
        let power = largest_power_of_two(out.len());
        let scale = 1.0 / (power as f32).sqrt();
        for (round, flips) in self.flips.chunks_exact(self.padded.max(1)).enumerate() {
            let from = match round % 2 {
                0 => 0,
                _ => out.len() - power,
            };
            mix(out, flips, from..from + power, scale);
        }
    }
}

wide! {
    /// One round: flips all values, and transforms a part of them.
    fn mix(values: &mut [f32], flips: &[u32], part: Range<usize>, scale: f32) {
        for (value, flip) in values.iter_mut().zip(flips) {
            *value = f32::from_bits(value.to_bits() ^ flip);
        }
        if let Some(part) = values.get_mut(part) {
            hadamard(part);
            part.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Written out, because files
/// hold its seed: it must give the same bits for ever.
struct SplitMix(u64);

impl SplitMix {
    /// 0 or the sign bit of an f32.
    fn sign_bit(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The highest bit, where the sign of an f32 is.
        ((mixed >> 32) as u32) & (1 << 31)
    }
}

fn largest_power_of_two(length: usize) -> usize {
    match length {
        0 => 0,
        _ => 1 << length.ilog2(),
    }
}

/// The unnormalised Walsh–Hadamard transform of a power of two of values, at
/// least eight. The first three steps are done within eights, the others pair
/// whole eights.
#[inline(always)]
fn hadamard(values: &mut [f32]) {
    let eights = values.as_chunks_mut::<8>().0;
    for eight in eights.iter_mut() {
        let [a, b, c, d, e, f, g, h] = *eight;
        let (a, b, c, d, e, f, g, h) = (a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h);
        let (a, b, c, d, e, f, g, h) = (a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h);
        *eight = [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h];
    }
    let mut half = 1;
    while half < eights.len() {
        for pair in eights.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
    }

    fn rotated(rotation: &Rotation, vector: &[f32]) -> Vec<f32> {
        let mut out = vec![7.0; rotation.padded()];
        rotation.apply(vector, &mut out);
        out
    }

    #[test]
    fn inner_products_stay() {
        let mut random = Rng::with_seed(1);
        for dimensions in [1, 3, 63, 64, 65, 100, 128, 384, 768, 1000, 1536] {
            let rotation = Rotation::new(dimensions, 42);
            assert_eq!(rotation.padded() % DIMENSIONS_STEP, 0);
            let mut vector =
                || -> Vec<f32> { (0..dimensions).map(|_| random.f32() - 0.5).collect() };
            let (a, b) = (vector(), vector());
            let (x, y) = (rotated(&rotation, &a), rotated(&rotation, &b));
            assert!((dot(&a, &b) - dot(&x, &y)).abs() < 1e-4, "{dimensions}");
            assert!((dot(&a, &a) - dot(&x, &x)).abs() < 1e-4, "{dimensions}");
        }
    }

    /// The worst input is one that lies along an axis.
    #[test]
    fn an_axis_is_spread_over_all_dimensions() {
        for dimensions in [384, 768, 640, 1536] {
            let rotation = Rotation::new(dimensions, 7);
            for axis in [0, 1, dimensions / 2, dimensions - 1] {
                let mut vector = vec![0.0; dimensions];
                vector[axis] = 1.0;
                let out = rotated(&rotation, &vector);
                let typical = 1.0 / (dimensions as f32).sqrt();
                let largest = out
                    .iter()
                    .fold(0.0_f32, |most, value| most.max(value.abs()));
                assert!(largest < 6.0 * typical, "{dimensions} {axis}: {largest}");
                let empty = out
                    .iter()
                    .filter(|value| value.abs() < typical / 100.0)
                    .count();
                assert!(
                    empty < dimensions / 10,
                    "{dimensions} {axis}: {empty} empty"
                );
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Rotation::new(384, 1), Rotation::new(384, 1));
        assert_ne!(Rotation::new(384, 1), Rotation::new(384, 2));
        // Files hold the seed. The first outputs of SplitMix64 from 1 are
        // 910a2dec89025cc1, beeb8da1658eec67, f893a2eefb32555e, 71c18690ee42c90b.
        let rotation = Rotation::new(64, 1);
        let signs: Vec<u32> = rotation.flips.iter().map(|flip| flip >> 31).collect();
        assert_eq!(signs[..8], [1, 1, 1, 0, 0, 1, 1, 1]);
    }
}
