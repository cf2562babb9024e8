//! From one vector a token to one a text.

use crate::recipe::Pooling;

/// `rows` are the states of one text's tokens; there is at least one.
pub(crate) fn pool(pooling: Pooling, rows: &[f32], hidden: usize) -> Vec<f32> {
    let mut rows = rows.chunks_exact(hidden);
    let count = rows.len() as f32;
    let mut vector = rows.next().unwrap_or_default().to_vec();
    match pooling {
        Pooling::First => {}
        Pooling::Mean => {
            for row in rows {
                combine(&mut vector, row, |sum, value| sum + value);
            }
            for value in &mut vector {
                *value /= count;
            }
        }
        Pooling::Max => {
            for row in rows {
                // Not `max`, which would drop what is no number.
                let larger = |a: f32, b: f32| if a >= b { a } else { b };
                combine(
                    &mut vector,
                    row,
                    |a, b| if a.is_nan() { a } else { larger(a, b) },
                );
            }
        }
    }
    vector
}

/// Brings a vector to length 1; one near length 0 stays as it is, as in
/// PyTorch's `normalize`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded to what is given out"
)]
pub(crate) fn to_unit_length(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
    let factor = 1.0 / squares.sqrt().max(1e-12);
    for value in vector {
        *value = (f64::from(*value) * factor) as f32;
    }
}

fn combine(vector: &mut [f32], row: &[f32], function: impl Fn(f32, f32) -> f32) {
    for (value, other) in vector.iter_mut().zip(row) {
        *value = function(*value, *other);
    }
}
