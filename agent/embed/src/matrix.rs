//! Products of activations with the weights of a layer, in 16-bit integers.
//!
//! AVX2 multiplies and adds twice as many 16-bit integers as floats in the
//! same time, and 13 bits a value are enough: against `f32` the vectors of real
//! models keep a cosine above 0.99999. (Eight bits are not: they lose two
//! decimals more.) Each row of weights, and each row of activations at run
//! time, has a scale of its own, so that large values of one do not coarsen
//! the others.
//!
//! Weights are laid out once: 16 columns make a panel, in which the values that
//! are multiplied together lie one after the other. No row of zeros is ever
//! multiplied; the tokens of all texts of a batch follow one another.

use crate::kernel::{Kernel, LANES, PanelStep, RowStep, STEP, TILE_ROWS, lower_half};
use crate::math;

/// The weights and biases of a dense layer.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// Values of a result's row.
    width: usize,
    /// Steps of an input's row.
    steps: usize,
    panels: Vec<PanelStep>,
    /// What an integer stands for, by column, and what is added.
    scales: Vec<[f32; LANES]>,
    biases: Vec<[f32; LANES]>,
}

/// Rows of activations, made integers.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    steps: usize,
    values: Vec<RowStep>,
    scales: Vec<f32>,
}

/// The length, as a vector, of a row of activations made integers.
///
/// With [`COLUMN_LENGTH`] it makes sure that nothing overflows: a sum of
/// products is at most the product of the two lengths (Cauchy and Schwarz), so
/// are its parts, and rounding `n` values makes neither longer by more than
/// √n / 2, which is 91 for the deepest layer that `config` lets in:
/// (32,600 + 91) × (65,000 + 91) < 2^31, and 32,600 + 91 < 2^15.
const ROW_LENGTH: f32 = 32_600.0;

/// The length of a column of weights made integers, at most.
const COLUMN_LENGTH: f64 = 65_000.0;

/// The largest integer that a weight becomes.
const WEIGHT_MAX: f32 = 32_767.0;

/// Bytes of activations that are multiplied with a panel before the next panel
/// comes: half of a small second-level cache.
const BLOCK_BYTES: usize = 128 << 10;

impl Matrix {
    /// `weights` has a row for each value of the result, as PyTorch's `Linear`
    /// has it.
    pub(crate) fn new(weights: &[f32], biases: &[f32], depth: usize) -> Self {
        let width = biases.len();
        let steps = depth.div_ceil(2 * STEP);
        let count = width.div_ceil(LANES);
        let mut panels = vec![[[[0; 2]; LANES]; STEP]; count * steps];
        let mut scales = vec![[0.0; LANES]; count];
        let mut padded = vec![[0.0; LANES]; count];
        padded.as_flattened_mut()[..width].copy_from_slice(biases);
        for (column, row) in weights.chunks_exact(depth).enumerate() {
            let (panel, lane) = (column / LANES, column % LANES);
            let scale = weight_scale(row);
            scales[panel][lane] = scale;
            let pairs = panels[panel * steps..][..steps].as_flattened_mut();
            for (columns, values) in pairs.iter_mut().zip(row.chunks(2)) {
                for (integer, value) in columns[lane].iter_mut().zip(values) {
                    *integer = lower_half((value / scale + MAGIC).to_bits());
                }
            }
        }
        Self {
            width,
            steps,
            panels,
            scales,
            biases: padded,
        }
    }

    /// Values of a result's row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Multiplies all rows, and puts the results one after the other.
    #[inline(always)]
    pub(crate) fn multiply<K: Kernel>(&self, kernel: K, rows: &Rows, out: &mut [f32]) {
        assert_eq!(rows.steps, self.steps, "rows of another length");
        let block = (BLOCK_BYTES / (self.steps * size_of::<RowStep>())).next_multiple_of(TILE_ROWS);
        let values = rows.values.chunks(block * self.steps);
        let blocks = values.zip(rows.scales.chunks(block));
        for ((values, scales), out) in blocks.zip(out.chunks_mut(block * self.width)) {
            for panel in 0..self.scales.len() {
                self.multiply_panel(kernel, panel, (values, scales), out);
            }
        }
    }

