//! ARM with NEON, which every 64-bit ARM has: 16 look-ups an instruction.

#![expect(unsafe_code, reason = "instructions of one kind of processor")]

use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, vaddq_f32, vaddq_s32, vaddq_u8, vaddvq_s32, vaddvq_u32, vaddw_high_u8,
    vaddw_u8, vandq_u8, vandq_u32, vcleq_f32, vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8,
    vdupq_n_u16, vget_low_s16, vget_low_u8, vget_low_u16, vld1_s8, vld1q_f32, vld1q_s16, vld1q_u8,
    vld1q_u32, vmlal_high_s16, vmlal_s16, vmovl_high_u16, vmovl_s8, vmovl_u16, vmulq_f32,
    vmvnq_u32, vqtbl1q_u8, vshrq_n_u8, vst1q_f32,
};

use super::{Block, Bounds, Estimates};
use crate::vector::scan::code::BLOCK;
use crate::vector::scan::query::{Query, Table};

/// Columns whose entries are added up as bytes: 4 × 2 × 31 fits.
const COLUMNS: usize = 4;

/// See [`super::Score`].
///
/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn score(
    block: Block<'_>,
    query: &Query,
    bounds: Bounds,
    out: &mut Estimates,
) -> u32 {
    let (scale, offset) = (vdupq_n_f32(query.scale), vdupq_n_f32(query.offset));
    let (centre, threshold) = (vdupq_n_f32(bounds.centre), vdupq_n_f32(bounds.threshold));
    let weight = vdupq_n_f32(query.weight);
    let mut above = 0;
    for (at, eight) in sums(block.columns, query.tables()).into_iter().enumerate() {
        let fours = [vmovl_u16(vget_low_u16(eight)), vmovl_high_u16(eight)];
        for (half, sums) in fours.into_iter().enumerate() {
            let from = 8 * at + 4 * half;
            let product = vaddq_f32(vmulq_f32(vcvtq_f32_u32(sums), scale), offset);
            // SAFETY: 8 × 4 factors and addends of four bytes, as many estimates, four bits.
            unsafe {
                let factor = vld1q_f32(block.factors.as_ptr().cast::<f32>().add(from));
                let addend = vld1q_f32(block.addends.as_ptr().cast::<f32>().add(from));
                let addend = vaddq_f32(vmulq_f32(addend, weight), centre);
                let estimate = vaddq_f32(vmulq_f32(product, factor), addend);
                vst1q_f32(out.as_mut_ptr().add(from), estimate);
                // Not at most the threshold: so is what is no number.
                let above_it = vmvnq_u32(vcleq_f32(estimate, threshold));
                let bits = vandq_u32(above_it, vld1q_u32([1, 2, 4, 8].as_ptr()));
                above |= vaddvq_u32(bits) << from;
            }
        }
    }
    above
}

/// The sum of entries of each vector, as 16 bits, in order.
#[target_feature(enable = "neon")]
fn sums(columns: &[[u8; BLOCK]], tables: &[[Table; 2]]) -> [uint16x8_t; 4] {
    let mut sums = [vdupq_n_u16(0); 4];
    let columns = columns.as_chunks::<COLUMNS>().0;
    let tables = tables.as_chunks::<COLUMNS>().0;
    for (columns, tables) in columns.iter().zip(tables) {
        let mut bytes = [vdupq_n_u8(0); 2];
        for (column, [low, high]) in columns.iter().zip(tables) {
            let (low, high) = (load(low), load(high));
            for (sum, codes) in bytes.iter_mut().zip(column.as_chunks().0) {
                let codes = load(codes);
                let low_half = vandq_u8(codes, vdupq_n_u8(15));
                let high_half = vshrq_n_u8::<4>(codes);
                *sum = vaddq_u8(*sum, vqtbl1q_u8(low, low_half));
                *sum = vaddq_u8(*sum, vqtbl1q_u8(high, high_half));
            }
        }
        for (sums, bytes) in sums.as_chunks_mut().0.iter_mut().zip(bytes) {
            let [low, high] = sums;
            *low = vaddw_u8(*low, vget_low_u8(bytes));
            *high = vaddw_high_u8(*high, bytes);
        }
    }
    sums
}

/// See [`super::Dot`].
///
/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn dot(query: &[i16], bytes: &[u8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 2];
    let (queries, query_rest) = query.as_chunks::<8>();
    let (vectors, vector_rest) = bytes.as_chunks::<8>();
    for (query, bytes) in queries.iter().zip(vectors) {
        // SAFETY: eight values of two bytes, and eight of one.
        let (query, bytes) = unsafe {
            (
                vld1q_s16(query.as_ptr()),
                vmovl_s8(vld1_s8(bytes.as_ptr().cast())),
            )
        };
        let [first, second] = &mut sums;
        *first = vmlal_s16(*first, vget_low_s16(query), vget_low_s16(bytes));
        *second = vmlal_high_s16(*second, query, bytes);
    }
    let [first, second] = sums;
    vaddvq_s32(vaddq_s32(first, second)) + super::portable::dot(query_rest, vector_rest)
}

#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: 16 bytes, wherever they are.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}
