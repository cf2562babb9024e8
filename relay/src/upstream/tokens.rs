//! Finds out, from an API's answer as it streams by, how many tokens it cost.
//!
//! Two families of APIs are read, whole or streamed:
//!
//! | style | where | read | written |
//! | --- | --- | --- | --- |
//! | OpenAI | `usage`, `response.usage` | `prompt_tokens` or `input_tokens` | `completion_tokens` or `output_tokens` |
//! | Anthropic | `usage`, `message.usage` | `input_tokens` + the two of the cache | `output_tokens` |
//!
//! A stream repeats these with growing numbers, so the largest of each counts.
//! Only those places count: what a person or a model says, inside a string or
//! deeper down, cannot change the bill.
//!
//! The answer itself is never changed, kept or held back. Memory is bounded by
//! the size of [`TokenMeter`] and one short text. A compressed answer cannot
//! be read, so the request must ask for none.

mod json;

use self::json::{Container, Token, Tokenizer};

/// The largest count that is believed: a number beyond it is a mistake, and
/// sums of these must fit the registry.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// What an answer cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model read, cached ones included.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
    /// The model, as the API names it.
    pub model: Option<String>,
}

/// Counts the tokens of one answer while its bytes pass.
#[derive(Debug)]
pub struct TokenMeter {
    framing: Framing,
    tokenizer: Tokenizer,
    document: Document,
    found: Found,
}

/// How the JSON documents of an answer are told apart.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// There is one.
    Whole,
    /// One on each line.
    Lines,
    /// One on each line that begins with `data:`.
    Events(Line),
}

/// Where a line of an event stream stands.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// It begins like `data:`, for so many bytes.
    Field(usize),
    /// After `data:`.
    Data,
    /// It is something else.
    Other,
}

const DATA: &[u8] = b"data:";

impl TokenMeter {
    /// A meter for an answer of that type; `None` if it has no tokens to
    /// count.
    #[must_use]
    pub fn for_content_type(content_type: Option<&str>) -> Option<Self> {
        let (essence, _) = content_type?.split_once(';').unwrap_or((content_type?, ""));
        let framing = match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Framing::Whole,
            "application/x-ndjson" => Framing::Lines,
            "text/event-stream" => Framing::Events(Line::Field(0)),
            _ => return None,
        };
        Some(Self {
            framing,
            tokenizer: Tokenizer::new(),
            document: Document::default(),
            found: Found::default(),
        })
    }

    /// Looks at the next bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.framing {
                Framing::Whole => {
                    self.read(rest);
                    return;
                }
                Framing::Lines | Framing::Events(Line::Data) => self.read_line(rest),
                Framing::Events(Line::Field(seen)) => self.match_field(seen, rest),
                Framing::Events(Line::Other) => self.skip_line(rest),
            };
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.found.usage()
    }

    /// What the answer cost. An answer that was cut off counts as far as it
    /// came.
    #[must_use]
    pub fn finish(self) -> Usage {
        self.usage()
    }

    fn read(&mut self, bytes: &[u8]) {
        let (document, found) = (&mut self.document, &mut self.found);
        self.tokenizer
            .feed(bytes, |token| document.visit(token, found));
    }

    /// Reads to the end of the line. Returns what follows it.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((line, after)) = split_line(bytes) else {
            self.read(bytes);
            return &[];
        };
        self.read(line);
        self.begin_line();
        after
    }

    /// Compares with `data:`. Returns what is left to look at.
    fn match_field<'a>(&mut self, seen: usize, bytes: &'a [u8]) -> &'a [u8] {
        let expected = DATA.get(seen..).unwrap_or_default();
        let same = expected.iter().zip(bytes).take_while(|(a, b)| a == b);
        let count = same.count();
        let rest = bytes.get(count..).unwrap_or_default();
        let line = if count == expected.len() {
            Line::Data
        } else if rest.is_empty() {
            Line::Field(seen + count)
        } else {
            Line::Other
        };
        self.framing = Framing::Events(line);
        rest
    }

    fn skip_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((_, after)) = split_line(bytes) else {
            return &[];
        };
        self.begin_line();
        after
    }

    fn begin_line(&mut self) {
        self.tokenizer.reset();
        self.document = Document::default();
        self.framing = match self.framing {
            Framing::Whole => Framing::Whole,
            Framing::Lines => Framing::Lines,
            Framing::Events(_) => Framing::Events(Line::Field(0)),
        };
    }
}

