//! A query as tables: what each possible half byte of a code adds.

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
/// `factor × (sum × scale + offset) + centre`, where `sum` adds one entry for
/// each half byte and `centre` is the product with the centre taken off.
#[derive(Debug, Clone)]
pub struct Query {
    tables: Vec<Table>,
    /// See above.
    pub scale: f32,
    /// See above.
    pub offset: f32,
}

impl Query {
    /// Makes the tables of a rotated query.
    #[must_use]
    pub fn new(rotated: &[f32]) -> Self {
        let groups = || rotated.chunks_exact(4);
        let size = |group: &[f32]| group.iter().map(|value| value.abs()).sum::<f32>();
        let widest = groups().map(size).fold(0.0, f32::max);
        let step = widest / f32::from(ENTRY_MAX);
        let table = |group: &[f32]| {
            let lowest: f32 = group.iter().map(|value| value.min(0.0)).sum();
            std::array::from_fn(|bits| {
                let chosen = group.iter().enumerate();
                let chosen = chosen.filter(|(at, _)| bits >> at & 1 == 1);
                let sum: f32 = chosen.map(|(_, value)| value).sum();
                entry(sum - lowest, step)
            })
        };
        // Signs are ±1 and bits 1 or 0: twice the sum over the bits, minus all.
        Self {
            tables: groups().map(table).collect(),
            scale: 2.0 * step,
            offset: -rotated.iter().map(|value| value.abs()).sum::<f32>(),
        }
    }

    /// Two tables for each column of a block.
    #[must_use]
    pub fn tables(&self) -> &[[Table; 2]] {
        self.tables.as_chunks().0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` keeps to the bounds of u8, and both values are not negative"
)]
fn entry(above: f32, step: f32) -> u8 {
    if step > 0.0 {
        ((above / step).round() as u8).min(ENTRY_MAX)
    } else {
        0
    }
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
