//! Any processor, and the meaning of the others.

use super::{Kernel, LANES, PanelStep, RowStep, Tile};

#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    #[inline(always)]
    fn multiply_add(self, a: f32, b: f32, c: f32) -> f32 {
        // Without the instruction, one rounding would be a call of a function.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }

    #[inline(always)]
    fn tile<const R: usize>(self, rows: [&[RowStep]; R], panel: &[PanelStep]) -> Tile<R> {
        let mut sums = [[0_i32; LANES]; R];
        for (sums, row) in sums.iter_mut().zip(rows) {
            let pairs = row.as_flattened().iter().zip(panel.as_flattened());
            for (&[a, b], columns) in pairs {
                for (sum, &[c, d]) in sums.iter_mut().zip(columns) {
                    let first = i32::from(a) * i32::from(c);
                    let second = i32::from(b) * i32::from(d);
                    *sum = sum.wrapping_add(first.wrapping_add(second));
                }
            }
        }
        sums
    }
}
