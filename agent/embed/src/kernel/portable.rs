//! Any processor, and the meaning of the others.

use super::{Kernel, LANES, PanelStep, RowStep, Tile, lower_half};

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
    fn multiply<const R: usize>(
        self,
        rows: [&[RowStep]; R],
        panel: &[PanelStep],
        out: &mut Tile<R>,
    ) {
        for (sums, row) in out.iter_mut().zip(&rows) {
            *sums = [0; LANES];
            let pairs = row.as_flattened().iter().zip(panel.as_flattened());
            for (&pair, columns) in pairs {
                let (a, b) = (lower_half(pair), lower_half(pair >> 16));
                for (sum, &[c, d]) in sums.iter_mut().zip(columns) {
                    let first = i32::from(a) * i32::from(c);
                    let second = i32::from(b) * i32::from(d);
                    *sum = sum.wrapping_add(first.wrapping_add(second));
                }
            }
        }
    }
}
