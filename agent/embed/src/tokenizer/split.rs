//! The first half: characters are cleaned, and words are cut at white space,
//! punctuation and ideographs.
//!
//! It follows `BertNormalizer` and `BertPreTokenizer` of the `tokenizers`
//! library, with two differences that ordinary text does not show: Unicode is
//! that of today, and marks that take up space are not put in canonical order.

use std::collections::VecDeque;
use std::ops::Range;

use unicode_categories::UnicodeCategories;
use unicode_normalization::char::decompose_canonical;

use super::{Rules, Token};

/// Walks through a text, and gives one word after the other.
#[derive(Debug)]
pub(super) struct Split<'a> {
    rules: &'a Rules,
    text: &'a str,
    /// How far the text has been read, in bytes.
    at: usize,
    word: Word,
    /// What the last character read has become: a few steps at most.
    steps: VecDeque<Step>,
}

/// What a step of the walk gives.
#[derive(Debug)]
pub(super) enum Cut<'a> {
    Word(&'a Word),
    Special(Token),
}

/// A word in the form in which the vocabulary has it.
#[derive(Debug, Default)]
pub(super) struct Word {
    text: String,
    pub(super) chars: Vec<Char>,
    /// Where it comes from.
    pub(super) range: Range<usize>,
    /// It has more characters than a word with pieces; no more are kept.
    pub(super) is_overlong: bool,
}

/// A character of a word.
#[derive(Debug)]
pub(super) struct Char {
    /// Where it begins in the word's text.
    at: usize,
    /// The character of the source it was made from.
    source: Range<usize>,
}

/// What a character of the text does to the word at hand.
#[derive(Debug)]
enum Step {
    /// It belongs to the word.
    Add(char, Range<usize>),
    /// The word ends.
    End,
    /// The word ends, and the character is one by itself.
    Alone(char, Range<usize>),
    Special(Token),
}

impl Word {
    /// The text of some characters.
    pub(super) fn slice(&self, chars: Range<usize>) -> Option<&str> {
        let begin = self.chars.get(chars.start)?.at;
        let end = self.chars.get(chars.end);
        self.text
            .get(begin..end.map_or(self.text.len(), |next| next.at))
    }

    /// Where some characters come from; at least one.
    pub(super) fn source(&self, chars: Range<usize>) -> Range<usize> {
        let chars = self.chars.get(chars).unwrap_or_default();
        let (Some(first), Some(last)) = (chars.first(), chars.last()) else {
            return self.range.clone();
        };
        first.source.start..last.source.end
    }

    fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    fn given(&self) -> Option<Cut<'_>> {
        (!self.is_empty()).then_some(Cut::Word(self))
    }

    fn push(&mut self, char: char, source: &Range<usize>, max: usize) {
        if self.is_empty() {
            self.range = source.clone();
        }
        self.range.end = source.end;
        if self.chars.len() == max {
            self.is_overlong = true;
            return;
        }
        let at = self.text.len();
        let source = source.clone();
        self.chars.push(Char { at, source });
        self.text.push(char);
    }

    fn clear(&mut self) {
        self.text.clear();
        self.chars.clear();
        self.range = 0..0;
        self.is_overlong = false;
    }
}

impl<'a> Split<'a> {
    pub(super) fn new(rules: &'a Rules, text: &'a str) -> Self {
        Self {
            rules,
            text,
            at: 0,
            word: Word::default(),
            steps: VecDeque::new(),
        }
    }

    /// The next word or special token.
    pub(super) fn next(&mut self) -> Option<Cut<'_>> {
        self.word.clear();
        loop {
            let Some(step) = self.steps.pop_front() else {
                if self.read() {
                    continue;
                }
                return self.word.given();
            };
            match step {
                Step::Add(char, source) => self.word.push(char, &source, self.rules.word_max),
                Step::End if self.word.is_empty() => {}
                Step::End => return self.word.given(),
                // The word at hand is first; the step stays for the next call.
                Step::Alone(..) | Step::Special(_) if !self.word.is_empty() => {
                    self.steps.push_front(step);
                    return self.word.given();
                }
                Step::Alone(char, source) => {
                    self.word.push(char, &source, self.rules.word_max);
                    return self.word.given();
                }
                Step::Special(token) => return Some(Cut::Special(token)),
            }
        }
    }

    /// Turns the next character, or special token, into steps.
    fn read(&mut self) -> bool {
        let Some(rest) = self.text.get(self.at..) else {
            return false;
        };
        let Some(char) = rest.chars().next() else {
            return false;
        };
        let begin = self.at;
        let mut special = self.rules.special.iter();
        if let Some((text, id)) = special.find(|(text, _)| rest.starts_with(&**text)) {
            self.at += text.len();
            let range = begin..self.at;
            self.steps
                .push_back(Step::Special(Token { id: *id, range }));
            return true;
        }
        self.at += char.len_utf8();
        let range = begin..self.at;
        if self.rules.clean && is_dropped(char) {
            return true;
        }
        if char.is_whitespace() {
            self.steps.push_back(Step::End);
            return true;
        }
        let is_alone = self.rules.ideographs && is_ideograph(char);
        if is_alone {
            self.steps.push_back(Step::End);
        }
        if self.rules.strip_accents {
            let lowercase = self.rules.lowercase;
            let steps = &mut self.steps;
            decompose_canonical(char, |char| {
                if !is_accent(char) {
                    add(char, lowercase, &range, steps);
                }
            });
        } else {
            add(char, self.rules.lowercase, &range, &mut self.steps);
        }
        if is_alone {
            self.steps.push_back(Step::End);
        }
        true
    }
}

fn add(char: char, lowercase: bool, source: &Range<usize>, steps: &mut VecDeque<Step>) {
    let mut push = |char| {
        let source = source.clone();
        steps.push_back(if is_punctuation(char) {
            Step::Alone(char, source)
        } else {
            Step::Add(char, source)
        });
    };
    if lowercase {
        char.to_lowercase().for_each(push);
    } else {
        push(char);
    }
}

/// Control and format characters, those of private use, and the sign for bytes
/// that were not text; but not the three that separate lines and columns.
fn is_dropped(char: char) -> bool {
    match char {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ if char.is_ascii() => char.is_ascii_control(),
        _ => char.is_other(),
    }
}

/// The blocks of Chinese characters that BERT knew; not kana, not hangul.
fn is_ideograph(char: char) -> bool {
    matches!(
        char,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            // As the library has it: BERT's own code began at U+2B820.
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}

fn is_accent(char: char) -> bool {
    !char.is_ascii() && char.is_mark_nonspacing()
}

fn is_punctuation(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_punctuation();
    }
    char.is_punctuation()
}
