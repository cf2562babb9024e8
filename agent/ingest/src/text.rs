//! Plain text: blank lines set paragraphs apart, and some lines are headings.

use crate::document::{Block, BlockKind};

/// Longest line taken for a heading by its looks, in bytes.
const HEADING_BYTES_MAX: usize = 80;

/// Shortest line of punctuation that underlines a heading.
const UNDERLINE_MIN: usize = 3;

/// A line in capitals is a heading from so many letters on.
const CAPITALS_MIN: usize = 4;

/// Words that make a heading of a short line when a number follows, with
/// their level.
const NUMBERED_PARTS: [(&str, u8); 8] = [
    ("volume", 1),
    ("book", 1),
    ("part", 1),
    ("act", 1),
    ("chapter", 2),
    ("appendix", 2),
    ("section", 3),
    ("scene", 3),
];

/// The blocks of a plain text.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for paragraph in paragraphs(text) {
        push_paragraph(text, paragraph, &mut blocks);
    }
    blocks
}

/// The title a plain text gives itself: a heading it begins with.
pub(crate) fn title<'a>(text: &'a str, blocks: &[Block]) -> Option<&'a str> {
    let first = blocks.first()?;
    let BlockKind::Heading(_) = first.kind else {
        return None;
    };
    let heading = text.get(first.start..first.end)?;
    heading.lines().find(|line| !is_underline(line))
}

/// From the first character that shows to the last, of lines without a blank
/// one between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paragraph {
    /// Where its first line begins, indentation included.
    pub(crate) line_start: usize,
    pub(crate) end: usize,
}

/// The paragraphs of a text in order.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph> {
    let mut lines = lines(text).peekable();
    std::iter::from_fn(move || {
        let (line_start, first) = lines.find(|(_, line)| !is_blank(line))?;
        let mut end = line_start + first.trim_end().len();
        while let Some((start, line)) = lines.next_if(|(_, line)| !is_blank(line)) {
            end = start + line.trim_end().len();
        }
        Some(Paragraph { line_start, end })
    })
}

/// The lines of a text without their ends, and where each begins.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split('\n').map(move |line| {
        let start = at;
        at += line.len() + 1;
        (start, line)
    })
}

pub(crate) fn is_blank(line: &str) -> bool {
    line.trim_start().is_empty()
}

fn push_paragraph(text: &str, paragraph: Paragraph, blocks: &mut Vec<Block>) {
    let Some(content) = text.get(paragraph.line_start..paragraph.end) else {
        return;
    };
    let mut start = paragraph.end - content.trim_start().len();
    let end = paragraph.end;
    if let Some((level, length)) = heading(content.trim_start()) {
        let kind = BlockKind::Heading(level);
        let heading_end = start + length;
        blocks.push(Block {
            kind,
            start,
            end: heading_end,
        });
        let rest = text.get(heading_end..end).unwrap_or_default();
        start = end - rest.trim_start().len();
    }
    if start < end {
        let kind = BlockKind::Paragraph;
        blocks.push(Block { kind, start, end });
    }
}

/// The level and length of the heading a paragraph begins with.
fn heading(paragraph: &str) -> Option<(u8, usize)> {
    let mut lines = lines(paragraph);
    let (_, first) = lines.next()?;
    if first.len() > HEADING_BYTES_MAX {
        return None;
    }
    let Some((second_start, second)) = lines.next() else {
        return Some((heading_line(first.trim_end())?, paragraph.len()));
    };
    let second = second.trim();
    if let Some(level) = underline_level(second)
        && !is_underline(first)
        && underlines(second, first)
    {
        return Some((level, second_start + second.len()));
    }
    // A title between two lines of `=`.
    let (third_start, third) = lines.next()?;
    let third = third.trim();
    let is_framed = is_underline(first) && first.trim() == third && !second.is_empty();
    (is_framed && underlines(third, second)).then_some((1, third_start + third.len()))
}

/// Whether a line is nothing but one repeated mark.
fn is_underline(line: &str) -> bool {
    underline_level(line.trim()).is_some()
}

/// Whether the line of marks is about as long as the title above it. In a
/// table it is longer, under a list shorter.
fn underlines(marks: &str, title: &str) -> bool {
    let title = title.trim().chars().count();
    marks.len() + 2 >= title && marks.len() <= title + title / 2 + 2
}

