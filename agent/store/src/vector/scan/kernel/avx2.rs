//! x86-64 with AVX2 (2013 and later): 32 look-ups an instruction.

#![expect(unsafe_code, reason = "instructions of one kind of processor")]

use std::arch::x86_64::{
    __m128i, __m256i, _CMP_NLE_UQ, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128,
    _mm_shuffle_epi32, _mm256_add_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_extracti128_si256,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_permute2x128_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

use super::{Block, Bounds, Estimates};
use crate::vector::scan::code::BLOCK;
use crate::vector::scan::query::{Query, Table};

/// Columns whose entries are added up as bytes: 4 × 2 × 31 fits.
const COLUMNS: usize = 4;

/// See [`super::Score`].
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn score(
    block: Block<'_>,
    query: &Query,
    bounds: Bounds,
    out: &mut Estimates,
) -> u32 {
    let (scale, offset) = (_mm256_set1_ps(query.scale), _mm256_set1_ps(query.offset));
    let weight = _mm256_set1_ps(query.weight);
    let (centre, threshold) = (
        _mm256_set1_ps(bounds.centre),
        _mm256_set1_ps(bounds.threshold),
    );
    let [first, second] = sums(block.columns, query.tables());
    let eights = [
        _mm256_castsi256_si128(first),
        _mm256_extracti128_si256::<1>(first),
        _mm256_castsi256_si128(second),
        _mm256_extracti128_si256::<1>(second),
    ];
    let mut above = 0;
    for (at, sums) in eights.into_iter().enumerate() {
        let sums = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(sums));
        let product = _mm256_add_ps(_mm256_mul_ps(sums, scale), offset);
        // SAFETY: 4 × 8 factors and addends of four bytes, and as many estimates.
        unsafe {
            let factor = _mm256_loadu_ps(block.factors.as_ptr().cast::<f32>().add(8 * at));
            let addend = _mm256_loadu_ps(block.addends.as_ptr().cast::<f32>().add(8 * at));
            let addend = _mm256_add_ps(_mm256_mul_ps(addend, weight), centre);
            let estimate = _mm256_add_ps(_mm256_mul_ps(product, factor), addend);
            _mm256_storeu_ps(out.as_mut_ptr().add(8 * at), estimate);
            let greater = _mm256_cmp_ps::<_CMP_NLE_UQ>(estimate, threshold);
            above |= _mm256_movemask_ps(greater).cast_unsigned() << (8 * at);
        }
    }
    above
}

/// The sum of entries of each vector, as 16 bits, in order.
#[target_feature(enable = "avx2")]
fn sums(columns: &[[u8; BLOCK]], tables: &[[Table; 2]]) -> [__m256i; 2] {
    let halves = _mm256_set1_epi8(15);
    let bytes = _mm256_set1_epi16(255);
    // Vectors 0, 2, … 30 and 1, 3, … 31.
    let mut even = _mm256_setzero_si256();
    let mut odd = _mm256_setzero_si256();
    let columns = columns.as_chunks::<COLUMNS>().0;
    let tables = tables.as_chunks::<COLUMNS>().0;
    for (columns, tables) in columns.iter().zip(tables) {
        let mut sum = _mm256_setzero_si256();
        for (column, [low, high]) in columns.iter().zip(tables) {
            let codes = load(column);
            let low_half = _mm256_and_si256(codes, halves);
            let high_half = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), halves);
            sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(twice(low), low_half));
            sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(twice(high), high_half));
        }
        even = _mm256_add_epi16(even, _mm256_and_si256(sum, bytes));
        odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(sum));
    }
    // 0 to 7 and 16 to 23, then 8 to 15 and 24 to 31.
    let low = _mm256_unpacklo_epi16(even, odd);
    let high = _mm256_unpackhi_epi16(even, odd);
    [
        _mm256_permute2x128_si256::<0x20>(low, high),
        _mm256_permute2x128_si256::<0x31>(low, high),
    ]
}

/// See [`super::Dot`].
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot(query: &[i16], bytes: &[u8]) -> i32 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let (queries, query_rest) = query.as_chunks::<32>();
    let (vectors, vector_rest) = bytes.as_chunks::<32>();
    for (query, bytes) in queries.iter().zip(vectors) {
        // SAFETY: 32 values of two bytes, and 32 of one.
        let (query, bytes) = unsafe {
            let query = query.as_ptr().cast::<__m256i>();
            let bytes = bytes.as_ptr().cast::<__m128i>();
            (
                [_mm256_loadu_si256(query), _mm256_loadu_si256(query.add(1))],
                [_mm_loadu_si128(bytes), _mm_loadu_si128(bytes.add(1))],
            )
        };
        for ((sum, query), bytes) in sums.iter_mut().zip(query).zip(bytes) {
            let products = _mm256_madd_epi16(query, _mm256_cvtepi8_epi16(bytes));
            *sum = _mm256_add_epi32(*sum, products);
        }
    }
    let [first, second] = sums;
    let eight = _mm256_add_epi32(first, second);
    let four = _mm_add_epi32(
        _mm256_castsi256_si128(eight),
        _mm256_extracti128_si256::<1>(eight),
    );
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
    _mm_cvtsi128_si32(one) + super::portable::dot(query_rest, vector_rest)
}

#[target_feature(enable = "avx2")]
fn load(column: &[u8; BLOCK]) -> __m256i {
    // SAFETY: 32 bytes, wherever they are.
    unsafe { _mm256_loadu_si256(column.as_ptr().cast::<__m256i>()) }
}

/// A table in both halves of a register: a look-up does not reach across.
#[target_feature(enable = "avx2")]
fn twice(table: &Table) -> __m256i {
    // SAFETY: 16 bytes, wherever they are.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast::<__m128i>()) })
}
