//! Markdown: CommonMark with tables, tasks, footnotes, struck text and the
//! links of wikis, and front matter.
//!
//! The document's text is what a reader sees: no marks of emphasis, no link
//! targets, paragraphs on one line each. So a passage spends the model's
//! tokens on words, and wrapping lines anew changes nothing. Lists keep their
//! marks, code its lines.

mod front_matter;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::decode::Decoded;
use crate::document::{BlockKind, Draft, Extracted, list_mark, tidy_title};
use crate::error::Error;
use crate::extract::from_draft;
use crate::html;

use front_matter::FrontMatter;

pub(crate) fn read(decoded: Decoded<'_>) -> Result<Extracted, Error> {
    let FrontMatter {
        title,
        metadata,
        length,
    } = front_matter::read(&decoded.text);
    let source = decoded.text.get(length..).unwrap_or_default();
    let mut reader = Reader::default();
    for event in Parser::new_ext(source, options()) {
        reader.read(event)?;
    }
    reader.end_block()?;
    let draft = reader.draft;
    let title = title.or_else(|| draft.first_heading().and_then(tidy_title));
    Ok(Extracted {
        metadata,
        replaced: decoded.replaced,
        ..from_draft(title, draft)
    })
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_GFM
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_WIKILINKS
}

#[derive(Default)]
struct Reader {
    draft: Draft,
    /// The text of the block that is being read.
    block: String,
    /// What the block is if it is none of a list.
    kind: Option<BlockKind>,
    /// The open lists: the number of the next item, if they are numbered.
    lists: Vec<Option<u64>>,
    /// What stands before the first block of a list item.
    mark: Option<String>,
    /// HTML that goes on over several events.
    html: String,
    /// The cells of the row so far.
    cells: usize,
}

impl Reader {
    fn read(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Start(tag) => self.start(&tag)?,
            Event::End(tag) => self.end(tag)?,
            Event::Text(text) => self.block.push_str(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.block.push_str(&text);
            }
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(tag) => {
                if html::is_line_break(&tag) {
                    self.block.push('\n');
                }
            }
            Event::SoftBreak => self.block.push(' '),
            Event::HardBreak => self.block.push('\n'),
            Event::Rule => self.end_block()?,
            Event::TaskListMarker(is_done) => {
                self.block.push_str(if is_done { "[x] " } else { "[ ] " });
            }
            Event::FootnoteReference(_) => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>) -> Result<(), Error> {
        match tag {
            Tag::Paragraph
            | Tag::BlockQuote(_)
            | Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Table(_)
            | Tag::MetadataBlock(_) => self.end_block()?,
            Tag::Heading { level, .. } => {
                self.end_block()?;
                self.kind = Some(BlockKind::Heading(level_number(*level)));
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.end_block()?;
                self.kind = Some(BlockKind::Code);
            }
            Tag::List(first) => {
                self.end_block()?;
                self.lists.push(*first);
            }
            Tag::Item => {
                self.end_block()?;
                self.mark = Some(list_mark(self.lists.last_mut()));
            }
            Tag::TableHead | Tag::TableRow => {
                self.end_block()?;
                self.kind = Some(BlockKind::TableRow);
                self.cells = 0;
            }
            Tag::TableCell => {
                if self.cells > 0 {
                    self.block.push_str(" | ");
                }
                self.cells += 1;
            }
            Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript
            | Tag::Link { .. }
            | Tag::Image { .. } => {}
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), Error> {
        match tag {
            TagEnd::List(_) => {
                self.end_block()?;
                self.lists.pop();
            }
            TagEnd::Item => {
                self.end_block()?;
                self.mark = None;
            }
            TagEnd::HtmlBlock => {
                self.end_block()?;
                let html = std::mem::take(&mut self.html);
                html::read_part(&html, &mut self.draft)?;
            }
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::CodeBlock
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Table
            | TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::MetadataBlock(_) => self.end_block()?,
            TagEnd::TableCell
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::Image => {}
        }
        Ok(())
    }

    /// Adds what was read since the last block.
    fn end_block(&mut self) -> Result<(), Error> {
        let own_kind = self.kind.take();
        if self.block.trim().is_empty() {
            self.block.clear();
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let kind = match own_kind {
            Some(kind) => kind,
            None if self.lists.is_empty() => BlockKind::Paragraph,
            None => BlockKind::ListItem,
        };
        match self.mark.take() {
            Some(mark) if kind == BlockKind::ListItem => {
                self.draft.add(kind, &format!("{mark}{}", block.trim()))
            }
            _ => self.draft.add(kind, &block),
        }
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests;
