//! A query as tables: what each possible half byte of a code adds.

use super::wide::{sum_of, wide};

/// Largest entry of a table. Eight of them fit a byte, so that four columns
/// are added up before they must be widened; and what rounding to 32 steps
/// costs is a tenth of what the one bit of the data costs.
pub const ENTRY_MAX: u8 = 31;

/// What each half byte adds: four dimensions of a code.
pub type Table = [u8; 16];

/// Most dimensions whose sums fit 16 bits: `D ÷ 4 × 31 < 2¹⁶`.
pub const DIMENSIONS_MAX: usize = 8192;

/// A query, rotated and made ready for the scan.
///
/// The inner product of the query with a vector of a code is about
/// `factor × (sum × scale + offset) + weight × addend + centre`, where `sum` adds
/// one entry for each half byte, and the rest is what was taken off the vector
/// and the query.
#[derive(Debug, Clone)]
pub struct Query {
    tables: Vec<Table>,
    /// See above.
    pub scale: f32,
    /// See above.
    pub offset: f32,
    /// See above.
    pub weight: f32,
}

impl Query {
    /// Makes the tables of a rotated query.
    #[must_use]
    pub fn new(rotated: &[f32]) -> Self {
        let mut tables = vec![[0; 16]; rotated.len() / 4];
        let step = fill(rotated, &mut tables);
        // Signs are ±1 and bits 1 or 0: twice the sum over the bits, minus all.
        Self {
            tables,
            scale: 2.0 * step,
            offset: -sum_of(rotated, f32::abs),
            weight: 1.0,
        }
    }

    /// Raises every estimate by `deviations` times its typical error, so that
    /// it is above the true product as often as the normal distribution says.
    ///
    /// What the signs miss of a vector is at a right angle to it, and of size
    /// `factor × √((1 - 2/π) D)`, since the values of a rotated vector are as
    /// good as normal. Of that a query of size `length` sees one part in `√D`.
    pub fn raise(&mut self, deviations: f32, length: f32) {
        self.offset += deviations * ERROR * length;
    }

    /// Two tables for each column of a block.
    #[must_use]
    pub fn tables(&self) -> &[[Table; 2]] {
        self.tables.as_chunks().0
    }
}

/// √(1 - 2/π).
const ERROR: f32 = 0.602_81;

wide! {
    /// Writes a table for each four values. Returns what an entry of 1 is worth.
    fn fill(rotated: &[f32], tables: &mut [Table]) -> f32 {
        let fours = rotated.as_chunks::<4>().0;
        let size = |four: &[f32; 4]| four.iter().map(|value| value.abs()).sum::<f32>();
        let widest = fours.iter().map(size).fold(0.0, f32::max);
        let step = widest / f32::from(ENTRY_MAX);
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        for (table, [a, b, c, d]) in tables.iter_mut().zip(fours) {
            let lowest = a.min(0.0) + b.min(0.0) + c.min(0.0) + d.min(0.0);
            *table = std::array::from_fn(|bits| {
                let chosen = |bit: usize, value: &f32| if bits >> bit & 1 == 1 { *value } else { 0.0 };
                let sum = chosen(0, a) + chosen(1, b) + chosen(2, c) + chosen(3, d);
                entry((sum - lowest) * inverse)
            });
        }
        step
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` keeps to the bounds of i32, the next line to those of an entry"
)]
#[inline(always)]
fn entry(steps: f32) -> u8 {
    let rounded = (steps + 0.5) as i32;
    rounded.clamp(0, i32::from(ENTRY_MAX)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sums_above_the_lowest() {
        let query = Query::new(&[1.0, -2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let step = 3.5 / 31.0;
        assert_eq!(query.scale, 2.0 * step);
        assert_eq!(query.offset, -3.5);
        let [[first, second]] = query.tables() else {
            panic!("one column");
        };
        assert_eq!(first[0b0010], 0, "the lowest");
        assert_eq!(first[0b0101], ENTRY_MAX, "the highest");
        assert_eq!(first[0], 18, "2 of 3.5, in 31 steps");
        assert_eq!(*second, [0; 16]);
    }

    #[test]
    fn a_query_of_nothing_is_zero_everywhere() {
        let query = Query::new(&[0.0; 64]);
        assert!(query.tables().iter().all(|pair| *pair == [[0; 16]; 2]));
        assert_eq!((query.scale, query.offset), (0.0, 0.0));
    }
}
