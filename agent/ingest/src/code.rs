//! Source code of any language: a line without indentation after a blank line
//! begins something new.
//!
//! That holds for the functions, classes and settings of nearly every
//! language. Comments and attributes stay with what they stand over. Where it
//! does not hold, a passage is cut at a worse place, no more.

use crate::decode::Decoded;
use crate::document::{Block, BlockKind, Extracted, tidy_title};
use crate::error::Error;
use crate::extract::from_source;
use crate::format::file_name;
use crate::text::paragraphs;

pub(crate) fn read(name: &str, decoded: Decoded<'_>) -> Result<Extracted, Error> {
    let blocks = blocks(&decoded.text);
    Ok(from_source(tidy_title(file_name(name)), decoded, blocks))
}

fn blocks(text: &str) -> Vec<Block> {
    let block = |paragraph: crate::text::Paragraph| {
        let content = text.get(paragraph.line_start..paragraph.end)?;
        let kind = if begins_item(content) {
            BlockKind::CodeItem
        } else {
            BlockKind::Code
        };
        let (start, end) = (paragraph.line_start, paragraph.end);
        Some(Block { kind, start, end })
    };
    paragraphs(text).filter_map(block).collect()
}

/// Whether the first line stands at the left edge and does not close what was
/// begun before.
fn begins_item(content: &str) -> bool {
    let word = content
        .split(|letter: char| !letter.is_alphanumeric())
        .next();
    let closes = content.starts_with(['}', ')', ']']) || word == Some("end");
    !closes && !content.starts_with(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_blocks(text: &str) -> Vec<(BlockKind, &str)> {
        let block = |block: Block| (block.kind, &text[block.start..block.end]);
        blocks(text).into_iter().map(block).collect()
    }

    #[test]
    fn items_begin_at_the_left_edge_after_a_blank_line() {
        use BlockKind::{Code, CodeItem};
        let text = "use a;\n\n/// Adds.\nfn add() {\n    one();\n\n    two();\n}\n\n\nend\n";
        assert_eq!(
            read_blocks(text),
            [
                (CodeItem, "use a;"),
                (CodeItem, "/// Adds.\nfn add() {\n    one();"),
                (Code, "    two();\n}"),
                (Code, "end"),
            ]
        );
        assert_eq!(read_blocks("\n  \n"), []);
    }
}
