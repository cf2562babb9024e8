//! Which segments are worth merging.

/// The size of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rows, dead ones too.
    pub rows: usize,
    /// Dead rows.
    pub dead: usize,
}

/// Which segments to merge into one: those that are small beside the sum of
/// all smaller ones, or one with many dead rows.
#[must_use]
pub fn plan(sizes: &[Size]) -> Vec<usize> {
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(sizes.len());
    for (at, size) in sizes.iter().enumerate() {
        order.push((size.rows.saturating_sub(size.dead), at));
    }
    order.sort_unstable();
    let (mut sum, mut merged) = (0, 0);
    for (count, (living, _)) in (0..).zip(&order) {
        if count > 0 && *living < sum * SMALLER {
            merged = count + 1;
        }
        sum += living;
    }
    order.truncate(merged);
    let mut chosen: Vec<usize> = order.into_iter().map(|(_, at)| at).collect();
    if chosen.is_empty() {
        let dead = sizes.iter().position(|size| size.dead * DEAD > size.rows);
        chosen.extend(dead);
    }
    chosen
}

/// A segment is merged with all smaller ones if they have more than one such
/// part of its rows. So there are few, and each row is written few times.
const SMALLER: usize = 4;

/// A segment is written anew when more than one such part of it is dead.
const DEAD: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(rows: usize, dead: usize) -> Size {
        Size { rows, dead }
    }

    #[test]
    fn small_ones_are_merged_and_a_large_one_is_left() {
        assert_eq!(plan(&[]), Vec::<usize>::new());
        assert_eq!(plan(&[size(10, 0)]), Vec::<usize>::new());
        assert_eq!(plan(&[size(1000, 0), size(10, 0)]), Vec::<usize>::new());
        assert_eq!(plan(&[size(1000, 0), size(10, 0), size(20, 0)]), [1, 2]);
        assert_eq!(plan(&[size(1000, 0), size(251, 0)]), [1, 0]);
        assert_eq!(plan(&[size(1000, 201), size(10, 0)]), [0]);
        assert_eq!(plan(&[size(1000, 200), size(10, 0)]), Vec::<usize>::new());
        assert_eq!(plan(&[size(7, 7)]), [0], "nothing is left of it");
    }

    proptest! {
        /// However large the segments are that come, there are few, and a row
        /// is written few times.
        #[test]
        fn there_are_few_and_rows_are_written_seldom(
            come in prop::collection::vec(1_usize..1000, 1..300),
        ) {
            let (mut sizes, mut written, mut rows) = (Vec::new(), 0, 0);
            for new in come {
                sizes.push(size(new, 0));
                rows += new;
                let mut chosen = plan(&sizes);
                while !chosen.is_empty() {
                    let merged: usize = chosen.iter().map(|at| sizes[*at].rows).sum();
                    written += merged;
                    chosen.sort_unstable();
                    for at in chosen.iter().rev() {
                        sizes.remove(*at);
                    }
                    sizes.push(size(merged, 0));
                    chosen = plan(&sizes);
                }
            }
            // Each is more than four times all smaller ones.
            let levels = f64::from(u32::try_from(rows).expect("small")).log(SMALLER as f64 + 1.0);
            prop_assert!(sizes.len() as f64 <= levels + 2.0, "{sizes:?}");
            let times = written as f64 / rows as f64;
            prop_assert!(times < 4.0 * (levels + 1.0), "{times} times, {levels} levels");
        }
    }
}
