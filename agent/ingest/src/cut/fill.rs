//! Fills passages with the pieces of a section.

use std::ops::RangeInclusive;

use super::Measure;
use super::piece::{Border, Piece, Role};

/// Calls `emit` with start and end of each passage, in order.
pub(super) fn fill(measure: &Measure<'_>, pieces: &[Piece], mut emit: impl FnMut(usize, usize)) {
    let mut first = 0;
    while first < pieces.len() {
        let wanted = choose_end(measure, pieces, first);
        let end = shrink(measure, pieces, first, wanted);
        let (Some(head), Some(tail)) = (pieces.get(first), pieces.get(end - 1)) else {
            return;
        };
        emit(head.start, tail.end);
        if end == pieces.len() {
            return;
        }
        first = end - overlap(measure, pieces, first, end);
    }
}

/// The piece before which the passage from `first` on ends, by the sum of the
/// pieces' weights. At least one after `first`.
fn choose_end(measure: &Measure<'_>, pieces: &[Piece], first: usize) -> usize {
    let mut weight = 0;
    let mut room = measure.tokens_max;
    let mut full = first;
    while let Some(piece) = pieces.get(full)
        && piece.weight <= room
    {
        room -= piece.weight;
        weight += piece.weight;
        full += 1;
    }
    if full == pieces.len() {
        return full;
    }
    let max = measure.tokens_max;
    let total = weight + rest_up_to(pieces, full, max);
    let quarter = max / QUARTER;
    let paragraph = |wanted| best_border(pieces, first, wanted, Border::Paragraph);
    let any = |wanted| best_border(pieces, first, wanted, Border::Word);
    // If the rest is little: two passages of about one size, the second with
    // room for what it repeats.
    let is_last_cut = 2 * total < 3 * max;
    let end = if is_last_cut {
        let leaves_room = total.saturating_sub(max - quarter);
        paragraph(leaves_room.max(quarter)..=max.min(total - quarter))
            .or_else(|| any(total / 2..=2 * total / 3))
    } else {
        None
    };
    end.or_else(|| paragraph(quarter..=max))
        .or_else(|| any(max / 2..=max))
        .unwrap_or(full)
        .max(first + 1)
}

/// A passage that ends with a paragraph is at least a quarter full; so is one
/// after it.
const QUARTER: usize = 4;

/// The weight of the pieces from `first` on, or `limit` if there is more.
fn rest_up_to(pieces: &[Piece], first: usize, limit: usize) -> usize {
    let mut weight = 0;
    for piece in pieces.get(first..).unwrap_or_default() {
        weight += piece.weight;
        if weight >= limit {
            return limit;
        }
    }
    weight
}

/// The last of the best borders, `worst` or better, that leave a weight in this
/// range before them, and no heading at the end.
fn best_border(
    pieces: &[Piece],
    first: usize,
    wanted: RangeInclusive<usize>,
    worst: Border,
) -> Option<usize> {
    let mut best: Option<(Border, usize)> = None;
    let mut weight = 0;
    for (at, pair) in pieces.get(first..)?.windows(2).enumerate() {
        let [before, piece] = pair else {
            break;
        };
        weight += before.weight;
        if weight > *wanted.end() {
            break;
        }
        let is_possible = wanted.contains(&weight) && before.role != Role::Heading;
        let limit = best.map_or(worst, |(border, _)| border);
        if is_possible && piece.border >= limit {
            best = Some((piece.border, first + at + 1));
        }
    }
    best.map(|(_, at)| at)
}

/// Fewer pieces, as long as the passage itself weighs more than the sum of its
/// pieces led to expect. Each step takes away at least what is too much, and a
/// tenth, so there are few.
fn shrink(measure: &Measure<'_>, pieces: &[Piece], first: usize, wanted: usize) -> usize {
    let mut end = wanted;
    loop {
        let count = end - first;
        let (Some(head), Some(tail)) = (pieces.get(first), pieces.get(end - 1)) else {
            return end;
        };
        if count == 1 {
            return end;
        }
        let weight = measure.weigh(head.start, tail.end);
        if weight <= measure.tokens_max {
            return end;
        }
        let share = count.saturating_mul(measure.tokens_max) / weight;
        end = first + share.min(count - count.div_ceil(10)).max(1);
    }
}

/// How many of the last pieces the next passage repeats: whole sentences that
/// leave room for what comes new, and never the whole passage.
fn overlap(measure: &Measure<'_>, pieces: &[Piece], first: usize, end: usize) -> usize {
    let next = pieces.get(end).map_or(0, |piece| piece.weight);
    let mut room = measure
        .overlap_tokens
        .min(measure.tokens_max.saturating_sub(next));
    let repeated = pieces.get(first + 1..end).unwrap_or_default();
    let fitting = repeated.iter().rev().take_while(|piece| {
        let fits = piece.role == Role::Sentence && piece.weight <= room;
        room = room.saturating_sub(piece.weight);
        fits
    });
    fitting.count()
}
