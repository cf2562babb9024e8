use fastrand::Rng;

use super::{COLUMN_LENGTH, Matrix, ROW_LENGTH, Rows, WEIGHT_MAX};
use crate::kernel::{Job, Kernel, run, run_portable};

#[derive(Clone, Copy)]
struct Multiply<'a> {
    matrix: &'a Matrix,
    rows: &'a [f32],
    depth: usize,
}

impl Job for Multiply<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Vec<f32> {
        let mut rows = Rows::default();
        rows.fill(kernel, self.rows, self.depth);
        let count = self.rows.len() / self.depth;
        let mut out = vec![f32::NAN; count * self.matrix.width()];
        self.matrix.multiply(kernel, &rows, &mut out);
        out
    }
}

/// Vectors that are easy to get wrong: the longest sums, the largest values,
/// and none at all.
fn vectors(rng: &mut Rng, depth: usize, count: usize) -> Vec<Vec<f32>> {
    let mut vectors = vec![
        vec![1.0; depth],
        vec![-1.0; depth],
        vec![0.0; depth],
        vec![3e-12; depth],
        vec![-7e14; depth],
    ];
    for at in [0, depth - 1] {
        let mut one = vec![0.0; depth];
        one[at] = -5.0;
        vectors.push(one);
    }
    let random = |_| (0..depth).map(|_| 2.0 * rng.f32() - 1.0).collect();
    vectors.extend((vectors.len()..count).map(random));
    vectors
}

/// Each result may be off by what rounding makes of two vectors, of which it
/// changes each value by half an integer.
fn check(matrix: (&Matrix, &[Vec<f32>], &[f32]), rows: &[Vec<f32>], results: &[f32]) {
    let (matrix, columns, biases) = matrix;
    for (row, results) in rows.iter().zip(results.chunks(matrix.width())) {
        for ((column, &bias), &result) in columns.iter().zip(biases).zip(results) {
            let length = (dot(row, row) * dot(column, column)).sqrt();
            let rounding = (row.len() as f64).sqrt() / 2.0;
            let column_length = f64::from(WEIGHT_MAX).min(COLUMN_LENGTH);
            let shares = rounding / f64::from(ROW_LENGTH) + rounding / column_length;
            let expected = dot(row, column) + f64::from(bias);
            let limit = length * (shares + shares * shares) + (expected.abs() + 1.0) * 1e-6;
            let difference = (f64::from(result) - expected).abs();
            assert!(
                difference <= limit,
                "{result}, not {expected}, depth {}",
                row.len()
            );
        }
    }
}

#[test]
fn products_are_right_to_what_rounding_takes() {
    let mut rng = Rng::with_seed(2);
    // To the deepest that `config` lets in.
    for depth in [1, 2, 15, 16, 17, 33, 384, 1536, 1 << 15] {
        let rows = vectors(&mut rng, depth, 15);
        let columns = vectors(&mut rng, depth, 19);
        let biases: Vec<f32> = columns.iter().map(|_| rng.f32()).collect();
        let matrix = Matrix::new(&columns.concat(), &biases, depth);
        let job = Multiply {
            matrix: &matrix,
            rows: &rows.concat(),
            depth,
        };
        check((&matrix, &columns, &biases), &rows, &run(job));
        check((&matrix, &columns, &biases), &rows, &run_portable(job));
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    let matrix = Matrix::new(&[1.0; 6], &[0.0; 2], 3);
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let job = Multiply {
            matrix: &matrix,
            rows: &[1.0, value, 1.0],
            depth: 3,
        };
        for results in [run(job), run_portable(job)] {
            assert!(results.iter().all(|value| !value.is_finite()), "{value}");
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}
