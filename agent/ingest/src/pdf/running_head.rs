//! What stands above or below the text of every page: a title, a page number.

use std::collections::HashMap;

use super::line::Line;

/// So many lines at the top and at the bottom of a page may be such.
const LINES: usize = 2;

/// On so many pages it stands at least, and on one more for so many: it may
/// change with the chapter.
const PAGES_MIN: usize = 3;
const PAGES_FOR_ONE_MORE: usize = 200;

/// Longer lines are text, in bytes.
const LENGTH_MAX: usize = 120;

/// Takes out the first and last lines of pages that say the same, but for
/// numbers, on many pages.
pub(super) fn remove(lines: Vec<Line>) -> Vec<Line> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut pages = 0;
    let mut edges = Vec::new();
    for page in lines.chunk_by(|a, b| a.page == b.page) {
        pages += 1;
        for at in edge(page) {
            edges.extend(page.get(at).map(|line| (line.page, at)));
            if let Some(shape) = page.get(at).and_then(|line| shape(&line.text)) {
                *seen.entry(shape).or_default() += 1;
            }
        }
    }
    let enough = PAGES_MIN + pages / PAGES_FOR_ONE_MORE;
    let mut edges = edges.into_iter().peekable();
    let mut kept = Vec::with_capacity(lines.len());
    let mut page = usize::MAX;
    let mut place = 0;
    for line in lines {
        place = if line.page == page { place + 1 } else { 0 };
        page = line.page;
        let is_edge = edges.next_if_eq(&(page, place)).is_some();
        let shape = if is_edge { shape(&line.text) } else { None };
        let is_head = shape.is_some_and(|shape| seen.get(&shape).is_some_and(|on| *on >= enough));
        if !is_head {
            kept.push(line);
        }
    }
    kept
}

/// The places of the highest and lowest short lines of a page, in order.
fn edge(page: &[Line]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..page.len()).collect();
    let height = |at: &usize| page.get(*at).map_or(0.0, |line| line.start.y);
    places.sort_by(|a, b| height(a).total_cmp(&height(b)));
    let is_short = |at: &usize| {
        page.get(*at)
            .is_some_and(|line| line.text.len() <= LENGTH_MAX)
    };
    let count = places.len();
    let outer = |(rank, at): (usize, usize)| (rank < LINES || rank + LINES >= count).then_some(at);
    let mut edge: Vec<usize> = places.into_iter().enumerate().filter_map(outer).collect();
    edge.retain(is_short);
    edge.sort_unstable();
    edge
}

/// The line without its numbers, Roman ones that stand alone included. Marks
/// alone, as they stand in programs, have none.
fn shape(text: &str) -> Option<String> {
    let is_roman = |word: &str| word.bytes().all(|byte| b"ivxlcIVXLC".contains(&byte));
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|word| !is_roman(word))
        .collect();
    let mut shape = words.join(" ");
    shape.retain(|letter| !letter.is_ascii_digit());
    let is_number = text.contains(char::is_alphanumeric);
    is_number.then_some(shape)
}