/// Splits off the first line. An event stream's lines may also end with a
/// carriage return alone (WHATWG HTML §9.2.5); the empty line that this makes
/// of CR LF does no harm.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr2(b'\n', b'\r', bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Where in a JSON document the tokens stand.
#[derive(Debug, Default)]
struct Document {
    /// Open containers.
    depth: usize,
    /// The outermost of them; all deeper ones are [`Place::Elsewhere`].
    places: [Place; 3],
    /// What the next value is.
    next: Slot,
}

/// What a container is.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// The document.
    Top,
    /// `message` or `response` of the document.
    Message,
    /// `usage` of one of those two.
    Usage,
    #[default]
    Elsewhere,
}

/// What a member's value is.
#[derive(Debug, Clone, Copy, Default)]
enum Slot {
    Message,
    Usage,
    Model,
    Count(Count),
    #[default]
    Other,
}

/// Which number of a `usage`.
#[derive(Debug, Clone, Copy)]
enum Count {
    Prompt,
    Input,
    CacheWritten,
    CacheRead,
    Output,
}

impl Document {
    fn visit(&mut self, token: Token<'_>, found: &mut Found) {
        match token {
            Token::Key(Some(key)) => self.next = slot(self.place(), key),
            Token::Key(None) => self.next = Slot::Other,
            Token::Open(container) => {
                let place = self.inner(container);
                if let Some(entry) = self.places.get_mut(self.depth) {
                    *entry = place;
                }
                self.depth += 1;
                self.next = Slot::Other;
            }
            Token::Close => self.depth = self.depth.saturating_sub(1),
            Token::Text(text) => {
                if let (Slot::Model, Some(text)) = (self.next, text) {
                    found.model(text);
                }
                self.next = Slot::Other;
            }
            Token::Number(number) => {
                if let (Slot::Count(count), Some(number)) = (self.next, number) {
                    found.count(count, number);
                }
                self.next = Slot::Other;
            }
            Token::Literal => self.next = Slot::Other,
        }
    }

    /// The innermost open container.
    fn place(&self) -> Place {
        let innermost = self.depth.checked_sub(1);
        let place = innermost.and_then(|at| self.places.get(at));
        place.copied().unwrap_or_default()
    }

    /// What a container is that opens now.
    fn inner(&self, container: Container) -> Place {
        match (container, self.depth, self.next) {
            (Container::Object, 0, _) => Place::Top,
            (Container::Object, _, Slot::Message) => Place::Message,
            (Container::Object, _, Slot::Usage) => Place::Usage,
            (Container::Object, _, Slot::Model | Slot::Count(_) | Slot::Other)
            | (Container::Array, _, _) => Place::Elsewhere,
        }
    }
}

/// What the member of that name is.
fn slot(place: Place, key: &[u8]) -> Slot {
    match (place, key) {
        (Place::Top, b"message" | b"response") => Slot::Message,
        (Place::Top | Place::Message, b"usage") => Slot::Usage,
        (Place::Top | Place::Message, b"model") => Slot::Model,
        (Place::Usage, b"prompt_tokens") => Slot::Count(Count::Prompt),
        (Place::Usage, b"input_tokens") => Slot::Count(Count::Input),
        (Place::Usage, b"cache_creation_input_tokens") => Slot::Count(Count::CacheWritten),
        (Place::Usage, b"cache_read_input_tokens") => Slot::Count(Count::CacheRead),
        (Place::Usage, b"completion_tokens" | b"output_tokens") => Slot::Count(Count::Output),
        _ => Slot::Other,
    }
}

/// The largest of each number, and the first model.
#[derive(Debug, Default)]
struct Found {
    prompt: u64,
    input: u64,
    cache_written: u64,
    cache_read: u64,
    output: u64,
    model: Option<String>,
}

impl Found {
    fn count(&mut self, count: Count, number: u64) {
        if number > TOKENS_MAX {
            return;
        }
        let largest = match count {
            Count::Prompt => &mut self.prompt,
            Count::Input => &mut self.input,
            Count::CacheWritten => &mut self.cache_written,
            Count::CacheRead => &mut self.cache_read,
            Count::Output => &mut self.output,
        };
        *largest = number.max(*largest);
    }

    fn model(&mut self, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return;
        };
        // It will be shown on terminals.
        if self.model.is_none() && !name.is_empty() && !name.chars().any(char::is_control) {
            self.model = Some(name.to_owned());
        }
    }

    fn usage(&self) -> Usage {
        // Anthropic counts cached input beside `input_tokens`, OpenAI inside
        // `prompt_tokens`; a proxy between the two may send both.
        let beside = self.input + self.cache_written + self.cache_read;
        Usage {
            input_tokens: beside.max(self.prompt),
            output_tokens: self.output,
            model: self.model.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
