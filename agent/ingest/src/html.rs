//! The visible text of HTML of any age and shape.
//!
//! A tokenizer that follows the standard, and in place of a tree the stack of
//! open elements: enough to know what is hidden, and what is a heading, list,
//! row or code. No input is an error. Left out are scripts, styles, drawings,
//! controls, what is marked hidden, and navigation.

mod charset;
mod element;

use std::convert::Infallible;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use crate::document::{BlockKind, Draft, Extracted, list_mark, tidy_title};
use crate::error::Error;
use crate::extract::from_draft;

use element::{Effect, Name};

/// Deeper elements are read as if their tags were not there; browsers have the
/// same limit.
const DEPTH_MAX: usize = 512;

/// A longer row is not one of a table but a page laid out with one: its parts
/// become blocks of their own. In bytes.
const ROW_BYTES_MAX: usize = 1_000;

pub(crate) fn read(bytes: &[u8]) -> Result<Extracted, Error> {
    let decoded = charset::decode(bytes);
    let mut reader = Reader::new(Draft::default(), Keep::Content);
    reader.read_all(&decoded.text)?;
    if reader.draft.is_empty() {
        reader = Reader::new(Draft::default(), Keep::Navigation);
        reader.read_all(&decoded.text)?;
    }
    let title = tidy_title(&reader.title);
    let title = title.or_else(|| reader.draft.first_heading().and_then(tidy_title));
    Ok(Extracted {
        replaced: decoded.replaced,
        ..from_draft(title, reader.draft)
    })
}

/// Adds the blocks of a piece of HTML that stands in another text.
pub(crate) fn read_part(html: &str, draft: &mut Draft) -> Result<(), Error> {
    let mut reader = Reader::new(std::mem::take(draft), Keep::Navigation);
    let read = reader.read_all(html);
    *draft = reader.draft;
    read
}

