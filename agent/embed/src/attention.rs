//! Attention within one text: each token takes from all tokens of its text, by
//! how well its query fits their keys (Vaswani et al., 2017, §3.2).
//!
//! A twentieth of the arithmetic of a passage, done in floats. No text is
//! padded, so there is no mask.

use crate::kernel::{Kernel, LANES, STEP, TILE_ROWS};
use crate::math;

/// How a token's values are shared among the heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Values of each.
    pub(crate) size: usize,
}

/// Room for one head of one text, kept to be used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Panels of 16 tokens: for each dimension, the value of each.
    keys: Vec<[f32; LANES]>,
    /// Panels of 16 dimensions: for each token, the value of each.
    values: Vec<[f32; LANES]>,
    /// Some tokens' weights of all tokens.
    weights: Vec<f32>,
}

impl Heads {
    /// Values of a token.
    fn width(self) -> usize {
        self.count * self.size
    }

    /// `rows` are the queries, keys and values of each token, and `out` its
    /// result. Both are of one text.
    #[inline(always)]
    pub(crate) fn attend<K: Kernel>(
        self,
        kernel: K,
        rows: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        for head in 0..self.count {
            scratch.pack(self, rows, head * self.size);
            let queries = rows.chunks(TILE_ROWS * 3 * self.width());
            let blocks = queries.zip(out.chunks_mut(TILE_ROWS * self.width()));
            for (queries, out) in blocks {
                let block = Block {
                    heads: self,
                    at: head * self.size,
                    queries,
                };
                match out.len() / self.width() {
                    1 => block.attend::<K, 1>(kernel, scratch, out),
                    2 => block.attend::<K, 2>(kernel, scratch, out),
                    3 => block.attend::<K, 3>(kernel, scratch, out),
                    4 => block.attend::<K, 4>(kernel, scratch, out),
                    5 => block.attend::<K, 5>(kernel, scratch, out),
                    _ => block.attend::<K, 6>(kernel, scratch, out),
                }
            }
        }
    }
}

impl Scratch {
    /// Lays out the keys and values of the head that begins at `at`.
    #[inline(always)]
    fn pack(&mut self, heads: Heads, rows: &[f32], at: usize) {
        let (width, size) = (heads.width(), heads.size);
        let tokens = rows.len() / (3 * width);
        self.keys.clear();
        self.keys
            .resize(tokens.div_ceil(LANES) * size, [0.0; LANES]);
        self.values.clear();
        self.values
            .resize(size.div_ceil(LANES) * tokens, [0.0; LANES]);
        for (token, row) in rows.chunks_exact(3 * width).enumerate() {
            let keys = &mut self.keys[token / LANES * size..][..size];
            for (lanes, &key) in keys.iter_mut().zip(&row[width + at..][..size]) {
                lanes[token % LANES] = key;
            }
            let values = &row[2 * width + at..][..size];
            let (whole, rest) = values.as_chunks::<LANES>();
            for (panel, values) in whole.iter().enumerate() {
                self.values[panel * tokens + token] = *values;
            }
            if !rest.is_empty() {
                self.values[whole.len() * tokens + token][..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

/// A few tokens at once.
struct Block<'a> {
    heads: Heads,
    /// Where the head begins in a token's values.
    at: usize,
    queries: &'a [f32],
}

impl Block<'_> {
    #[inline(always)]
    fn attend<K: Kernel, const R: usize>(&self, kernel: K, scratch: &mut Scratch, out: &mut [f32]) {
        let (width, size) = (self.heads.width(), self.heads.size);
        let tokens = scratch.values.len() / size.div_ceil(LANES);
        let stride = tokens.next_multiple_of(LANES);
        scratch.weights.resize(R * stride, 0.0);
        let weights = &mut scratch.weights[..];

        let mut queries = [&self.queries[..0]; R];
        for (query, row) in queries.iter_mut().zip(self.queries.chunks_exact(3 * width)) {
            *query = &row[self.at..][..size];
        }
        for (panel, keys) in scratch.keys.chunks_exact(size).enumerate() {
            let scores = tile::<K, R>(kernel, queries, keys);
            for (row, scores) in weights.chunks_exact_mut(stride).zip(&scores) {
                row[panel * LANES..][..LANES].copy_from_slice(scores);
            }
        }
        let scale = 1.0 / (size as f32).sqrt();
        let mut shares = [0.0; R];
        for (row, share) in weights.chunks_exact_mut(stride).zip(&mut shares) {
            *share = 1.0 / math::exponentials(kernel, &mut row[..tokens], scale);
        }
        let mut rows = [&weights[..0]; R];
        for (row, weights) in rows.iter_mut().zip(weights.chunks_exact(stride)) {
            *row = &weights[..tokens];
        }
        for (panel, values) in scratch.values.chunks_exact(tokens).enumerate() {
            let sums = tile::<K, R>(kernel, rows, values);
            let results = out.chunks_exact_mut(width).zip(&sums).zip(&shares);
            for ((out, sums), share) in results {
                let out = &mut out[self.at..][..size][panel * LANES..];
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum * share;
                }
            }
        }
    }
}

/// The products of some rows with the 16 columns of a panel.
#[inline(always)]
fn tile<K: Kernel, const R: usize>(
    kernel: K,
    rows: [&[f32]; R],
    panel: &[[f32; LANES]],
) -> [[f32; LANES]; R] {
    let mut sums = [[0.0; LANES]; R];
    let (steps, rest) = panel.as_chunks::<STEP>();
    for (at, step) in steps.iter().enumerate() {
        let mut values = [&[0.0; STEP]; R];
        for (values, row) in values.iter_mut().zip(&rows) {
            *values = &row.as_chunks().0[at];
        }
        for (at, columns) in step.iter().enumerate() {
            for (sums, values) in sums.iter_mut().zip(&values) {
                add(kernel, values[at], columns, sums);
            }
        }
    }
    for (at, columns) in (STEP * steps.len()..).zip(rest) {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            add(kernel, row[at], columns, sums);
        }
    }
    sums
}

#[inline(always)]
fn add<K: Kernel>(kernel: K, value: f32, columns: &[f32; LANES], sums: &mut [f32; LANES]) {
    for (sum, column) in sums.iter_mut().zip(columns) {
        *sum = kernel.multiply_add(value, *column, *sum);
    }
}
