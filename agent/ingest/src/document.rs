//! A document's text and its structure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::limits::{TEXT_BYTES_MAX, TITLE_CHARS_MAX};
use crate::text::is_blank;

/// What a file holds for one who searches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Extracted {
    /// The title it gives itself, or the file's name for source code.
    pub title: Option<String>,
    /// The media type of the file it comes from.
    pub mime: &'static str,
    /// The text, of which passages are exact slices. Valid UTF-8, lines end
    /// in `\n`, no NUL; never only white space.
    pub text: String,
    /// Simple values from the front matter or the line of JSON.
    pub metadata: Map<String, Value>,
    /// The parts of the text in their order. They do not overlap, and outside
    /// them there is only white space.
    pub blocks: Vec<Block>,
    /// How many runs of invalid bytes became U+FFFD.
    pub replaced: usize,
}

/// A part of the text that belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last. Neither end is white space but for the
    /// indentation of code.
    pub end: usize,
}

/// What a block is: how well a text may be cut before it and inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BlockKind {
    /// A heading of level 1 (the document's) to 6. Begins a section.
    Heading(u8),
    /// Sentences.
    Paragraph,
    /// Sentences of one point of a list.
    ListItem,
    /// Lines whose breaks and indentation mean something.
    Code,
    /// Code that begins something new at the top level of a source file. It
    /// begins a section, as a heading does.
    CodeItem,
    /// One row, its cells set apart by ` | `.
    TableRow,
}

impl BlockKind {
    /// Whether rows of this kind stand line under line without a blank one.
    fn is_row(self) -> bool {
        match self {
            Self::ListItem | Self::TableRow => true,
            Self::Heading(_) | Self::Paragraph | Self::Code | Self::CodeItem => false,
        }
    }
}

/// A text in the making, for formats whose source is not their text.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    text: String,
    blocks: Vec<Block>,
}

impl Draft {
    /// Adds a block, set apart from the one before. White space around it
    /// goes; nothing is added if that was all.
    ///
    /// # Errors
    ///
    /// When the text would be longer than [`TEXT_BYTES_MAX`].
    pub(crate) fn add(&mut self, kind: BlockKind, content: &str) -> Result<(), Error> {
        let content = match kind {
            BlockKind::Code | BlockKind::CodeItem => trim_lines(content),
            BlockKind::Heading(_)
            | BlockKind::Paragraph
            | BlockKind::ListItem
            | BlockKind::TableRow => content.trim(),
        };
        if content.is_empty() {
            return Ok(());
        }
        check_length(self.text.len().saturating_add(content.len()))?;
        if let Some(last) = self.blocks.last() {
            let is_next_row = last.kind == kind && kind.is_row();
            self.text.push_str(if is_next_row { "\n" } else { "\n\n" });
        }
        let start = self.text.len();
        self.text.push_str(content);
        let end = self.text.len();
        self.blocks.push(Block { kind, start, end });
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The text of the first heading of the highest level there is.
    pub(crate) fn first_heading(&self) -> Option<&str> {
        let level = |block: &&Block| match block.kind {
            BlockKind::Heading(level) => Some(level),
            BlockKind::Paragraph
            | BlockKind::ListItem
            | BlockKind::Code
            | BlockKind::CodeItem
            | BlockKind::TableRow => None,
        };
        let headings = self.blocks.iter().filter(|block| level(block).is_some());
        let first = headings.min_by_key(level)?;
        self.text.get(first.start..first.end)
    }

    pub(crate) fn finish(self) -> (String, Vec<Block>) {
        (self.text, self.blocks)
    }
}

/// What stands before the next item of a list: its number, if the list counts.
pub(crate) fn list_mark(list: Option<&mut Option<u64>>) -> String {
    let Some(Some(number)) = list else {
        return "- ".into();
    };
    let mark = format!("{number}. ");
    *number = number.saturating_add(1);
    mark
}

/// # Errors
///
/// When a text of so many bytes is longer than [`TEXT_BYTES_MAX`].
pub(crate) fn check_length(bytes: usize) -> Result<(), Error> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("text is too long, limit={TEXT_BYTES_MAX}");
    Err(Error::new(ErrorKind::TooLarge, reason))
}

/// A title on one line and not too long; none if nothing is left.
pub(crate) fn tidy_title(raw: &str) -> Option<String> {
    let mut title = String::new();
    let mut characters = 0_usize;
    for word in raw.split_whitespace() {
        if characters > 0 {
            title.push(' ');
            characters += 1;
        }
        for character in word.chars() {
            if characters == TITLE_CHARS_MAX {
                title.push('…');
                return Some(title);
            }
            title.push(character);
            characters += 1;
        }
    }
    (!title.is_empty()).then_some(title)
}

/// Without blank lines at both ends, but with the first line's indentation.
pub(crate) fn trim_lines(content: &str) -> &str {
    let content = content.trim_end();
    let blank = content.len() - content.trim_start().len();
    let first_line = content
        .get(..blank)
        .and_then(|blank| blank.rfind('\n'))
        .map_or(0, |end| end + 1);
    content.get(first_line..).unwrap_or(content)
}

/// Whether text and blocks are what [`Extracted`] promises.
pub(crate) fn is_sound(text: &str, blocks: &[Block]) -> bool {
    let mut last = 0;
    let mut is_in_order = |block: &Block| {
        let before = text.get(last..block.start);
        let content = text.get(block.start..block.end).unwrap_or_default();
        last = block.end;
        let is_code = matches!(block.kind, BlockKind::Code | BlockKind::CodeItem);
        let is_trimmed =
            content.trim_end() == content && (is_code || content.trim_start() == content);
        before.is_some_and(is_blank) && is_trimmed && !is_blank(content)
    };
    let are_in_order = blocks.iter().all(&mut is_in_order);
    are_in_order
        && text.get(last..).is_some_and(is_blank)
        && !is_blank(text)
        && text.len() <= TEXT_BYTES_MAX
        && memchr::memchr2(b'\r', b'\0', text.as_bytes()).is_none()
}

#[cfg(test)]
#[track_caller]
pub(crate) fn check(document: &Extracted) {
    assert!(is_sound(&document.text, &document.blocks), "{document:?}");
}
