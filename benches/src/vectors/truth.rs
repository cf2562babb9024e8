//! Whether what was found is what is nearest.

use super::ask::{UNFILTERED, passes};
use super::serve::WANTED;
use super::set::{Set, Vectors};

/// Rows whose score is that close to the tenth best count as found: the engines
/// add up f32 values in different orders.
const TIE: f32 = 1e-6;

/// Neighbours kept, so that a few ties fit.
const KEPT: usize = 2 * WANTED;

/// The true neighbours of some queries, and the vectors to look others up in.
#[derive(Debug)]
pub struct Truth {
    base: Vectors,
    queries: Vec<f32>,
    /// Of each query, the nearest first.
    nearest: Vec<Vec<u32>>,
}

impl Truth {
    /// As the data set tells it, of all queries.
    ///
    /// # Errors
    /// The set cannot be read.
    pub fn of(set: &Set) -> anyhow::Result<Self> {
        Ok(Self {
            base: set.base()?,
            queries: set.queries()?,
            nearest: set.truth()?,
        })
    }

    /// Under each filter, of the first `count` queries: every row is compared.
    ///
    /// # Errors
    /// The set cannot be read.
    pub fn filtered(set: &Set, count: usize, filters: &[u32]) -> anyhow::Result<Vec<Self>> {
        let (base, queries) = (set.base()?, set.queries()?);
        let widest = filters.iter().copied().max().unwrap_or(UNFILTERED);
        let mut best = vec![vec![Vec::<(f32, u32)>::new(); count]; filters.len()];
        base.each(|row, vector| {
            let row = u32::try_from(row)?;
            if !passes(row, widest) {
                return Ok(());
            }
            let asked = queries.chunks_exact(set.dimensions()).take(count);
            for (at, query) in asked.enumerate() {
                let score = product(query, vector);
                for (percent, best) in filters.iter().zip(&mut best) {
                    if let Some(best) = best.get_mut(at).filter(|_| passes(row, *percent)) {
                        keep(best, (score, row));
                    }
                }
            }
            Ok(())
        })?;
        let rows = |best: Vec<(f32, u32)>| best.into_iter().map(|(_, row)| row).collect();
        best.into_iter()
            .map(|queried| {
                Ok(Self {
                    base: set.base()?,
                    queries: queries.clone(),
                    nearest: queried.into_iter().map(rows).collect(),
                })
            })
            .collect()
    }

    /// The share of the ten nearest of each query that is among what was found
    /// for queries from `first` on.
    ///
    /// # Errors
    /// The vectors cannot be read.
    pub fn recall(&self, first: usize, found: &[Vec<u32>]) -> anyhow::Result<f64> {
        let dimensions = self.base.dimensions();
        let mut hits = 0;
        for (at, rows) in found.iter().enumerate() {
            let number = (first + at) % self.nearest.len();
            let query = self.queries.chunks_exact(dimensions).nth(number);
            let query = query.unwrap_or_default();
            let nearest = self.nearest.get(number).map_or(&[][..], Vec::as_slice);
            let nearest = nearest.get(..WANTED).unwrap_or(nearest);
            let score = |row: u32| {
                let vector = self.base.read(usize::try_from(row)?, 1)?;
                anyhow::Ok(product(query, &vector))
            };
            let last = nearest
                .last()
                .map_or(Ok(f32::INFINITY), |row| score(*row))?;
            let mut rows = rows.clone();
            rows.sort_unstable();
            rows.dedup();
            let mut right = 0;
            for row in rows {
                right += usize::from(nearest.contains(&row) || score(row)? >= last - TIE);
            }
            hits += right.min(WANTED);
        }
        Ok(hits as f64 / (found.len() * WANTED) as f64)
    }
}

/// Keeps the best, the best first.
fn keep(best: &mut Vec<(f32, u32)>, new: (f32, u32)) {
    let full = best.len() == KEPT;
    if full && best.last().is_some_and(|worst| worst.0 >= new.0) {
        return;
    }
    let at = best.partition_point(|other| other.0 >= new.0);
    best.insert(at, new);
    best.truncate(KEPT);
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::set::bytes_of;
    use super::*;

    /// Rows on a quarter of a circle, and one query at its beginning: the first
    /// rows are nearest. Two rows are the same.
    fn arc() -> (tempfile::TempDir, Set) {
        let folder = tempfile::tempdir().expect("made");
        let vector = |angle: f32| {
            let mut vector = vec![0.0; 16];
            vector[0] = angle.cos();
            vector[1] = angle.sin();
            vector
        };
        let mut rows: Vec<_> = (0_u8..200)
            .map(|row| vector(f32::from(row) / 200.0))
            .collect();
        rows[10] = rows[9].clone();
        let bytes = |rows: &[Vec<f32>]| {
            rows.iter()
                .flat_map(|row| bytes_of(row))
                .collect::<Vec<u8>>()
        };
        let nearest: Vec<u8> = (0_u32..100).flat_map(u32::to_le_bytes).collect();
        let write = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes);
        write("arc-16.f32", bytes(&rows)).expect("written");
        write("arc-16-queries.f32", bytes(&[vector(0.0)])).expect("written");
        write("arc-16-truth.u32", nearest).expect("written");
        let set = Set::named(folder.path(), "arc-16").expect("a name");
        (folder, set)
    }

    #[test]
    fn recall_counts_ties_and_neither_doubles_nor_strangers() {
        let (_folder, set) = arc();
        let truth = Truth::of(&set).expect("read");
        let recall = |rows: &[u32]| truth.recall(0, &[rows.to_vec()]).expect("read");
        assert_eq!(recall(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), 1.0);
        assert_eq!(recall(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 10]), 1.0, "a tie");
        assert_eq!(recall(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 11]), 0.9, "a stranger");
        assert_eq!(recall(&[0; 10]), 0.1, "doubles");
        assert_eq!(recall(&[]), 0.0);
    }

    #[test]
    fn a_filter_has_its_own_truth() {
        let (_folder, set) = arc();
        let truths = Truth::filtered(&set, 1, &[10, 50]).expect("read");
        for (percent, truth) in [10, 50].into_iter().zip(&truths) {
            let passing: Vec<u32> = (0..200).filter(|row| passes(*row, percent)).collect();
            let nearest = passing.get(..WANTED).expect("enough pass").to_vec();
            assert_eq!(truth.recall(0, &[nearest]).expect("read"), 1.0);
            let refused: Vec<u32> = (0..200).filter(|row| !passes(*row, percent)).collect();
            let far = refused.get(100..).unwrap_or_default().to_vec();
            assert!(truth.recall(0, &[far]).expect("read") < 1.0);
        }
    }
}
