//! x86-64 with AVX-512BW (2017 and later): 64 look-ups an instruction, which
//! are two columns.

#![expect(unsafe_code, reason = "instructions of one kind of processor")]

use std::arch::x86_64::{
    __m256i, __m512i, _CMP_NLE_UQ, _mm256_add_epi16, _mm256_loadu_si256, _mm256_permute2x128_si256,
    _mm256_unpackhi_epi16, _mm256_unpacklo_epi16, _mm512_add_epi8, _mm512_add_epi16,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cvtepi8_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_mul_ps, _mm512_reduce_add_epi32,
    _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_ps, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_i32x4, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{Block, Bounds, Estimates};
use crate::vector::scan::code::BLOCK;
use crate::vector::scan::query::{Query, Table};

/// Pairs of columns whose entries are added up as bytes: 4 × 2 × 31 fits.
const PAIRS: usize = 4;

/// See [`super::Score`].
///
/// # Safety
/// The processor has AVX-512F and AVX-512BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn score(
    block: Block<'_>,
    query: &Query,
    bounds: Bounds,
    out: &mut Estimates,
) -> u32 {
    let (scale, offset) = (_mm512_set1_ps(query.scale), _mm512_set1_ps(query.offset));
    let weight = _mm512_set1_ps(query.weight);
    let (centre, threshold) = (
        _mm512_set1_ps(bounds.centre),
        _mm512_set1_ps(bounds.threshold),
    );
    let mut above = 0;
    for (at, sums) in sums(block.columns, query.tables()).into_iter().enumerate() {
        let sums = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(sums));
        let product = _mm512_add_ps(_mm512_mul_ps(sums, scale), offset);
        // SAFETY: 2 × 16 factors and addends of four bytes, and as many estimates.
        unsafe {
            let factor = _mm512_loadu_ps(block.factors.as_ptr().cast::<f32>().add(16 * at));
            let addend = _mm512_loadu_ps(block.addends.as_ptr().cast::<f32>().add(16 * at));
            let addend = _mm512_add_ps(_mm512_mul_ps(addend, weight), centre);
            let estimate = _mm512_add_ps(_mm512_mul_ps(product, factor), addend);
            _mm512_storeu_ps(out.as_mut_ptr().add(16 * at), estimate);
            let greater = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(estimate, threshold);
            above |= u32::from(greater) << (16 * at);
        }
    }
    above
}

/// The sum of entries of each vector, as 16 bits, in order.
#[target_feature(enable = "avx512f,avx512bw")]
fn sums(columns: &[[u8; BLOCK]], tables: &[[Table; 2]]) -> [__m256i; 2] {
    let halves = _mm512_set1_epi8(15);
    let bytes = _mm512_set1_epi16(255);
    // Vectors 0, 2, … 30 and 1, 3, … 31, of even columns and of odd ones.
    let mut even = _mm512_setzero_si512();
    let mut odd = _mm512_setzero_si512();
    let pairs = columns.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
    let tables = tables.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
    for (pairs, tables) in pairs.iter().zip(tables) {
        let mut sum = _mm512_setzero_si512();
        for (pair, tables) in pairs.iter().zip(tables) {
            let codes = load(pair.as_flattened());
            // The low and the high one of either column.
            let tables = load(tables.as_flattened().as_flattened());
            let low = _mm512_shuffle_i32x4::<0b10_10_00_00>(tables, tables);
            let high = _mm512_shuffle_i32x4::<0b11_11_01_01>(tables, tables);
            let low_half = _mm512_and_si512(codes, halves);
            let high_half = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), halves);
            sum = _mm512_add_epi8(sum, _mm512_shuffle_epi8(low, low_half));
            sum = _mm512_add_epi8(sum, _mm512_shuffle_epi8(high, high_half));
        }
        even = _mm512_add_epi16(even, _mm512_and_si512(sum, bytes));
        odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(sum));
    }
    let (even, odd) = (both_columns(even), both_columns(odd));
    // 0 to 7 and 16 to 23, then 8 to 15 and 24 to 31.
    let low = _mm256_unpacklo_epi16(even, odd);
    let high = _mm256_unpackhi_epi16(even, odd);
    [
        _mm256_permute2x128_si256::<0x20>(low, high),
        _mm256_permute2x128_si256::<0x31>(low, high),
    ]
}

/// What is in the lower half, for even columns, and the upper, for odd ones.
#[target_feature(enable = "avx512f,avx512bw")]
fn both_columns(sums: __m512i) -> __m256i {
    _mm256_add_epi16(
        _mm512_castsi512_si256(sums),
        _mm512_extracti64x4_epi64::<1>(sums),
    )
}

/// See [`super::Dot`].
///
/// # Safety
/// The processor has AVX-512F and AVX-512BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn dot(query: &[i16], bytes: &[u8]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); 2];
    let (queries, query_rest) = query.as_chunks::<64>();
    let (vectors, vector_rest) = bytes.as_chunks::<64>();
    for (query, bytes) in queries.iter().zip(vectors) {
        // SAFETY: 64 values of two bytes, and 64 of one.
        let (query, bytes) = unsafe {
            let query = query.as_ptr().cast::<__m512i>();
            let bytes = bytes.as_ptr().cast::<__m256i>();
            (
                [_mm512_loadu_si512(query), _mm512_loadu_si512(query.add(1))],
                [_mm256_loadu_si256(bytes), _mm256_loadu_si256(bytes.add(1))],
            )
        };
        for ((sum, query), bytes) in sums.iter_mut().zip(query).zip(bytes) {
            let products = _mm512_madd_epi16(query, _mm512_cvtepi8_epi16(bytes));
            *sum = _mm512_add_epi32(*sum, products);
        }
    }
    let [first, second] = sums;
    let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
    sum + super::portable::dot(query_rest, vector_rest)
}

/// The first 64 bytes. There are as many.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8]) -> __m512i {
    match bytes.first_chunk::<64>() {
        // SAFETY: 64 bytes, wherever they are.
        Some(bytes) => unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) },
        None => _mm512_setzero_si512(),
    }
}
