//! The smallest parts a passage is made of: sentences, rows and lines, and
//! parts of those that are too long.

use unicode_segmentation::GraphemeCursor;

use crate::document::{Block, BlockKind};
use crate::sentence::sentences;
use crate::text;

use super::Measure;

/// A part of the text that is not cut further. It has at most the tokens of a
/// passage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) weight: usize,
    pub(super) border: Border,
    pub(super) role: Role,
}

/// How good it is to cut before a piece, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Border {
    /// Inside a sentence.
    Word,
    Sentence,
    /// Before a row of a list or table, or a line of code.
    Row,
    Paragraph,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Stays with what follows.
    Heading,
    /// A whole sentence, which the next passage may repeat.
    Sentence,
    Other,
}

/// Adds the pieces of one block.
pub(super) fn push_block(measure: &Measure<'_>, block: Block, pieces: &mut Vec<Piece>) {
    let (border, role) = match block.kind {
        BlockKind::Heading(_) => (Border::Paragraph, Role::Heading),
        BlockKind::Paragraph => (Border::Paragraph, Role::Sentence),
        BlockKind::ListItem => (Border::Row, Role::Sentence),
        BlockKind::TableRow => (Border::Row, Role::Other),
        BlockKind::Code | BlockKind::CodeItem => {
            push_lines(measure, block, pieces);
            return;
        }
    };
    if role != Role::Sentence {
        push(measure, block.start, block.end, border, role, pieces);
        return;
    }
    let mut border = border;
    for (start, end) in sentences(measure.slice(block.start, block.end)) {
        let (start, end) = (block.start + start, block.start + end);
        push(measure, start, end, border, role, pieces);
        border = Border::Sentence;
    }
}

fn push_lines(measure: &Measure<'_>, block: Block, pieces: &mut Vec<Piece>) {
    let mut border = Border::Paragraph;
    for (start, line) in text::lines(measure.slice(block.start, block.end)) {
        let end = block.start + start + line.trim_end().len();
        if text::is_blank(line) {
            // Between two items that were not set apart as blocks.
            border = Border::Paragraph;
            continue;
        }
        push(
            measure,
            block.start + start,
            end,
            border,
            Role::Other,
            pieces,
        );
        border = Border::Row;
    }
}

/// Adds one sentence or line, in parts if it is too long: lines, then words,
/// then runs of letters.
fn push(
    measure: &Measure<'_>,
    start: usize,
    end: usize,
    border: Border,
    role: Role,
    pieces: &mut Vec<Piece>,
) {
    let weight = measure.weigh(start, end);
    if weight <= measure.tokens_max {
        pieces.push(Piece {
            start,
            end,
            weight,
            border,
            role,
        });
        return;
    }
    let mut border = border;
    for (line_start, line) in text::lines(measure.slice(start, end)) {
        if text::is_blank(line) {
            continue;
        }
        let line_start = start + line_start;
        push_line(measure, line_start, line, border, pieces);
        border = Border::Row;
    }
}

fn push_line(
    measure: &Measure<'_>,
    at: usize,
    line: &str,
    border: Border,
    pieces: &mut Vec<Piece>,
) {
    let start = at + (line.len() - line.trim_start().len());
    let end = at + line.trim_end().len();
    let weight = measure.weigh(start, end);
    if weight <= measure.tokens_max {
        pieces.push(Piece {
            start,
            end,
            weight,
            border,
            role: Role::Other,
        });
        return;
    }
    let mut border = border;
    for word in line.split_whitespace() {
        let start = at + (word.as_ptr().addr() - line.as_ptr().addr());
        push_word(measure, start, start + word.len(), border, pieces);
        border = Border::Word;
    }
}

/// Adds a word, halved until it fits. A character is not halved.
fn push_word(
    measure: &Measure<'_>,
    start: usize,
    end: usize,
    border: Border,
    pieces: &mut Vec<Piece>,
) {
    let mut border = border;
    let mut parts = vec![(start, end)];
    while let Some((start, end)) = parts.pop() {
        let weight = measure.weigh(start, end);
        if weight > measure.tokens_max
            && let Some(middle) = middle(measure.text, start, end)
        {
            parts.push((middle, end));
            parts.push((start, middle));
            continue;
        }
        pieces.push(Piece {
            start,
            end,
            weight,
            border,
            role: Role::Other,
        });
        border = Border::Word;
    }
}

/// Most bytes looked through for a border between what shows as one
/// character: the longest emoji have 35. With more it is made to disturb.
const GRAPHEME_BYTES_MAX: usize = 128;

/// About the middle, between two characters as people see them; between two
/// code points if those are endless. None inside the only one.
fn middle(text: &str, start: usize, end: usize) -> Option<usize> {
    let half = start + (end - start) / 2;
    let is_inside = |at: &usize| start < *at && *at < end;
    let near = half.saturating_add(GRAPHEME_BYTES_MAX).min(end);
    let border = (half..near)
        .filter(|at| text.is_char_boundary(*at))
        .find(|at| is_grapheme_border(text, *at));
    border.filter(is_inside).or_else(|| {
        let after = (half..end).find(|at| text.is_char_boundary(*at));
        let before = || (start..half).rev().find(|at| text.is_char_boundary(*at));
        after
            .filter(is_inside)
            .or_else(|| before().filter(is_inside))
    })
}

fn is_grapheme_border(text: &str, at: usize) -> bool {
    let window_start = at.saturating_sub(GRAPHEME_BYTES_MAX);
    let window_start = (window_start..=at).find(|at| text.is_char_boundary(*at));
    let window_end = at.saturating_add(GRAPHEME_BYTES_MAX).min(text.len());
    let window_end = (at..=window_end)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let (Some(window_start), Some(window_end)) = (window_start, window_end) else {
        return true;
    };
    let window = text.get(window_start..window_end).unwrap_or_default();
    let mut cursor = GraphemeCursor::new(at - window_start, window.len(), true);
    cursor.is_boundary(window, 0).unwrap_or(true)
}