    #[inline(always)]
    fn multiply_panel<K: Kernel>(
        &self,
        kernel: K,
        panel: usize,
        (values, scales): (&[RowStep], &[f32]),
        out: &mut [f32],
    ) {
        let values = values.chunks(TILE_ROWS * self.steps);
        let out = out.chunks_mut(TILE_ROWS * self.width);
        for ((values, scales), out) in values.zip(scales.chunks(TILE_ROWS)).zip(out) {
            match scales.len() {
                1 => self.multiply_tile::<K, 1>(kernel, panel, values, scales, out),
                2 => self.multiply_tile::<K, 2>(kernel, panel, values, scales, out),
                3 => self.multiply_tile::<K, 3>(kernel, panel, values, scales, out),
                4 => self.multiply_tile::<K, 4>(kernel, panel, values, scales, out),
                5 => self.multiply_tile::<K, 5>(kernel, panel, values, scales, out),
                _ => self.multiply_tile::<K, 6>(kernel, panel, values, scales, out),
            }
        }
    }

    #[inline(always)]
    fn multiply_tile<K: Kernel, const R: usize>(
        &self,
        kernel: K,
        panel: usize,
        values: &[RowStep],
        scales: &[f32],
        out: &mut [f32],
    ) {
        let mut rows = [&values[..0]; R];
        for (row, values) in rows.iter_mut().zip(values.chunks_exact(self.steps)) {
            *row = values;
        }
        let columns = &self.panels[panel * self.steps..][..self.steps];
        let mut tile = [[0; LANES]; R];
        kernel.multiply(rows, columns, &mut tile);
        let (column_scales, biases) = (&self.scales[panel], &self.biases[panel]);
        let results = out.chunks_exact_mut(self.width).zip(scales).zip(&tile);
        for ((out, &scale), sums) in results {
            let mut values = [0.0; LANES];
            let parts = sums.iter().zip(column_scales).zip(biases);
            for (value, ((&sum, column_scale), &bias)) in values.iter_mut().zip(parts) {
                *value = kernel.multiply_add(as_f32(sum), scale * column_scale, bias);
            }
            let out = &mut out[panel * LANES..];
            match out.first_chunk_mut() {
                Some(out) => *out = values,
                None => out.copy_from_slice(&values[..out.len()]),
            }
        }
    }
}

impl Rows {
    /// Makes integers of rows of `depth` values, in place of what was here.
    #[inline(always)]
    pub(crate) fn fill<K: Kernel>(&mut self, kernel: K, rows: &[f32], depth: usize) {
        self.clear(depth);
        for row in rows.chunks_exact(depth) {
            self.push(kernel, row);
        }
    }

    /// Makes room for rows of another length.
    pub(crate) fn clear(&mut self, depth: usize) {
        self.steps = depth.div_ceil(2 * STEP);
        self.values.clear();
        self.scales.clear();
    }

    /// Adds a row. If infinity is in it or what is no number, or its length
    /// overflows, its results are not finite either.
    #[inline(always)]
    pub(crate) fn push<K: Kernel>(&mut self, kernel: K, row: &[f32]) {
        let length = math::squares(kernel, row).sqrt();
        // So short is only what was made of zeros.
        let factor = if length < 1e-15 {
            0.0
        } else {
            ROW_LENGTH / length
        };
        self.scales.push(length / ROW_LENGTH);
        let begin = self.values.len();
        self.values.resize(begin + self.steps, [0; STEP]);
        let pairs = self.values[begin..].as_flattened_mut();
        let (whole, rest) = row.as_chunks::<2>();
        for (pair, &[first, second]) in pairs.iter_mut().zip(whole) {
            let first = kernel.multiply_add(first, factor, MAGIC).to_bits();
            let second = kernel.multiply_add(second, factor, MAGIC).to_bits();
            *pair = first & 0xffff | second << 16;
        }
        if let (&[last], Some(pair)) = (rest, pairs.get_mut(whole.len())) {
            *pair = kernel.multiply_add(last, factor, MAGIC).to_bits() & 0xffff;
        }
    }
}

fn weight_scale(row: &[f32]) -> f32 {
    let largest = row
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
    let scale = f64::from(largest / WEIGHT_MAX).max(squares.sqrt() / COLUMN_LENGTH);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the nearest float is meant"
    )]
    let scale = scale as f32;
    // A row of zeros, or near it.
    scale.max(f32::MIN_POSITIVE)
}

/// 1.5 × 2^23: the sum with a small value has its nearest integer in the lower
/// bits. Unlike `as` it is one instruction for eight values.
const MAGIC: f32 = 12_582_912.0;

#[inline(always)]
fn as_f32(sum: i32) -> f32 {
    sum as f32
}

#[cfg(test)]
mod tests;
