//! `tokenizer.json`, as far as BERT's kind goes; everything else is refused.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Rules, Tokenizer};
use crate::Error;
use crate::folder::{self, Json, TOKENIZER_MAX};

/// What `tokenizer_config.json` says beyond the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Defaults {
    /// The most tokens of a text, if nothing else says it.
    pub(crate) tokens_max: Option<u64>,
}

/// Reads and checks the two files.
pub(super) fn read(folder: &Path, vocabulary: usize) -> Result<(Tokenizer, Defaults), Error> {
    let Json { file, value } = folder::json::<Parts>(folder, "tokenizer.json", TOKENIZER_MAX)?;
    let tokenizer = value.tokenizer(&file, vocabulary)?;
    let settings = folder::optional::<Settings>(folder, "tokenizer_config.json")?;
    let defaults = match settings {
        Some(Json { file, value }) => value.check(&file, &tokenizer.rules)?,
        None => Defaults::default(),
    };
    Ok((tokenizer, defaults))
}

#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    model: Value,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: Box<str>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
}

#[derive(Deserialize)]
struct Normalizer {
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct WordPiece {
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: HashMap<Box<str>, u32>,
}

/// Tokens that may stand in the text: BERT has five, and each costs a
/// comparison a character.
const SPECIAL_MAX: usize = 64;

/// The longest word with pieces, in characters: BERT has 100, and the work on
/// a word grows with its square.
const WORD_MAX: usize = 1_000;

impl Parts {
    fn tokenizer(self, file: &Path, vocabulary: usize) -> Result<Tokenizer, Error> {
        let normalizer: Normalizer = part(file, "normalizer", "BertNormalizer", self.normalizer)?;
        part::<Value>(
            file,
            "pre_tokenizer",
            "BertPreTokenizer",
            self.pre_tokenizer,
        )?;
        let model: WordPiece = part(file, "model", "WordPiece", self.model)?;
        let (before, after) = around(file, &self.post_processor)?;
        if !(1..=WORD_MAX).contains(&model.max_input_chars_per_word) {
            let found = model.max_input_chars_per_word;
            let what = "max_input_chars_per_word out of range";
            return Err(Error::unfit(file, what, format!("1 to {WORD_MAX}"), found));
        }
        let rules = Rules {
            clean: normalizer.clean_text,
            ideographs: normalizer.handle_chinese_chars,
            strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
            lowercase: normalizer.lowercase,
            special: special(file, self.added_tokens)?,
            word_max: model.max_input_chars_per_word,
        };
        let Some(&unknown) = model.vocab.get(&*model.unk_token) else {
            let what = "unk_token is not in the vocabulary";
            return Err(Error::unfit(file, what, "a piece", model.unk_token));
        };
        let ids = model
            .vocab
            .values()
            .chain(rules.special.iter().map(|(_, id)| id));
        if let Some(id) = ids.chain([&before, &after]).max()
            && !usize::try_from(*id).is_ok_and(|id| id < vocabulary)
        {
            let expected = format!("below {vocabulary}, vocab_size of config.json");
            return Err(Error::unfit(file, "number of a token", expected, id));
        }
        let prefix = &*model.continuing_subword_prefix;
        let further = model.vocab.iter();
        let further =
            further.filter_map(|(text, id)| Some((text.strip_prefix(prefix)?.into(), *id)));
        Ok(Tokenizer {
            further: further.collect(),
            rules,
            first: model.vocab,
            unknown,
            before,
            after,
        })
    }
}

/// A part of the file, of the one kind that is understood.
fn part<T: for<'de> Deserialize<'de>>(
    file: &Path,
    name: &str,
    kind: &str,
    value: Value,
) -> Result<T, Error> {
    let found = kind_of(&value);
    if found != kind {
        return Err(Error::unfit(
            file,
            format!("{name} not supported"),
            kind,
            found,
        ));
    }
    serde_json::from_value(value)
        .map_err(|error| Error::unfit(file, format!("{name} not understood"), kind, error))
}

fn kind_of(value: &Value) -> &str {
    let kind = value.get("type").and_then(Value::as_str);
    kind.unwrap_or("none")
}

/// The tokens of `added_tokens`, longest first: the longest match counts.
fn special(file: &Path, added: Vec<Added>) -> Result<Vec<(Box<str>, u32)>, Error> {
    if added.len() > SPECIAL_MAX {
        let expected = format!("at most {SPECIAL_MAX}");
        return Err(Error::unfit(
            file,
            "number of added_tokens",
            expected,
            added.len(),
        ));
    }
    let mut special = Vec::new();
    for token in added {
        if token.single_word || token.lstrip || token.rstrip || token.normalized {
            let expected = "single_word, lstrip, rstrip and normalized false";
            let what = "added token not supported";
            return Err(Error::unfit(file, what, expected, token.content));
        }
        if !token.content.is_empty() {
            special.push((token.content, token.id));
        }
    }
    special.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    Ok(special)
}

/// The tokens put before and after a text.
fn around(file: &Path, processor: &Value) -> Result<(u32, u32), Error> {
    let ids = match kind_of(processor) {
        "BertProcessing" => pair(processor),
        "TemplateProcessing" => template(processor),
        _ => None,
    };
    ids.ok_or_else(|| {
        let expected = "BertProcessing, or TemplateProcessing with one token on each side";
        let found = processor.get("single").unwrap_or(processor);
        Error::unfit(file, "post_processor not supported", expected, found)
    })
}

/// `{"cls": ["[CLS]", 101], "sep": ["[SEP]", 102]}`
fn pair(processor: &Value) -> Option<(u32, u32)> {
    let id = |name| processor.get(name)?.get(1)?.as_u64()?.try_into().ok();
    Some((id("cls")?, id("sep")?))
}

/// `{"single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": …}, …],
/// "special_tokens": {"[CLS]": {"ids": [101], …}, …}}`
fn template(processor: &Value) -> Option<(u32, u32)> {
    let [before, text, after] = &processor.get("single")?.as_array()?[..] else {
        return None;
    };
    let is_first_type = |part: &Value| part.get("type_id")?.as_u64().filter(|id| *id == 0);
    is_first_type(text.get("Sequence")?)?;
    let id = |part: &Value| {
        let part = part.get("SpecialToken")?;
        is_first_type(part)?;
        let token = processor
            .get("special_tokens")?
            .get(part.get("id")?.as_str()?)?;
        let [id] = &token.get("ids")?.as_array()?[..] else {
            return None;
        };
        id.as_u64()?.try_into().ok()
    };
    Some((id(before)?, id(after)?))
}

/// `tokenizer_config.json`. The reference builds its tokens from here where the
/// two disagree; that is refused rather than guessed.
#[derive(Deserialize)]
struct Settings {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    truncation_side: Option<String>,
    model_max_length: Option<f64>,
}

impl Settings {
    fn check(&self, file: &Path, rules: &Rules) -> Result<Defaults, Error> {
        let pairs = [
            ("do_lower_case", self.do_lower_case, rules.lowercase),
            ("strip_accents", self.strip_accents, rules.strip_accents),
            (
                "tokenize_chinese_chars",
                self.tokenize_chinese_chars,
                rules.ideographs,
            ),
        ];
        for (name, here, there) in pairs {
            if let Some(here) = here
                && here != there
            {
                let what = format!("{name} is not as in tokenizer.json");
                return Err(Error::unfit(file, what, there, here));
            }
        }
        if let Some(side) = self.truncation_side.as_deref()
            && side != "right"
        {
            return Err(Error::unfit(
                file,
                "truncation_side not supported",
                "right",
                side,
            ));
        }
        Ok(Defaults {
            tokens_max: self.model_max_length.and_then(length),
        })
    }
}

/// Where there is no limit, the file has a number like 1e30.
fn length(tokens: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number in range"
    )]
    (1.0..1e9).contains(&tokens).then_some(tokens as u64)
}
