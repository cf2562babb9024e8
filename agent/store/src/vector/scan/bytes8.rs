//! A vector as one byte a dimension: precise enough to choose the last few
//! candidates, and a quarter of the memory to read.

#![expect(
    clippy::cast_possible_truncation,
    reason = "values were clamped to what their type holds"
)]

use super::wide::{largest, wide};

/// What a byte of the largest value stands for, at the most.
const LARGEST: f32 = 127.0;

/// The largest value of a query: with it the sum over 8,192 dimensions still
/// fits 32 bits.
const QUERY_LARGEST: f32 = 2047.0;

wide! {
    /// Writes a rotated vector as signed bytes. Returns what one step stands for.
    pub fn encode(rotated: &[f32], out: &mut [u8]) -> f32 {
        let step = largest(rotated) / LARGEST;
        let inverse = inverse(step);
        for (to, value) in out.iter_mut().zip(rotated) {
            *to = (quantised(*value, inverse, LARGEST) as i8).cast_unsigned();
        }
        step
    }
}

wide! {
    /// Writes what bytes with a step stand for.
    pub fn decode(bytes: &[u8], step: f32, out: &mut [f32]) {
        for (to, byte) in out.iter_mut().zip(bytes) {
            *to = f32::from(byte.cast_signed()) * step;
        }
    }
}

/// A rotated query, for products with bytes.
#[derive(Debug, Clone)]
pub struct Query8 {
    values: Vec<i16>,
    step: f32,
}

impl Query8 {
    /// Makes a rotated query ready.
    #[must_use]
    pub fn new(rotated: &[f32]) -> Self {
        let mut values = vec![0; rotated.len()];
        let step = encode_query(rotated, &mut values);
        Self { values, step }
    }

    /// The values, one for each dimension.
    #[must_use]
    pub fn values(&self) -> &[i16] {
        &self.values
    }

    /// The inner product, from the sum over the products of the values and the
    /// bytes of a vector whose step is `step`.
    #[must_use]
    pub fn product(&self, sum: i32, step: f32) -> f32 {
        sum as f32 * (self.step * step)
    }
}

wide! {
    fn encode_query(rotated: &[f32], out: &mut [i16]) -> f32 {
        let step = largest(rotated) / QUERY_LARGEST;
        let inverse = inverse(step);
        for (to, value) in out.iter_mut().zip(rotated) {
            *to = quantised(*value, inverse, QUERY_LARGEST) as i16;
        }
        step
    }
}

#[inline(always)]
fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

#[inline(always)]
fn quantised(value: f32, inverse: f32, most: f32) -> i32 {
    (value * inverse).round_ties_even().clamp(-most, most) as i32
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::vector::scan::kernel::Kernel;

    #[test]
    fn products_are_near() {
        let mut random = Rng::with_seed(1);
        let mut vector = || -> Vec<f32> { (0..384).map(|_| random.f32() - 0.5).collect() };
        for _ in 0..100 {
            let (query, row) = (vector(), vector());
            let exact: f32 = query.iter().zip(&row).map(|(a, b)| a * b).sum();
            let mut bytes = [0; 384];
            let step = encode(&row, &mut bytes);
            let query = Query8::new(&query);
            let near = query.product(Kernel::best().dot(query.values(), &bytes), step);
            // Vectors of length √32: rounding moves the product by about
            // √384 × 0.29 × (step of the row ≈ 0.004) × 0.29 of the query.
            assert!((near - exact).abs() < 0.05, "{near} {exact}");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let mut bytes = [1; 64];
        assert_eq!(encode(&[0.0; 64], &mut bytes), 0.0);
        assert_eq!(bytes, [0; 64]);
        let query = Query8::new(&[0.0; 64]);
        assert_eq!(query.product(1000, 1.0), 0.0);
    }
}
