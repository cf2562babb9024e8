//! Without any special instructions.

use super::{Block, Bounds, Estimates};
use crate::vector::scan::code::BLOCK;
use crate::vector::scan::query::{Query, Table};

/// See [`super::Score`]. Safe on every processor.
pub(super) fn score(block: Block<'_>, query: &Query, bounds: Bounds, out: &mut Estimates) -> u32 {
    let mut sums = [0; BLOCK];
    for (column, [low, high]) in block.columns.iter().zip(query.tables()) {
        for (sum, byte) in sums.iter_mut().zip(column) {
            *sum += entry(low, *byte & 15) + entry(high, *byte >> 4);
        }
    }
    let mut above = 0;
    let terms = block.factors.as_chunks().0.iter();
    let terms = terms.zip(block.addends.as_chunks().0);
    for (lane, ((out, sum), (factor, addend))) in out.iter_mut().zip(sums).zip(terms).enumerate() {
        let product = f32::from(sum) * query.scale + query.offset;
        let addend = f32::from_le_bytes(*addend) * query.weight + bounds.centre;
        *out = product * f32::from_le_bytes(*factor) + addend;
        above |= u32::from(*out > bounds.threshold || out.is_nan()) << lane;
    }
    above
}

fn entry(table: &Table, half: u8) -> u16 {
    u16::from(table.get(usize::from(half)).copied().unwrap_or_default())
}

/// See [`super::Dot`]. Safe on every processor.
pub(super) fn dot(query: &[i16], bytes: &[u8]) -> i32 {
    let pairs = query.iter().zip(bytes);
    pairs
        .map(|(a, b)| i32::from(*a) * i32::from(b.cast_signed()))
        .sum()
}