/// Whether a tag by itself breaks the line.
pub(crate) fn is_line_break(tag: &str) -> bool {
    tag.get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("<br"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Content,
    /// Also what leads elsewhere.
    Navigation,
}

struct Reader {
    draft: Draft,
    keep: Keep,
    title: String,
    /// The open elements.
    stack: Vec<Open>,
    /// How many of them hide what is inside.
    hidden: usize,
    preformatted: usize,
    /// The text of the block that is being read.
    block: String,
    /// White space was read that shows only before more text.
    has_space: bool,
    /// What stands before the first block of a list item.
    mark: Option<String>,
    /// The start tag that is being read.
    tag: Vec<u8>,
    is_tag_hidden: bool,
    is_tag_navigation: bool,
    attribute: Attribute,
    /// What stands for the picture that is being read.
    alt: String,
    error: Option<Error>,
}

struct Open {
    name: Name,
    effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Hidden,
    Style,
    Role,
    Alt,
    Other,
}

impl Reader {
    fn new(draft: Draft, keep: Keep) -> Self {
        Self {
            draft,
            keep,
            title: String::new(),
            stack: Vec::new(),
            hidden: 0,
            preformatted: 0,
            block: String::new(),
            has_space: false,
            mark: None,
            tag: Vec::new(),
            is_tag_hidden: false,
            is_tag_navigation: false,
            attribute: Attribute::Other,
            alt: String::new(),
            error: None,
        }
    }

    fn read_all(&mut self, html: &str) -> Result<(), Error> {
        let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| {
            self.read(&event);
            None::<Infallible>
        });
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        self.end_block();
        self.error.take().map_or(Ok(()), Err)
    }

    fn read(&mut self, event: &CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag.clear();
                self.tag.extend_from_slice(name);
                self.is_tag_hidden = false;
                self.is_tag_navigation = false;
                self.attribute = Attribute::Other;
                self.alt.clear();
            }
            CallbackEvent::AttributeName { name } => self.attribute_name(name),
            CallbackEvent::AttributeValue { value } => self.attribute_value(value),
            CallbackEvent::CloseStartTag { self_closing } => {
                let tag = std::mem::take(&mut self.tag);
                self.start(&tag, *self_closing);
                self.tag = tag;
            }
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { value } => self.text(&String::from_utf8_lossy(value)),
            CallbackEvent::Comment { .. }
            | CallbackEvent::Doctype { .. }
            | CallbackEvent::Error(_) => {}
        }
    }

    fn attribute_name(&mut self, name: &[u8]) {
        self.attribute = match name {
            b"hidden" => Attribute::Hidden,
            b"style" => Attribute::Style,
            b"role" => Attribute::Role,
            b"alt" if self.tag == b"img" => Attribute::Alt,
            _ => Attribute::Other,
        };
        self.is_tag_hidden |= self.attribute == Attribute::Hidden;
    }

    fn attribute_value(&mut self, value: &[u8]) {
        match self.attribute {
            // Browsers show it to those who search the page.
            Attribute::Hidden if value == b"until-found" => self.is_tag_hidden = false,
            Attribute::Style => self.is_tag_hidden |= hides(value),
            Attribute::Role => self.is_tag_navigation = value == b"navigation",
            Attribute::Alt => self.alt.push_str(&String::from_utf8_lossy(value)),
            Attribute::Hidden | Attribute::Other => {}
        }
    }

    fn start(&mut self, tag: &[u8], is_self_closing: bool) {
        self.end_implied(tag);
        let mut effect = element::effect(tag);
        self.set_apart(effect);
        match tag {
            b"br" => self.line_break(),
            b"hr" => self.end_block(),
            b"img" if !self.is_tag_hidden => {
                let alt = std::mem::take(&mut self.alt);
                self.text(&alt);
            }
            _ => {}
        }
        let is_closed = element::is_void(tag) || (is_self_closing && tag == b"svg");
        if is_closed || self.stack.len() >= DEPTH_MAX {
            return;
        }
        let is_navigation = self.is_tag_navigation || effect == Effect::Navigation;
        if self.is_tag_hidden || (is_navigation && self.keep == Keep::Content) {
            effect = Effect::Hidden;
        }
        // Only inside what is hidden does it matter which end tag is whose.
        if effect == Effect::Inline && self.hidden == 0 {
            return;
        }
        match effect {
            Effect::Hidden => self.hidden += 1,
            Effect::Preformatted => self.preformatted += 1,
            Effect::Item => self.mark = Some(self.next_mark(tag)),
            Effect::Inline
            | Effect::Block
            | Effect::Heading(_)
            | Effect::List(_)
            | Effect::Row
            | Effect::Cell
            | Effect::Navigation
            | Effect::Title => {}
        }
        let name = element::name(tag);
        self.stack.push(Open { name, effect });
    }

    /// Ends the elements that cannot go on beside the one that begins.
    fn end_implied(&mut self, tag: &[u8]) {
        while let Some(open) = self.stack.last()
            && element::ends_open(tag, open.name)
        {
            self.pop();
        }
    }

    fn end(&mut self, tag: &[u8]) {
        let name = element::name(tag);
        let closes_cells = element::closes_cells(tag);
        let is_wall = |open: &&Open| open.effect == Effect::Cell && !closes_cells;
        let within = self
            .stack
            .iter()
            .rev()
            .position(|open| open.name == name || is_wall(&open));
        let Some(within) = within else {
            // Browsers read it as an empty paragraph, or a line break.
            match tag {
                b"p" => self.end_block(),
                b"br" => self.line_break(),
                _ => {}
            }
            return;
        };
        if self
            .stack
            .iter()
            .rev()
            .nth(within)
            .is_some_and(|open| open.name != name)
        {
            return;
        }
        for _ in 0..=within {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(open) = self.stack.last() else {
            return;
        };
        let effect = open.effect;
        if effect != Effect::Cell {
            self.set_apart(effect);
        }
        self.stack.pop();
        match effect {
            Effect::Hidden => self.hidden -= 1,
            Effect::Preformatted => self.preformatted -= 1,
            Effect::Item => self.mark = None,
            Effect::Inline
            | Effect::Block
            | Effect::Heading(_)
            | Effect::List(_)
            | Effect::Row
            | Effect::Cell
            | Effect::Navigation
            | Effect::Title => {}
        }
    }

    /// What the border of an element does to the text before it.
    fn set_apart(&mut self, effect: Effect) {
        match effect {
            Effect::Inline | Effect::Hidden | Effect::Title => {}
            Effect::Cell => {
                if !self.block.trim_end().is_empty() {
                    self.block.push_str(" |");
                }
                self.has_space = true;
            }
            Effect::Block if self.is_in_row() && self.block.len() <= ROW_BYTES_MAX => {
                self.has_space = true;
            }
            Effect::Block
            | Effect::Heading(_)
            | Effect::Preformatted
            | Effect::List(_)
            | Effect::Item
            | Effect::Row
            | Effect::Navigation => self.end_block(),
        }
    }

    fn is_in_row(&self) -> bool {
        self.stack
            .iter()
            .rev()
            .any(|open| open.effect == Effect::Cell)
    }

    fn line_break(&mut self) {
        if self.hidden == 0 {
            self.block.push('\n');
            self.has_space = false;
        }
    }

    fn text(&mut self, text: &str) {
        if self
            .stack
            .last()
            .is_some_and(|open| open.effect == Effect::Title)
            && self.hidden == 0
        {
            if self.title.is_empty() {
                self.title.push_str(text);
            }
            return;
        }
        if self.hidden > 0 {
            return;
        }
        if self.preformatted > 0 {
            self.block.push_str(text);
            return;
        }
        let is_space = |letter: char| letter.is_ascii_whitespace();
        self.has_space |= text.starts_with(is_space);
        for word in text.split_ascii_whitespace() {
            if self.has_space && !self.block.is_empty() && !self.block.ends_with('\n') {
                self.block.push(' ');
            }
            self.block.push_str(word);
            self.has_space = true;
        }
        self.has_space &= text.ends_with(is_space) || text.is_empty();
    }

    /// Adds what was read since the last block.
    fn end_block(&mut self) {
        self.has_space = false;
        if self.block.is_empty() || self.error.is_some() {
            self.block.clear();
            return;
        }
        let kind = self.kind();
        let block = tidy(&self.block, kind);
        let mark = match kind {
            BlockKind::ListItem if !block.trim().is_empty() => self.mark.take(),
            BlockKind::ListItem
            | BlockKind::Heading(_)
            | BlockKind::Paragraph
            | BlockKind::Code
            | BlockKind::CodeItem
            | BlockKind::TableRow => None,
        };
        let added = match mark {
            Some(mark) => self.draft.add(kind, &format!("{mark}{}", block.trim())),
            None => self.draft.add(kind, &block),
        };
        self.error = added.err();
        self.block.clear();
    }

    /// What the block that is being read is, by the innermost element that
    /// says so.
    fn kind(&self) -> BlockKind {
        let said = self.stack.iter().rev().find_map(|open| match open.effect {
            Effect::Heading(level) => Some(BlockKind::Heading(level)),
            Effect::Preformatted => Some(BlockKind::Code),
            Effect::Item => Some(BlockKind::ListItem),
            Effect::Cell | Effect::Row if self.block.len() > ROW_BYTES_MAX => {
                Some(BlockKind::Paragraph)
            }
            Effect::Cell | Effect::Row => Some(BlockKind::TableRow),
            Effect::Inline
            | Effect::Block
            | Effect::List(_)
            | Effect::Hidden
            | Effect::Navigation
            | Effect::Title => None,
        });
        said.unwrap_or(BlockKind::Paragraph)
    }

    /// What stands before an item of the innermost list. Terms and their
    /// descriptions have no mark.
    fn next_mark(&mut self, tag: &[u8]) -> String {
        if tag != b"li" {
            return String::new();
        }
        let list = self
            .stack
            .iter_mut()
            .rev()
            .find_map(|open| match &mut open.effect {
                Effect::List(number) => Some(number),
                Effect::Inline
                | Effect::Block
                | Effect::Heading(_)
                | Effect::Preformatted
                | Effect::Item
                | Effect::Row
                | Effect::Cell
                | Effect::Hidden
                | Effect::Navigation
                | Effect::Title => None,
            });
        list_mark(list)
    }
}

/// Whether a style says that the element does not show.
fn hides(style: &[u8]) -> bool {
    let mut dense = style.to_ascii_lowercase();
    dense.retain(|byte| !byte.is_ascii_whitespace());
    let says = |rule: &[u8]| memchr::memmem::find(&dense, rule).is_some();
    says(b"display:none") || says(b"visibility:hidden")
}

/// Without characters that only steer how lines break, and headings without
/// the signs that link to themselves.
fn tidy(block: &str, kind: BlockKind) -> String {
    let steers = memchr::memchr2(0xc2, 0xe2, block.as_bytes()).is_some();
    let mut clean = if steers {
        block
            .replace('\u{a0}', " ")
            .replace(['\u{ad}', '\u{200b}'], "")
    } else {
        block.to_owned()
    };
    if let BlockKind::Heading(_) = kind {
        let is_sign = |letter: char| matches!(letter, '¶' | '§' | '#') || letter.is_whitespace();
        clean = clean.trim_matches(is_sign).replace('\n', " ");
    }
    if kind == BlockKind::TableRow {
        clean = clean.trim_end_matches([' ', '|']).replace('\n', " ");
    }
    clean
}

#[cfg(test)]
mod tests;
