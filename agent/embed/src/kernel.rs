//! What the arithmetic needs of a processor, and which one this is.
//!
//! A [`Job`] is written once, in plain loops. It is compiled once for any
//! processor, and once more for x86-64 with AVX2 and FMA, where the compiler
//! turns the same loops into eight operations at a time.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

/// Columns of a tile, of a matrix's panels, and of every vectorised loop.
pub(crate) const LANES: usize = 16;

/// Rows of the largest tile: with 16 columns it fills the 12 registers that
/// AVX2 has left beside the operands.
pub(crate) const TILE_ROWS: usize = 6;

/// Neighbouring values that a step of a tile takes from each row, in pairs: the
/// first of two in the lower half. So the compiler loads a pair as one.
pub(crate) type RowStep = [u32; STEP];

/// The same values of each column of a panel.
pub(crate) type PanelStep = [[[i16; 2]; LANES]; STEP];

/// Pairs of a step.
pub(crate) const STEP: usize = 8;

/// Sums of products, for a few rows and the columns of a panel.
pub(crate) type Tile<const R: usize> = [[i32; LANES]; R];

/// The operations that differ between processors. All compute the same
/// integers; floating point differs in the last bit, by the rounding of
/// products.
pub(crate) trait Kernel: Copy {
    /// `a × b + c`.
    fn multiply_add(self, a: f32, b: f32, c: f32) -> f32;

    /// The products of some rows with the columns of a panel, all of one
    /// length. Sums wrap around.
    fn multiply<const R: usize>(
        self,
        rows: [&[RowStep]; R],
        panel: &[PanelStep],
        out: &mut Tile<R>,
    );
}

/// Work to be compiled for each kind of processor.
pub(crate) trait Job {
    type Output;

    /// Does the work. Must be `#[inline(always)]`, as all that it calls for
    /// arithmetic: what is not inlined is compiled for any processor.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Does the work in the fastest way that this processor has.
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = avx2::Avx2::detect() {
        return avx2.run(job);
    }
    run_portable(job)
}

/// Does the work in the way that every processor has.
pub(crate) fn run_portable<J: Job>(job: J) -> J::Output {
    job.run(portable::Portable)
}

/// The lower 16 bits, as a signed number.
#[inline(always)]
pub(crate) fn lower_half(bits: u32) -> i16 {
    let [first, second, ..] = bits.to_le_bytes();
    i16::from_le_bytes([first, second])
}

#[cfg(test)]
mod tests;
