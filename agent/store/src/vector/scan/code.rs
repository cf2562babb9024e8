//! A vector as one bit a dimension, and how many of them lie together.
//!
//! ```text
//! block   column 0 · … · column D/8-1 · 32 factors (f32) · 32 addends (f32)
//! column  byte of vector 0 · byte of vector 1 · … · byte of vector 31
//! byte    dimensions 8j to 8j+7, the lowest bit first: 1 where positive
//! ```
//!
//! Numbers are little-endian. A block that is not full has zeros for the
//! vectors it lacks.

use super::rotation::DIMENSIONS_STEP;
use super::wide::{sum_of, wide};

/// Vectors in a block.
pub const BLOCK: usize = 32;

/// Bytes of a block's factors, and of its addends.
pub const FACTORS: usize = BLOCK * size_of::<f32>();

/// Bytes of a block whose vectors have `padded` dimensions.
#[must_use]
pub fn block_bytes(padded: usize) -> usize {
    padded / 8 * BLOCK + 2 * FACTORS
}

/// What belongs to the bits of a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// What the sum over the signs is multiplied with, see [`encode`].
    pub factor: f32,
    /// What is added to the estimate of this vector for every query.
    pub addend: f32,
}

wide! {
    /// Writes the signs of a rotated vector, with the centre taken off, to an
    /// eighth as many bytes. Returns its factor: `|r|² ÷ Σ|rᵢ|`.
    ///
    /// Along the vector itself the estimate is then exact: its signs times its
    /// values sum up to `Σ|rᵢ|`, and times the factor to `|r|²`.
    pub fn encode(residual: &[f32], bits: &mut [u8]) -> f32 {
        for (byte, values) in bits.iter_mut().zip(residual.as_chunks::<8>().0) {
            *byte = sign_bits(values);
        }
        let square = sum_of(residual, |value| value * value);
        let sum = sum_of(residual, f32::abs);
        if sum > 0.0 { square / sum } else { 0.0 }
    }
}

/// A bit for each value, the first one lowest: set where it is positive.
#[inline(always)]
fn sign_bits(values: &[f32; 8]) -> u8 {
    let bits = values.iter().enumerate();
    bits.fold(0, |byte, (at, value)| byte | u8::from(*value > 0.0) << at)
}

/// Puts a vector at a place in a block of as many dimensions as it has bits.
pub fn place(block: &mut [u8], lane: usize, bits: &[u8], terms: Terms) {
    let (columns, rest) = block.split_at_mut((bits.len() * BLOCK).min(block.len()));
    for (byte, bits) in columns.iter_mut().skip(lane).step_by(BLOCK).zip(bits) {
        *byte = *bits;
    }
    let (factors, addends) = rest.split_at_mut(FACTORS.min(rest.len()));
    for (to, value) in [(factors, terms.factor), (addends, terms.addend)] {
        if let Some(to) = to.as_chunks_mut().0.get_mut(lane) {
            *to = value.to_le_bytes();
        }
    }
}

/// Codes of vectors, one block after the other.
#[derive(Debug, Clone)]
pub struct Codes {
    padded: usize,
    length: usize,
    blocks: Vec<u8>,
}

impl Codes {
    /// No vectors yet, of so many dimensions after rotation.
    #[must_use]
    pub fn new(padded: usize) -> Self {
        debug_assert!(padded.is_multiple_of(DIMENSIONS_STEP), "not rotated");
        Self {
            padded,
            length: 0,
            blocks: Vec::new(),
        }
    }

    /// Vectors so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The blocks, one after the other.
    #[must_use]
    pub fn blocks(&self) -> &[u8] {
        &self.blocks
    }

    /// Adds what [`encode`] wrote.
    pub fn push(&mut self, bits: &[u8], terms: Terms) {
        let lane = self.length % BLOCK;
        let bytes = block_bytes(self.padded);
        if lane == 0 {
            self.blocks.resize(self.blocks.len() + bytes, 0);
        }
        self.length += 1;
        let start = self.blocks.len() - bytes;
        if let Some(block) = self.blocks.get_mut(start..) {
            place(block, lane, bits, terms);
        }
    }
}

#[cfg(test)]
impl Codes {
    /// Encodes and adds a vector.
    pub(crate) fn push_vector(&mut self, residual: &[f32]) {
        let mut bits = vec![0; self.padded / 8];
        let factor = encode(residual, &mut bits);
        self.push(
            &bits,
            Terms {
                factor,
                addend: 0.0,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_lie_side_by_side() {
        let mut codes = Codes::new(64);
        for lane in 0..33 {
            let mut residual = [-1.0; 64];
            residual[lane] = 3.0;
            codes.push_vector(&residual);
        }
        assert_eq!(codes.len(), 33);
        assert_eq!(codes.blocks().len(), 2 * block_bytes(64));
        let (first, second) = codes.blocks().split_at(block_bytes(64));
        // Vector 9 is positive in dimension 9: bit 1 of column 1.
        assert_eq!(first[BLOCK + 9], 0b10);
        assert_eq!(first[9], 0);
        // Vector 32 is alone in the second block.
        assert_eq!(second[4 * BLOCK], 1);
        assert!(second[1..BLOCK].iter().all(|byte| *byte == 0));
        let factor = f32::from_le_bytes(first[64 * 4..64 * 4 + 4].try_into().expect("4 bytes"));
        assert!((factor - (63.0 + 9.0) / (63.0 + 3.0)).abs() < 1e-6);
    }

    #[test]
    fn a_vector_at_the_centre_has_no_size() {
        let mut codes = Codes::new(64);
        codes.push_vector(&[0.0; 64]);
        assert!(codes.blocks().iter().all(|byte| *byte == 0));
    }
}
