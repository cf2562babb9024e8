//! The innermost loop: how near each vector of a block is.
//!
//! One function for each kind of processor, chosen once when the program
//! starts. All give the same bits for the same input, so an index answers the
//! same on every machine.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::fmt;

use super::code::{BLOCK, FACTORS, block_bytes};
use super::query::Query;

/// The estimates of a block: one for each of its vectors.
pub type Estimates = [f32; BLOCK];

/// Scores one block, see [`Kernel::score`].
///
/// # Safety
/// The processor must have what the function was compiled for.
type Score = unsafe fn(Block<'_>, &Query, Bounds, &mut Estimates) -> u32;

/// Adds up the products of the values of a query and the bytes of a vector,
/// see [`Kernel::dot`].
///
/// # Safety
/// The processor must have what the function was compiled for.
type Dot = unsafe fn(&[i16], &[u8]) -> i32;

/// A block in its two parts. There are two tables for each column, and the
/// number of columns is a multiple of eight.
#[derive(Debug, Clone, Copy)]
struct Block<'a> {
    columns: &'a [[u8; BLOCK]],
    factors: &'a [u8; FACTORS],
    addends: &'a [u8; FACTORS],
}

/// What is added to each estimate, and what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The inner product of the query with what was taken off all vectors.
    pub centre: f32,
    /// Only estimates above it are of interest, and those that are no number.
    pub threshold: f32,
}

/// A way to score blocks on this processor.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    score: Score,
    dot: Dot,
}

impl Kernel {
    /// All that run here, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let portable = Self {
            name: "portable",
            score: portable::score,
            dot: portable::dot,
        };
        special().into_iter().flatten().chain([portable])
    }

    /// The fastest that runs here.
    #[must_use]
    pub fn best() -> Self {
        let mut available = Self::available();
        available
            .next()
            .unwrap_or_else(|| unreachable!("portable runs everywhere"))
    }

    /// The instruction set it uses.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Estimates the inner product of the query with each vector of a block,
    /// and tells by a bit each which ones are above the threshold or no number.
    ///
    /// # Panics
    /// The block is not one of vectors with as many dimensions as the query.
    pub fn score(&self, block: &[u8], query: &Query, bounds: Bounds, out: &mut Estimates) -> u32 {
        let padded = query.tables().len() * 8;
        assert_eq!(
            block.len(),
            block_bytes(padded),
            "another number of dimensions"
        );
        let (columns, terms) = block.split_at(block.len() - 2 * FACTORS);
        let (Some(factors), Some(addends)) = (terms.first_chunk(), terms.last_chunk()) else {
            return 0;
        };
        let block = Block {
            columns: columns.as_chunks().0,
            factors,
            addends,
        };
        #[expect(unsafe_code, reason = "a function for this processor in particular")]
        // SAFETY: `available` gives only what runs here.
        unsafe {
            (self.score)(block, query, bounds, out)
        }
    }
}

impl Kernel {
    /// The sum over the products of values up to ±2,047 and signed bytes, of at most
    /// [`DIMENSIONS_MAX`](super::query::DIMENSIONS_MAX) dimensions.
    ///
    /// # Panics
    /// The two have another number of dimensions.
    #[must_use]
    pub fn dot(&self, query: &[i16], bytes: &[u8]) -> i32 {
        assert_eq!(query.len(), bytes.len(), "another number of dimensions");
        #[expect(unsafe_code, reason = "a function for this processor in particular")]
        // SAFETY: `available` gives only what runs here.
        unsafe {
            (self.dot)(query, bytes)
        }
    }
}

impl Kernel {
    /// Asks for bytes that will soon be read.
    pub fn prefetch(bytes: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        for line in bytes.chunks(64) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            #[expect(unsafe_code, reason = "an instruction of this processor")]
            // SAFETY: it only hints, and the bytes are there.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = bytes;
    }
}

#[cfg(target_arch = "x86_64")]
fn special() -> [Option<Kernel>; 2] {
    let bw = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    let avx512 = bw.then_some(Kernel {
        name: "avx512bw",
        score: avx512::score,
        dot: avx512::dot,
    });
    let avx2 = is_x86_feature_detected!("avx2").then_some(Kernel {
        name: "avx2",
        score: avx2::score,
        dot: avx2::dot,
    });
    [avx512, avx2]
}