fn underline_level(line: &str) -> Option<u8> {
    let mark = *line.as_bytes().first()?;
    let level = match mark {
        b'=' => 1,
        b'-' => 2,
        b'~' => 3,
        b'^' | b'"' | b'*' | b'+' | b'#' => 4,
        _ => return None,
    };
    let is_same = line.bytes().all(|byte| byte == mark);
    (is_same && line.len() >= UNDERLINE_MIN).then_some(level)
}

/// The level of a line that stands alone and looks like a heading.
pub(crate) fn heading_line(line: &str) -> Option<u8> {
    if line.ends_with([':', ';', ',', '!', '?']) {
        return None;
    }
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if let Some(second) = words.next() {
        let part = NUMBERED_PARTS
            .iter()
            .find(|(part, _)| first.eq_ignore_ascii_case(part));
        if let Some((_, level)) = part
            && is_number(second.trim_end_matches(['.', ':']))
        {
            return Some(*level);
        }
        if let Some(depth) = section_number(first)
            && second.starts_with(char::is_uppercase)
            && !line.ends_with('.')
        {
            return Some(depth.saturating_add(1).min(6));
        }
    }
    is_capitals(line).then_some(2)
}

/// How many numbers `3.2.` has; none if it is not made of numbers and dots.
fn section_number(word: &str) -> Option<u8> {
    let numbers = word.strip_suffix('.').unwrap_or(word);
    let is_short = |part: &str| (1..=3).contains(&part.len());
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = numbers.split('.');
    if !parts.all(|part| is_short(part) && is_digits(part)) {
        return None;
    }
    u8::try_from(numbers.split('.').count()).ok()
}

/// A decimal or Roman number, or one capital letter.
fn is_number(word: &str) -> bool {
    let is_roman = |byte: u8| b"ivxlcdmIVXLCDM".contains(&byte);
    let is_letter = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    !word.is_empty()
        && (word.bytes().all(|byte| byte.is_ascii_digit()) || word.bytes().all(is_roman))
        || is_letter
}

fn is_capitals(line: &str) -> bool {
    let letters = line.chars().filter(|letter| letter.is_alphabetic());
    letters.clone().all(char::is_uppercase) && letters.count() >= CAPITALS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(BlockKind, &str)> {
        let block = |block: Block| (block.kind, &text[block.start..block.end]);
        blocks(text).into_iter().map(block).collect()
    }

    #[test]
    fn blank_lines_set_paragraphs_apart() {
        use BlockKind::Paragraph;
        assert_eq!(
            read("\n  One,\n  still one. \n \t \nTwo.\n\n\n"),
            [(Paragraph, "One,\n  still one."), (Paragraph, "Two.")]
        );
        assert_eq!(read(" \n\n\t"), []);
    }

    #[test]
    fn underlined_titles_are_headings() {
        use BlockKind::{Heading, Paragraph};
        let text = "=====\nGuide\n=====\n\nStart\n-----\nIt begins.\n\nDeep\n~~~~\n";
        assert_eq!(
            read(text),
            [
                (Heading(1), "=====\nGuide\n====="),
                (Heading(2), "Start\n-----"),
                (Paragraph, "It begins."),
                (Heading(3), "Deep\n~~~~"),
            ]
        );
        assert_eq!(title(text, &blocks(text)), Some("Guide"));
    }

    #[test]
    fn lines_alone_are_headings_by_their_looks() {
        let heading = |line: &str| match blocks(line).first()?.kind {
            BlockKind::Heading(level) => Some(level),
            BlockKind::Paragraph
            | BlockKind::ListItem
            | BlockKind::Code
            | BlockKind::CodeItem
            | BlockKind::TableRow => None,
        };
        assert_eq!(heading("CHAPTER IX. A Storm"), Some(2));
        assert_eq!(heading("Part Two"), None, "no number");
        assert_eq!(heading("Appendix B: Tables"), Some(2));
        assert_eq!(heading("3.2.  Terminology"), Some(3));
        assert_eq!(heading("1. Buy milk and bread."), None, "a sentence");
        assert_eq!(heading("THE ADVENTURE OF THE RED CIRCLE"), Some(2));
        assert_eq!(heading("NASA"), Some(2));
        assert_eq!(heading("It was a dark night"), None);
        assert_eq!(heading("STOP!"), None);
        assert_eq!(heading("漢字"), None, "no case, no capitals");
    }

    #[test]
    fn lines_under_a_longer_rule_are_no_heading() {
        let table = "a b\n-----------------------------\n1 2";
        assert_eq!(read(table), [(BlockKind::Paragraph, table)]);
    }
}
