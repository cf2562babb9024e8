//! Lines put together to paragraphs, points of lists and headings.

use std::collections::HashMap;

use crate::document::{BlockKind, Draft};
use crate::error::Error;
use crate::sentence::begins_list_item;
use crate::text::heading_line;

use super::line::Line;
use super::running_head;

/// Letters so much larger than most are a heading's.
const HEADING_MIN: f64 = 1.15;

/// A longer text in large letters is no heading, in bytes.
const HEADING_BYTES_MAX: usize = 200;

/// Lines so much further apart than usual are of two paragraphs.
const APART_MIN: f64 = 1.25;

/// A first line is indented by so much at least, in parts of the size.
const INDENT_MIN: f64 = 0.8;

/// Letters of sizes that differ by less belong together.
const SAME_SIZE: f64 = 0.12;

/// Adds the text of all pages.
pub(super) fn add(lines: Vec<Line>, draft: &mut Draft) -> Result<(), Error> {
    let lines = running_head::remove(lines);
    let sizes = Sizes::of(&lines);
    let usual = usual_distance(&lines);
    let mut lines = lines.into_iter();
    let Some(mut last) = lines.next() else {
        return Ok(());
    };
    let mut paragraph = Paragraph::of(&last);
    for line in lines {
        if goes_on(&last, &line, &paragraph, usual) {
            paragraph.push(&line.text);
        } else {
            paragraph.add(&sizes, draft)?;
            paragraph = Paragraph::of(&line);
        }
        last = line;
    }
    paragraph.add(&sizes, draft)
}

/// Lines that belong together.
struct Paragraph {
    text: String,
    lines: usize,
    size: f64,
}

impl Paragraph {
    fn of(line: &Line) -> Self {
        Self {
            text: line.text.clone(),
            lines: 1,
            size: line.size,
        }
    }

    /// Adds a line, mending a word that was divided at its end.
    fn push(&mut self, line: &str) {
        self.lines += 1;
        let first = line.chars().next();
        let mut ends = self.text.chars().rev();
        let (last, before) = (ends.next(), ends.next());
        let is_divided = matches!(last, Some('-' | '\u{2010}' | '\u{ad}'))
            && before.is_some_and(char::is_alphabetic)
            && first.is_some_and(char::is_lowercase);
        if is_divided {
            self.text.pop();
        } else if !(last.is_some_and(needs_no_space) && first.is_some_and(needs_no_space)) {
            self.text.push(' ');
        }
        self.text.push_str(line);
    }

    fn add(&self, sizes: &Sizes, draft: &mut Draft) -> Result<(), Error> {
        let text = without_leaders(&self.text.replace('\u{ad}', ""));
        let heading = if text.len() > HEADING_BYTES_MAX {
            None
        } else {
            let by_looks = || (self.lines == 1).then(|| heading_line(&text)).flatten();
            sizes.level(self.size).or_else(by_looks)
        };
        let kind = match heading {
            Some(level) if text.chars().any(char::is_alphabetic) => BlockKind::Heading(level),
            _ if begins_list_item(&text) => BlockKind::ListItem,
            _ => BlockKind::Paragraph,
        };
        draft.add(kind, &text)
    }
}

/// Dots that lead from a heading to its page number in a table of contents
/// become one mark.
fn without_leaders(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('.') {
        let (before, dots) = rest.split_at(at);
        let after = dots.trim_start_matches(['.', ' ']);
        let run = dots.len() - after.len();
        let marks = dots.get(..run).unwrap_or(dots);
        short.push_str(before);
        if marks.matches('.').count() >= LEADER_MIN {
            short.truncate(short.trim_end().len());
            short.push_str(" … ");
        } else {
            short.push_str(marks);
        }
        rest = after;
    }
    short.push_str(rest);
    short
}

/// Fewer dots are an ellipsis.
const LEADER_MIN: usize = 5;

/// Whether a line belongs to the paragraph that `last` is the last line of.
fn goes_on(last: &Line, line: &Line, paragraph: &Paragraph, usual: f64) -> bool {
    let is_same_size = (line.size - paragraph.size).abs() < SAME_SIZE * paragraph.size;
    if !last.goes_like(line) {
        return false;
    }
    let offset = last.offset_to(line);
    let is_beside = last.page == line.page && offset.y.abs() < 0.3 * last.size && offset.x > 0.0;
    if is_beside {
        return true;
    }
    if !is_same_size || begins_list_item(&line.text) {
        return false;
    }
    let ends = ends_sentence(&last.text);
    let is_below = last.page == line.page && offset.y > 0.0;
    if !is_below {
        // The next column or page goes on with the sentence.
        return !ends && line.text.starts_with(char::is_lowercase);
    }
    let is_near = offset.y < APART_MIN * usual * last.size;
    let is_indented = offset.x > INDENT_MIN * line.size;
    is_near && !(is_indented && ends)
}

fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '\'', '”', '’', ')', ']', '»']);
    text.ends_with(['.', '!', '?', ':', '。', '！', '？'])
}

/// Chinese and Japanese characters stand without spaces, at a line's end too.
fn needs_no_space(letter: char) -> bool {
    matches!(letter, '\u{3000}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}')
}

/// How far lines usually are apart, in parts of their size.
fn usual_distance(lines: &[Line]) -> f64 {
    let mut distances: Vec<f64> = lines
        .windows(2)
        .filter_map(|pair| {
            let [last, line] = pair else { return None };
            let distance = last.offset_to(line).y / last.size;
            let is_next = last.page == line.page && last.goes_like(line);
            (is_next && (0.8..3.0).contains(&distance)).then_some(distance)
        })
        .collect();
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return 1.2;
    }
    *distances.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The sizes of letters in a document.
struct Sizes {
    /// What most of the text has.
    body: f64,
    /// Larger ones, the largest first.
    larger: Vec<f64>,
}

impl Sizes {
    fn of(lines: &[Line]) -> Self {
        let mut letters: HashMap<u64, usize> = HashMap::new();
        for line in lines {
            *letters.entry(half_points(line.size)).or_default() += line.text.len();
        }
        let most = letters.iter().max_by_key(|(size, count)| (**count, **size));
        let body = most.map_or(0, |(size, _)| *size);
        let points = |size: u64| f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / 2.0;
        let mut larger: Vec<u64> = letters.into_keys().filter(|size| *size > body).collect();
        larger.sort_unstable_by(|a, b| b.cmp(a));
        let is_larger = |size: &f64| *size >= HEADING_MIN * points(body);
        Self {
            body: points(body),
            larger: larger.into_iter().map(points).filter(is_larger).collect(),
        }
    }

    /// The level of a heading in letters of this size; none if they are not
    /// large.
    fn level(&self, size: f64) -> Option<u8> {
        if size < HEADING_MIN * self.body {
            return None;
        }
        let rank = self
            .larger
            .iter()
            .position(|larger| size >= larger - 0.25)?;
        u8::try_from(rank + 1).ok().map(|level| level.min(6))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the size is positive, and the conversion stops at the largest number"
)]
fn half_points(size: f64) -> u64 {
    (size * 2.0).round() as u64
}
