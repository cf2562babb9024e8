//! Text to tokens as BERT does it: cut into words, and words into the longest
//! known pieces (WordPiece).
//!
//! The tokens come one after the other, so that the first few hundred of a text
//! of any length cost no more than what they are made of, and memory stays
//! small whatever the text is. Padding and truncation in `tokenizer.json` are
//! settings for other programs; they are not looked at.

mod file;
mod split;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use crate::Error;
use split::{Cut, Split, Word};

pub(crate) use file::Defaults;

/// The vocabulary of a model and the rules to cut text.
#[derive(Debug)]
pub struct Tokenizer {
    rules: Rules,
    /// Pieces at the beginning of a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces further on, without the sign of that.
    further: HashMap<Box<str>, u32>,
    unknown: u32,
    before: u32,
    after: u32,
}

/// How text becomes words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    /// Control characters are dropped.
    clean: bool,
    /// Each Chinese character is a word.
    ideographs: bool,
    strip_accents: bool,
    lowercase: bool,
    /// Texts that stand for one token wherever they are, longest first.
    special: Vec<(Box<str>, u32)>,
    /// The longest word with pieces, in characters; above it is unknown.
    word_max: usize,
}

/// A piece of text with a number in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The number.
    pub id: u32,
    /// Where it comes from, as bytes of the text. It begins and ends between
    /// characters. A character that became several tokens belongs to all.
    pub range: Range<usize>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, and what else the folder says of it.
    pub(crate) fn read(folder: &Path, vocabulary: usize) -> Result<(Self, Defaults), Error> {
        file::read(folder, vocabulary)
    }

    /// The tokens of a text, without the two that are put around it.
    #[must_use]
    pub fn tokens<'a>(&'a self, text: &'a str) -> Tokens<'a> {
        Tokens {
            tokenizer: self,
            split: Split::new(&self.rules, text),
            ready: Vec::new(),
        }
    }

    /// How many tokens a text has, without the two that are put around it.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.tokens(text).count()
    }

    /// The numbers of a text's first tokens, the special ones around them, at
    /// most `tokens_max` in all.
    pub(crate) fn sequence<'a>(
        &'a self,
        text: &'a str,
        tokens_max: usize,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let inner = tokens_max.saturating_sub(SPECIAL);
        let tokens = self.tokens(text).map(|token| token.id).take(inner);
        [self.before].into_iter().chain(tokens).chain([self.after])
    }

    /// Gives each field that decides about tokens, in a fixed order.
    pub(crate) fn describe(&self, mut field: impl FnMut(&str, &[u8])) {
        let rules = &self.rules;
        let flags = [
            rules.clean,
            rules.ideographs,
            rules.strip_accents,
            rules.lowercase,
        ];
        field("rules", &flags.map(u8::from));
        field("longest word", &(rules.word_max as u64).to_le_bytes());
        let [unknown, before, after] =
            [self.unknown, self.before, self.after].map(u32::to_le_bytes);
        field("special tokens", &[unknown, before, after].concat());
        let special = rules.special.iter().map(|(text, id)| (text, id)).collect();
        let vocabularies: [(&str, BTreeMap<&Box<str>, &u32>); 3] = [
            ("token in text", special),
            ("first piece", self.first.iter().collect()),
            ("further piece", self.further.iter().collect()),
        ];
        for (name, vocabulary) in vocabularies {
            for (text, id) in vocabulary {
                field(name, text.as_bytes());
                field("number", &id.to_le_bytes());
            }
        }
    }

    /// Cuts a word into the longest pieces from its beginning, or finds it
    /// unknown as a whole. The pieces are added in reverse.
    fn pieces(&self, word: &Word, out: &mut Vec<Token>) {
        let begin = out.len();
        let mut at = 0;
        while at < word.chars.len() && !word.is_overlong {
            let pieces = if at == 0 { &self.first } else { &self.further };
            let mut ends = (at + 1..=word.chars.len()).rev();
            let found = ends.find_map(|end| Some((end, *pieces.get(word.slice(at..end)?)?)));
            let Some((end, id)) = found else {
                break;
            };
            let range = word.source(at..end);
            out.push(Token { id, range });
            at = end;
        }
        if at < word.chars.len() || word.is_overlong {
            out.truncate(begin);
            out.push(Token {
                id: self.unknown,
                range: word.range.clone(),
            });
        }
        out.reverse();
    }
}

/// The two tokens put around each text.
pub(crate) const SPECIAL: usize = 2;

/// The tokens of a text, see [`Tokenizer::tokens`].
#[derive(Debug)]
pub struct Tokens<'a> {
    tokenizer: &'a Tokenizer,
    split: Split<'a>,
    /// The pieces of the word at hand, the next one last.
    ready: Vec<Token>,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if let Some(token) = self.ready.pop() {
            return Some(token);
        }
        match self.split.next()? {
            Cut::Special(token) => Some(token),
            Cut::Word(word) => {
                self.tokenizer.pieces(word, &mut self.ready);
                self.ready.pop()
            }
        }
    }
}