#[cfg(target_arch = "aarch64")]
fn special() -> [Option<Kernel>; 1] {
    let neon = std::arch::is_aarch64_feature_detected!("neon").then_some(Kernel {
        name: "neon",
        score: neon::score,
        dot: neon::dot,
    });
    [neon]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn special() -> [Option<Kernel>; 0] {
    []
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernel").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::vector::scan::code::{self, Codes, Terms};
    use crate::vector::scan::query::DIMENSIONS_MAX;

    fn bounds(centre: f32, threshold: f32) -> Bounds {
        Bounds { centre, threshold }
    }

    fn vector(random: &mut Rng, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| random.f32() - 0.5).collect()
    }

    fn codes(random: &mut Rng, dimensions: usize, count: usize) -> (Vec<Vec<f32>>, Codes) {
        let vectors: Vec<_> = (0..count).map(|_| vector(random, dimensions)).collect();
        let mut codes = Codes::new(dimensions);
        vectors.iter().for_each(|vector| codes.push_vector(vector));
        (vectors, codes)
    }

    #[test]
    fn every_kernel_gives_the_same_bits() {
        let mut random = Rng::with_seed(3);
        for dimensions in [64, 128, 384, 768, 1536, DIMENSIONS_MAX] {
            let mut codes = Codes::new(dimensions);
            for lane in 0..BLOCK {
                let mut bits = vec![0; dimensions / 8];
                let factor = code::encode(&vector(&mut random, dimensions), &mut bits);
                let addend = if lane == 9 { f32::NAN } else { random.f32() };
                codes.push(&bits, Terms { factor, addend });
            }
            let mut query = Query::new(&vector(&mut random, dimensions));
            query.weight = 0.7;
            let answers = Kernel::available().map(|kernel| {
                let mut out = [0.0; BLOCK];
                let above = kernel.score(codes.blocks(), &query, bounds(0.25, 0.3), &mut out);
                assert_eq!(above >> 9 & 1, 1, "what is no number is told");
                out[9] = 0.0;
                (above, out.map(f32::to_bits))
            });
            let answers: Vec<_> = answers.collect();
            assert!(
                answers.windows(2).all(|pair| pair[0] == pair[1]),
                "{dimensions}"
            );
        }
    }

    /// All entries as large as they get, in as many dimensions as may be.
    #[test]
    fn sums_do_not_overflow() {
        let query = Query::new(&[1.0; DIMENSIONS_MAX]);
        let mut codes = Codes::new(DIMENSIONS_MAX);
        codes.push_vector(&[1.0; DIMENSIONS_MAX]);
        for kernel in Kernel::available() {
            let mut out = [0.0; BLOCK];
            kernel.score(codes.blocks(), &query, bounds(0.0, 0.0), &mut out);
            assert!(
                (out[0] / DIMENSIONS_MAX as f32 - 1.0).abs() < 1e-5,
                "{kernel:?}: {}",
                out[0]
            );
        }
    }

    /// What the error bound of RaBitQ promises: the mean error is about zero,
    /// and it shrinks with the root of the dimensions.
    #[test]
    fn estimates_are_near_and_not_biased() {
        let mut random = Rng::with_seed(5);
        for dimensions in [128, 384, 1536] {
            let (vectors, codes) = codes(&mut random, dimensions, 64 * BLOCK);
            let query_vector = vector(&mut random, dimensions);
            let query = Query::new(&query_vector);
            let size =
                |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            let (mut sum, mut square) = (0.0, 0.0);
            let blocks = codes.blocks().chunks_exact(block_bytes(dimensions));
            for (block, vectors) in blocks.zip(vectors.chunks(BLOCK)) {
                let mut out = [0.0; BLOCK];
                Kernel::best().score(block, &query, bounds(0.0, 0.0), &mut out);
                for (estimate, vector) in out.iter().zip(vectors) {
                    let dot: f32 = vector.iter().zip(&query_vector).map(|(a, b)| a * b).sum();
                    let error = (estimate - dot) / (size(vector) * size(&query_vector));
                    sum += f64::from(error);
                    square += f64::from(error * error);
                }
            }
            let count = vectors.len() as f64;
            let (mean, deviation) = (sum / count, (square / count).sqrt());
            // √(1 ÷ 0.75 - 1) for uniform values, whose mean size is √0.75 of the root mean square.
            let expected = (1.0 / 0.75_f64 - 1.0).sqrt() / (dimensions as f64).sqrt();
            assert!(mean.abs() < 0.15 * expected, "{dimensions}: mean {mean}");
            assert!(
                (deviation / expected - 1.0).abs() < 0.1,
                "{dimensions}: {deviation} {expected}"
            );
        }
    }

    #[test]
    fn products_of_bytes_are_exact() {
        let mut random = Rng::with_seed(9);
        for dimensions in [64, 128, 384, 448, DIMENSIONS_MAX] {
            let mut query: Vec<i16> = (0..dimensions).map(|_| random.i16(-2047..=2047)).collect();
            let mut bytes: Vec<u8> = (0..dimensions).map(|_| random.u8(..)).collect();
            let pairs = |query: &[i16], bytes: &[u8]| -> i64 {
                let pairs = query.iter().zip(bytes);
                pairs
                    .map(|(a, b)| i64::from(*a) * i64::from(b.cast_signed()))
                    .sum()
            };
            for kernel in Kernel::available() {
                let sum = kernel.dot(&query, &bytes);
                assert_eq!(
                    i64::from(sum),
                    pairs(&query, &bytes),
                    "{kernel:?} {dimensions}"
                );
            }
            query.fill(2047);
            bytes.fill((-127_i8).cast_unsigned());
            for kernel in Kernel::available() {
                let sum = kernel.dot(&query, &bytes);
                assert_eq!(
                    i64::from(sum),
                    pairs(&query, &bytes),
                    "{kernel:?} {dimensions}"
                );
            }
        }
    }

    #[test]
    fn what_is_above_the_threshold_is_told() {
        let mut random = Rng::with_seed(6);
        let (_, codes) = codes(&mut random, 128, 20);
        let query = Query::new(&vector(&mut random, 128));
        let mut out = [0.0; BLOCK];
        let above = Kernel::best().score(codes.blocks(), &query, bounds(1.0, 1.0), &mut out);
        for (lane, estimate) in out.iter().enumerate() {
            assert_eq!(above >> lane & 1 == 1, *estimate > 1.0);
        }
        assert_eq!(above >> 20, 0, "there are no more than 20");
    }

    #[test]
    #[should_panic = "another number of dimensions"]
    fn a_block_of_other_dimensions_is_refused() {
        let query = Query::new(&[1.0; 128]);
        Kernel::best().score(&[0; 1000], &query, bounds(0.0, 0.0), &mut [0.0; BLOCK]);
    }
}
