//! Functions of floats that the compiler can apply to eight at a time: no
//! branches, no calls, no tables. No closures either: those are compiled on
//! their own, without the instructions of the function they stand in.

use crate::config::Activation;
use crate::kernel::{Kernel, LANES};

/// `e^x` for `x` up to 0; below −87 it is `e^−87`, about 2e-38. The relative
/// error is below 2e-7.
///
/// `x = n ln 2 + r`, and `e^r` for |r| ≤ 0.35 is the beginning of its series.
#[inline(always)]
pub(crate) fn exp<K: Kernel>(kernel: K, x: f32) -> f32 {
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const MAGIC: f32 = 12_582_912.0;
    // Not `max`, which would make a number of what is none.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = kernel.multiply_add(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = kernel.multiply_add(n, -LN_2_HIGH, x);
    let r = kernel.multiply_add(n, -LN_2_LOW, r);
    let mut sum = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = kernel.multiply_add(sum, r, factor);
    }
    // The lower bits of `shifted` are `n`: put them where the exponent is.
    let power = (shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
    sum * f32::from_bits(power)
}

/// Applies the function to each value.
#[inline(always)]
pub(crate) fn activate<K: Kernel>(kernel: K, activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Gelu => {
            for value in values {
                *value = gelu(kernel, *value);
            }
        }
        Activation::GeluTanh => {
            for value in values {
                *value = gelu_tanh(kernel, *value);
            }
        }
        Activation::Relu => {
            for value in values {
                *value = if *value < 0.0 { 0.0 } else { *value };
            }
        }
    }
}

/// `x Φ(x)`, by formula 7.1.26 of Abramowitz and Stegun, Handbook of
/// Mathematical Functions: the error function to 1.5e-7.
#[inline(always)]
fn gelu<K: Kernel>(kernel: K, x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    let size = x.abs();
    let z = size * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / kernel.multiply_add(z, P, 1.0);
    let mut sum = 1.061_405_4;
    for factor in [-1.453_152, 1.421_413_7, -0.284_496_73, 0.254_829_6, 0.0] {
        sum = kernel.multiply_add(sum, t, factor);
    }
    // The part of the normal distribution beyond `size`.
    let tail = 0.5 * sum * exp(kernel, -z * z);
    let positive = if x < 0.0 { 0.0 } else { x };
    kernel.multiply_add(-size, tail, positive)
}

/// `x / (1 + e^−2u)` with `u = √(2/π) (x + 0.044715 x³)`, which is
/// `x (1 + tanh u) / 2`.
#[inline(always)]
fn gelu_tanh<K: Kernel>(kernel: K, x: f32) -> f32 {
    const TWICE_ROOT: f32 = 2.0 * 0.797_884_6;
    let u = TWICE_ROOT * x * kernel.multiply_add(0.044_715 * x, x, 1.0);
    let power = exp(kernel, -u.abs());
    let numerator = if x < 0.0 { x * power } else { x };
    numerator / (1.0 + power)
}

/// Makes powers of `e` of the values, less the largest of them, times `scale`,
/// and gives their sum.
#[inline(always)]
pub(crate) fn exponentials<K: Kernel>(kernel: K, values: &mut [f32], scale: f32) -> f32 {
    let largest = largest(values);
    let mut sums = [0.0; LANES];
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (value, sum) in chunk.iter_mut().zip(&mut sums) {
            *value = exp(kernel, (*value - largest) * scale);
            *sum += *value;
        }
    }
    for (value, sum) in rest.iter_mut().zip(&mut sums) {
        *value = exp(kernel, (*value - largest) * scale);
        *sum += *value;
    }
    sums.iter().sum()
}

#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut largest = [f32::MIN; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (largest, &value) in largest.iter_mut().zip(chunk) {
            *largest = if value > *largest { value } else { *largest };
        }
    }
    for (largest, &value) in largest.iter_mut().zip(rest) {
        *largest = if value > *largest { value } else { *largest };
    }
    largest.into_iter().fold(f32::MIN, f32::max)
}

/// Brings a row to mean 0 and variance 1, then scales and shifts each value.
#[inline(always)]
pub(crate) fn normalise<K: Kernel>(kernel: K, norm: &Norm, row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    for value in row.iter_mut() {
        *value -= mean;
    }
    let variance = squares(kernel, row) / count;
    let factor = 1.0 / (variance + norm.epsilon).sqrt();
    let parts = norm.factors.iter().zip(&norm.shifts);
    for (value, (&scale, &shift)) in row.iter_mut().zip(parts) {
        *value = kernel.multiply_add(*value * factor, scale, shift);
    }
}

/// What a layer normalisation has learnt.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) factors: Vec<f32>,
    pub(crate) shifts: Vec<f32>,
    pub(crate) epsilon: f32,
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value;
    }
    sums.iter().sum()
}

/// The sum of squares.
#[inline(always)]
pub(crate) fn squares<K: Kernel>(kernel: K, row: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum = kernel.multiply_add(value, value, *sum);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum = kernel.multiply_add(value, value, *sum);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests;
