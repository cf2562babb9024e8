//! Letters put together to lines.

use hayro_font::kurbo::{Point, Vec2};

use crate::document::check_length;
use crate::error::Error;

use super::string::push_plain;

/// A wider gap is a space, in parts of the letters' size. A space is a quarter
/// wide and shrinks to a sixth in justified lines; letters are spaced or
/// kerned by less than a tenth.
const SPACE_MIN: f64 = 0.15;

/// So far a letter may stand above or below its line: indices and the like.
const OFF_LINE_MAX: f64 = 0.55;

/// So far a letter may be drawn back over the one before.
const BACK_MAX: f64 = 0.5;

/// Letters on one line go the same way: the cosine of the angle between.
const SAME_WAY: f64 = 0.98;

/// A letter or more where a page shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'l> {
    /// Empty if it is not known or does not count.
    pub(super) letters: &'l str,
    /// On the page in points, y downwards.
    pub(super) start: Point,
    pub(super) end: Point,
    pub(super) size: f64,
}

/// A line of text on a page.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) page: usize,
    /// Without white space at its ends.
    pub(super) text: String,
    pub(super) start: Point,
    pub(super) end: Point,
    /// The way its letters go, of length 1.
    pub(super) way: Vec2,
    /// Of its first word.
    pub(super) size: f64,
}

/// The lines of a document.
#[derive(Debug, Default)]
pub(super) struct Lines {
    page: usize,
    done: Vec<Line>,
    open: Option<Line>,
    bytes: usize,
    /// Letters whose meaning is known.
    pub(super) known: usize,
}

impl Lines {
    pub(super) fn begin_page(&mut self, page: usize) {
        self.end_line();
        self.page = page;
    }

    /// Adds a letter to the line, or begins a new one with it.
    ///
    /// # Errors
    ///
    /// When the text becomes too long.
    pub(super) fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let is_placed = shown.start.is_finite() && shown.end.is_finite();
        let is_visible = shown.size > 0.0;
        if shown.letters.is_empty() || !is_placed || !is_visible {
            return Ok(());
        }
        self.known = self.known.saturating_add(1);
        self.bytes = self.bytes.saturating_add(shown.letters.len());
        check_length(self.bytes)?;
        if self.open.as_mut().is_some_and(|line| line.take(shown)) {
            return Ok(());
        }
        self.end_line();
        if shown.letters.trim().is_empty() {
            return Ok(());
        }
        let mut line = Line {
            page: self.page,
            text: String::new(),
            start: shown.start,
            end: shown.end,
            way: way(shown).unwrap_or(Vec2::new(1.0, 0.0)),
            size: shown.size,
        };
        push_plain(&mut line.text, shown.letters);
        self.open = Some(line);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Line> {
        self.end_line();
        self.done
    }

    fn end_line(&mut self) {
        let Some(mut line) = self.open.take() else {
            return;
        };
        line.text.truncate(line.text.trim_end().len());
        // Text drawn twice, a little apart, looks bold.
        let is_again = self.done.last().is_some_and(|last| last.is_same(&line));
        if !line.text.is_empty() && !is_again {
            self.done.push(line);
        }
    }
}

impl Line {
    /// Takes a letter in if it goes on where the line ends.
    fn take(&mut self, shown: &Shown<'_>) -> bool {
        let goes_same_way = way(shown).is_none_or(|way| way.dot(self.way) > SAME_WAY);
        let gap = shown.start - self.end;
        let along = gap.dot(self.way);
        let off = gap.cross(self.way).abs();
        let size = self.size.max(shown.size);
        if !goes_same_way || off > OFF_LINE_MAX * size || along < -BACK_MAX * size {
            return false;
        }
        if along > SPACE_MIN * shown.size {
            push_plain(&mut self.text, " ");
        }
        // A line is as high as its words, not as the dot before them.
        if !self.text.contains(char::is_alphanumeric) {
            let down = Vec2::new(-self.way.y, self.way.x);
            self.start += down * gap.dot(down);
            self.size = shown.size;
        }
        push_plain(&mut self.text, shown.letters);
        self.end = shown.end;
        true
    }

    fn is_same(&self, other: &Self) -> bool {
        let apart = (self.start - other.start).hypot();
        self.page == other.page && apart < other.size / 4.0 && self.text == other.text
    }

    /// From this line's start to another's: how far along it and how far down.
    pub(super) fn offset_to(&self, other: &Self) -> Vec2 {
        let offset = other.start - self.start;
        let down = Vec2::new(-self.way.y, self.way.x);
        Vec2::new(offset.dot(self.way), offset.dot(down))
    }

    pub(super) fn goes_like(&self, other: &Self) -> bool {
        self.way.dot(other.way) > SAME_WAY
    }
}

fn way(shown: &Shown<'_>) -> Option<Vec2> {
    let along = shown.end - shown.start;
    let length = along.hypot();
    (length > 0.0).then(|| along / length)
}
