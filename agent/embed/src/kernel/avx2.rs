//! x86-64 with AVX2 and FMA (Intel 2013, AMD 2015 and later).

#![expect(unsafe_code, reason = "instructions of one kind of processor")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::{Job, Kernel, LANES, PanelStep, RowStep, STEP, Tile};

/// Exists only where the processor has both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2 {
    _detected: (),
}

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let both = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        both.then_some(Self { _detected: () })
    }

    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        // SAFETY: an `Avx2` exists only where the processor has both.
        unsafe { run(self, job) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn run<J: Job>(kernel: Avx2, job: J) -> J::Output {
    job.run(kernel)
}

impl Kernel for Avx2 {
    #[inline(always)]
    fn multiply_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn multiply<const R: usize>(
        self,
        rows: [&[RowStep]; R],
        panel: &[PanelStep],
        out: &mut Tile<R>,
    ) {
        // SAFETY: an `Avx2` exists only where the processor has both.
        unsafe { multiply(rows, panel, out) }
    }
}

#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(rows: [&[RowStep]; R], panel: &[PanelStep], out: &mut Tile<R>) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    for (at, panel) in panel.iter().enumerate() {
        let mut steps = [&[0; STEP]; R];
        for (step, row) in steps.iter_mut().zip(&rows) {
            *step = &row[at];
        }
        for (at, columns) in panel.iter().enumerate() {
            let columns = load(columns);
            for (sums, step) in sums.iter_mut().zip(&steps) {
                let pair = _mm256_set1_epi32(step[at].cast_signed());
                let [first, second] = sums;
                *first = _mm256_add_epi32(*first, _mm256_madd_epi16(pair, columns[0]));
                *second = _mm256_add_epi32(*second, _mm256_madd_epi16(pair, columns[1]));
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(&sums) {
        store(*sums, out);
    }
}

/// The pairs of the first eight columns, and of the others.
#[target_feature(enable = "avx2")]
fn load(columns: &[[i16; 2]; LANES]) -> [__m256i; 2] {
    let columns = columns.as_ptr().cast::<__m256i>();
    // SAFETY: 16 pairs of four bytes are two registers of 32, wherever they are.
    unsafe {
        [
            _mm256_loadu_si256(columns),
            _mm256_loadu_si256(columns.add(1)),
        ]
    }
}

#[target_feature(enable = "avx2")]
fn store([first, second]: [__m256i; 2], out: &mut [i32; LANES]) {
    let out = out.as_mut_ptr().cast::<__m256i>();
    // SAFETY: 16 values of four bytes are two registers of 32, wherever they are.
    unsafe {
        _mm256_storeu_si256(out, first);
        _mm256_storeu_si256(out.add(1), second);
    }
}
