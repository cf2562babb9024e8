//! Cuts a text into passages: pieces small enough for the model, each about
//! one thing.
//!
//! 1. Headings (and what is at the top level of source code) begin sections.
//!    A section far below the model's limit is joined with the next one, if
//!    that is not on a higher level and both fit.
//! 2. What fits is a passage. What does not is filled from sentences, rows and
//!    lines, and cut at the end of a paragraph if that leaves it at least a
//!    quarter full, else of a sentence or line; only a longer sentence is cut
//!    at a line's end, between words or, a giant word, between letters.
//! 3. Inside a section a passage begins with the last sentences of the one
//!    before.
//!
//! Nothing outside a section (and what is joined with it) has a say in how it
//! is cut, so an edit leaves the passages of other sections as they are.
//!
//! Every sentence is counted once, and every passage once more: the sum of its
//! sentences' tokens is close to its own count but no bound of it. Time is
//! linear in the text.

mod fill;
mod piece;
mod section;

use crate::document::Block;
use crate::estimate::estimate_tokens;
use crate::limits::PASSAGES_MAX;

use fill::fill;
use piece::Piece;
use section::{Group, Section, sections};

/// A slice of a document's text with its own place in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passage {
    /// Its place in the document, from 0.
    pub position: usize,
    /// Its first byte in the text.
    pub byte_start: usize,
    /// The byte after its last.
    pub byte_end: usize,
}

/// How large passages may be, in tokens of whoever counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens of a passage, without those the model adds itself. At
    /// least [`TOKENS_MIN`] are allowed whatever this says.
    pub tokens_max: usize,
    /// Most tokens a passage repeats of the one before, in whole sentences.
    /// More than a quarter of `tokens_max` is not repeated.
    pub overlap_tokens: usize,
}

/// The smallest limit that makes sense: a long word has this many.
pub const TOKENS_MIN: usize = 16;

/// A passage has at most so many bytes for each token allowed. Tokenizers
/// count a word of any length as one when they do not know it; English has
/// four bytes a token.
const BYTES_PER_TOKEN_MAX: usize = 16;

impl Default for Limits {
    /// For text search without a model, and models of 256 tokens.
    fn default() -> Self {
        Self {
            tokens_max: 254,
            overlap_tokens: 32,
        }
    }
}

/// Counts tokens as the model does that the passages are for.
pub trait CountTokens {
    /// How many tokens the text has, without those that begin and end every
    /// input. It is asked for at most a few times `tokens_max` × 16 bytes at
    /// once.
    fn count(&self, text: &str) -> usize;
}

impl<F: Fn(&str) -> usize> CountTokens for F {
    fn count(&self, text: &str) -> usize {
        self(text)
    }
}

/// Counts without a model, by [`estimate_tokens`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Estimate;

impl CountTokens for Estimate {
    fn count(&self, text: &str) -> usize {
        estimate_tokens(text)
    }
}

/// The document would have more than [`PASSAGES_MAX`] passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("text has too many passages, limit={PASSAGES_MAX}")]
pub struct TooManyPassages;

/// Cuts a text along its blocks. Every passage is a slice of the text that is
/// not blank and has at most `tokens_max` tokens as `counter` counts them;
/// together they hold all of the text that shows.
///
/// Only a single character that alone has more tokens makes a larger one.
///
/// # Errors
///
/// [`TooManyPassages`], of texts made to have them.
pub fn cut(
    text: &str,
    blocks: &[Block],
    counter: &dyn CountTokens,
    limits: Limits,
) -> Result<Vec<Passage>, TooManyPassages> {
    let measure = Measure::new(text, counter, limits);
    let mut passages = Vec::new();
    let mut cut_group = |pieces: &[Piece]| {
        fill(&measure, pieces, |byte_start, byte_end| {
            passages.push(Passage {
                position: passages.len(),
                byte_start,
                byte_end,
            });
        });
        if passages.len() > PASSAGES_MAX {
            return Err(TooManyPassages);
        }
        Ok(())
    };
    let mut sections = sections(blocks).map(|blocks| Section::read(&measure, blocks));
    let Some(first) = sections.next() else {
        return Ok(passages);
    };
    let mut group = Group::from(first);
    for section in sections {
        if let Err(section) = group.join(section, &measure) {
            cut_group(&group.pieces)?;
            group = Group::from(section);
        }
    }
    cut_group(&group.pieces)?;
    Ok(passages)
}

/// The text with what it takes to weigh its parts.
#[derive(Clone, Copy)]
struct Measure<'a> {
    text: &'a str,
    counter: &'a dyn CountTokens,
    tokens_max: usize,
    overlap_tokens: usize,
}

impl<'a> Measure<'a> {
    fn new(text: &'a str, counter: &'a dyn CountTokens, limits: Limits) -> Self {
        let tokens_max = limits.tokens_max.max(TOKENS_MIN);
        Self {
            text,
            counter,
            tokens_max,
            overlap_tokens: limits.overlap_tokens.min(tokens_max / 4),
        }
    }

    /// For what has to share its passage with a heading of so many tokens. A
    /// heading of more than half a passage is left alone if need be.
    fn leave(&self, heading: usize) -> Self {
        if heading > self.tokens_max / 2 {
            return *self;
        }
        Self {
            tokens_max: self.tokens_max - heading,
            ..*self
        }
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Its tokens, or more if it is too long for so few. Never zero.
    fn weigh(&self, start: usize, end: usize) -> usize {
        let bytes = end.saturating_sub(start);
        let weight = bytes.div_ceil(BYTES_PER_TOKEN_MAX);
        if weight > self.tokens_max {
            return weight;
        }
        let tokens = self.counter.count(self.slice(start, end));
        tokens.max(weight).max(1)
    }
}

#[cfg(test)]
mod tests;
