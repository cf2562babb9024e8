//! Sections: what a heading, or a new item of source code, stands over; and
//! small ones joined.

use crate::document::{Block, BlockKind};

use super::Measure;
use super::piece::{Piece, push_block};

/// Sections of fewer than `tokens_max / JOIN_SHARE` tokens are joined with the
/// next. A heading and one line say too little to be found by; at a quarter a
/// passage still is about one thing or few.
const JOIN_SHARE: usize = 4;

/// The level of text before the first heading: it may join any section.
const LEVEL_OF_NONE: u8 = 0;

/// The level of items of source code: all alike.
const LEVEL_OF_ITEM: u8 = 6;

/// The blocks of each section. A heading right after a heading begins none, so
/// that no passage is a heading alone.
pub(super) fn sections(blocks: &[Block]) -> impl Iterator<Item = &[Block]> {
    blocks.chunk_by(|before, block| !begins_section(*before, *block))
}

fn begins_section(before: Block, block: Block) -> bool {
    match block.kind {
        BlockKind::Heading(_) => !matches!(before.kind, BlockKind::Heading(_)),
        BlockKind::CodeItem => true,
        BlockKind::Paragraph | BlockKind::ListItem | BlockKind::Code | BlockKind::TableRow => false,
    }
}

/// One section's pieces.
pub(super) struct Section {
    level: u8,
    weight: usize,
    pieces: Vec<Piece>,
}

impl Section {
    pub(super) fn read(measure: &Measure<'_>, blocks: &[Block]) -> Self {
        let mut pieces = Vec::new();
        let mut heading = 0;
        for block in blocks {
            let known = pieces.len();
            push_block(&measure.leave(heading), *block, &mut pieces);
            let is_heading = matches!(block.kind, BlockKind::Heading(_));
            let added = pieces.get(known..).unwrap_or_default();
            heading = if is_heading {
                heading + weight(added)
            } else {
                0
            };
        }
        let level = match blocks.first().map(|block| block.kind) {
            Some(BlockKind::Heading(level)) => level,
            Some(BlockKind::CodeItem) => LEVEL_OF_ITEM,
            Some(
                BlockKind::Paragraph | BlockKind::ListItem | BlockKind::Code | BlockKind::TableRow,
            )
            | None => LEVEL_OF_NONE,
        };
        Self {
            level,
            weight: weight(&pieces),
            pieces,
        }
    }
}

fn weight(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.weight).sum()
}

/// Sections that are cut as one.
pub(super) struct Group {
    level: u8,
    weight: usize,
    pub(super) pieces: Vec<Piece>,
}

impl Group {
    /// Takes the section in if the group is still small, both fit into one
    /// passage, and the section is not on a higher level; else gives it back.
    pub(super) fn join(&mut self, section: Section, measure: &Measure<'_>) -> Result<(), Section> {
        let is_small = self.weight < measure.tokens_max / JOIN_SHARE;
        let fits = self.weight.saturating_add(section.weight) <= measure.tokens_max;
        let is_below = section.level >= self.level;
        if !(is_small && fits && is_below) {
            return Err(section);
        }
        self.weight += section.weight;
        self.pieces.extend(section.pieces);
        Ok(())
    }
}

impl From<Section> for Group {
    fn from(section: Section) -> Self {
        Self {
            level: section.level,
            weight: section.weight,
            pieces: section.pieces,
        }
    }
}
