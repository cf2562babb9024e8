//! A JSON tokenizer (RFC 8259) that takes its input in any pieces.
//!
//! It holds one short text and one bit for each open container, whatever the
//! input. Of the grammar it leaves unchecked only which bytes a string may
//! hold. At the first byte that is not JSON it falls silent until
//! [`Tokenizer::reset`].

use crate::registry::limits::USAGE_TEXT_MAX;

/// The longest text or key that is reported, in bytes: a model's name as the
/// registry takes it. All longer ones are skipped.
const TEXT_MAX: usize = USAGE_TEXT_MAX;

/// The deepest nesting. Answers of APIs have below twenty levels.
const DEPTH_MAX: u32 = u128::BITS;

/// The longest number, in characters. An `f64` printed in full has 26.
const NUMBER_MAX: u8 = 64;

/// One part of a JSON text, in the order they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `{` or `[`.
    Open(Container),
    /// The matching `}` or `]`.
    Close,
    /// A member's name; `None` if it is too long.
    Key(Option<&'a [u8]>),
    /// A string; `None` if it is too long.
    Text(Option<&'a [u8]>),
    /// A number; `None` unless it is a whole one that fits.
    Number(Option<u64>),
    /// `true`, `false` or `null`.
    Literal,
}

/// What holds other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

/// Reads one JSON text after another.
#[derive(Debug)]
pub(super) struct Tokenizer {
    state: State,
    depth: u32,
    /// One bit for each open container, the innermost lowest: 1 is an object.
    objects: u128,
    /// The string being read, unescaped.
    text: Vec<u8>,
    text_is_too_long: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A value must follow; right after `[` also its end.
    Value {
        or_end: bool,
    },
    /// A member's name must follow; right after `{` also its end.
    Key {
        or_end: bool,
    },
    Colon,
    /// A comma or the container's end must follow, or at the top nothing.
    AfterValue,
    InString {
        role: Role,
        escape: Escape,
    },
    InNumber(Number),
    /// Inside `true`, `false` or `null`: what must still follow.
    InLiteral(&'static [u8]),
    NotJson,
}

/// A number being read.
#[derive(Debug, Clone, Copy)]
struct Number {
    digits: Digits,
    /// Its value while it is a whole one that fits.
    value: Option<u64>,
    length: u8,
}

/// Where in a number the last byte was.
#[derive(Debug, Clone, Copy)]
enum Digits {
    Minus,
    /// A whole part that begins with 0 has no more digits.
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ExponentSign,
    Exponent,
}

/// What a string is for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Key,
    Value,
}

/// Where an escape sequence stands.
#[derive(Debug, Clone, Copy)]
enum Escape {
    None,
    Begun,
    /// In `\uXXXX`: the digits so far and their value.
    Unicode {
        digits: u8,
        value: u16,
    },
}

impl Tokenizer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Value { or_end: false },
            depth: 0,
            objects: 0,
            text: Vec::with_capacity(TEXT_MAX),
            text_is_too_long: false,
        }
    }

    /// Forgets the text being read; a new one begins.
    pub(super) fn reset(&mut self) {
        self.state = State::Value { or_end: false };
        self.depth = 0;
    }

    /// Reads more of the text and reports each token once it is complete.
    pub(super) fn feed(&mut self, bytes: &[u8], mut report: impl FnMut(Token<'_>)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let step = match self.state {
                State::NotJson => return,
                State::InString { role, escape } => self.in_string(role, escape, rest, &mut report),
                State::InNumber(number) => self.in_number(number, byte, &mut report),
                State::InLiteral(literal) => self.in_literal(literal, byte, &mut report),
                State::Value { or_end } => self.value(or_end, byte, &mut report),
                State::Key { or_end } => self.key(or_end, byte, &mut report),
                State::Colon => self.colon(byte),
                State::AfterValue => self.after_value(byte, &mut report),
            };
            let Some(taken) = step else {
                self.state = State::NotJson;
                return;
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    // Each of the following takes some bytes and says how many; `None` means
    // that this is not JSON.

    fn value(
        &mut self,
        or_end: bool,
        byte: u8,
        report: &mut impl FnMut(Token<'_>),
    ) -> Option<usize> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            // Some servers begin with a byte order mark.
            0xef | 0xbb | 0xbf if self.depth == 0 => {}
            b'{' => self.open(Container::Object, report)?,
            b'[' => self.open(Container::Array, report)?,
            b']' if or_end => self.close(report),
            b'"' => self.begin_string(Role::Value),
            b'0' => self.state = State::InNumber(Number::begin(Digits::Zero, Some(0))),
            b'1'..=b'9' => {
                let value = Some(u64::from(byte - b'0'));
                self.state = State::InNumber(Number::begin(Digits::Whole, value));
            }
            b'-' => self.state = State::InNumber(Number::begin(Digits::Minus, None)),
            b't' => self.state = State::InLiteral(b"rue"),
            b'f' => self.state = State::InLiteral(b"alse"),
            b'n' => self.state = State::InLiteral(b"ull"),
            _ => return None,
        }
        Some(1)
    }

    fn key(&mut self, or_end: bool, byte: u8, report: &mut impl FnMut(Token<'_>)) -> Option<usize> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => self.begin_string(Role::Key),
            b'}' if or_end => self.close(report),
            _ => return None,
        }
        Some(1)
    }

    fn colon(&mut self, byte: u8) -> Option<usize> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b':' => self.state = State::Value { or_end: false },
            _ => return None,
        }
        Some(1)
    }

    fn after_value(&mut self, byte: u8, report: &mut impl FnMut(Token<'_>)) -> Option<usize> {
        let container = self.container();
        match (byte, container) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b',', Some(Container::Object)) => self.state = State::Key { or_end: false },
            (b',', Some(Container::Array)) => self.state = State::Value { or_end: false },
            (b'}', Some(Container::Object)) | (b']', Some(Container::Array)) => self.close(report),
            _ => return None,
        }
        Some(1)
    }

    fn in_string(
        &mut self,
        role: Role,
        escape: Escape,
        rest: &[u8],
        report: &mut impl FnMut(Token<'_>),
    ) -> Option<usize> {
        let byte = *rest.first()?;
        let escape = match escape {
            Escape::None => return Some(self.in_plain_string(role, rest, report)),
            Escape::Begun => match byte {
                b'u' => Escape::Unicode {
                    digits: 0,
                    value: 0,
                },
                _ => {
                    self.keep(&[unescape(byte)?]);
                    Escape::None
                }
            },
            Escape::Unicode { digits, value } => {
                let digit = char::from(byte).to_digit(16)?;
                let value = value << 4 | u16::try_from(digit).ok()?;
                match digits {
                    0..=2 => {
                        let digits = digits + 1;
                        Escape::Unicode { digits, value }
                    }
                    _ => {
                        // Half a surrogate pair is no character: no name we
                        // look for is outside the basic plane.
                        let character = char::from_u32(value.into());
                        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                        self.keep(character.encode_utf8(&mut [0; 4]).as_bytes());
                        Escape::None
                    }
                }
            }
        };
        self.state = State::InString { role, escape };
        Some(1)
    }

    /// Takes all up to the next quote or backslash at once.
    fn in_plain_string(
        &mut self,
        role: Role,
        rest: &[u8],
        report: &mut impl FnMut(Token<'_>),
    ) -> usize {
        let Some(at) = memchr::memchr2(b'"', b'\\', rest) else {
            self.keep(rest);
            return rest.len();
        };
        let (plain, mark) = rest.split_at(at);
        self.keep(plain);
        if mark.first() == Some(&b'\\') {
            let escape = Escape::Begun;
            self.state = State::InString { role, escape };
            return at + 1;
        }
        let text = (!self.text_is_too_long).then_some(self.text.as_slice());
        match role {
            Role::Key => {
                report(Token::Key(text));
                self.state = State::Colon;
            }
            Role::Value => {
                report(Token::Text(text));
                self.state = State::AfterValue;
            }
        }
        at + 1
    }

    fn in_number(
        &mut self,
        number: Number,
        byte: u8,
        report: &mut impl FnMut(Token<'_>),
    ) -> Option<usize> {
        if matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') {
            self.state = State::InNumber(number.then(byte)?);
            return Some(1);
        }
        if !number.may_end() {
            return None;
        }
        report(Token::Number(number.value));
        self.state = State::AfterValue;
        Some(0)
    }

    fn in_literal(
        &mut self,
        literal: &'static [u8],
        byte: u8,
        report: &mut impl FnMut(Token<'_>),
    ) -> Option<usize> {
        let (&expected, rest) = literal.split_first()?;
        if byte != expected {
            return None;
        }
        if rest.is_empty() {
            report(Token::Literal);
            self.state = State::AfterValue;
        } else {
            self.state = State::InLiteral(rest);
        }
        Some(1)
    }

    fn open(&mut self, container: Container, report: &mut impl FnMut(Token<'_>)) -> Option<()> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.objects <<= 1;
        report(Token::Open(container));
        self.state = match container {
            Container::Object => {
                self.objects |= 1;
                State::Key { or_end: true }
            }
            Container::Array => State::Value { or_end: true },
        };
        Some(())
    }

    /// The caller has seen that a container is open.
    fn close(&mut self, report: &mut impl FnMut(Token<'_>)) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
        self.state = State::AfterValue;
        report(Token::Close);
    }

    /// The innermost open container.
    fn container(&self) -> Option<Container> {
        match (self.depth, self.objects & 1) {
            (0, _) => None,
            (_, 1) => Some(Container::Object),
            _ => Some(Container::Array),
        }
    }

    fn begin_string(&mut self, role: Role) {
        self.text.clear();
        self.text_is_too_long = false;
        let escape = Escape::None;
        self.state = State::InString { role, escape };
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.text_is_too_long || self.text.len() + bytes.len() > TEXT_MAX {
            self.text_is_too_long = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }
}

impl Number {
    fn begin(digits: Digits, value: Option<u64>) -> Self {
        Self {
            digits,
            value,
            length: 1,
        }
    }

    /// The number with one byte more.
    fn then(self, byte: u8) -> Option<Self> {
        let digits = match (self.digits, byte) {
            (Digits::Minus, b'0') => Digits::Zero,
            (Digits::Minus, b'1'..=b'9') | (Digits::Whole, b'0'..=b'9') => Digits::Whole,
            (Digits::Zero | Digits::Whole, b'.') => Digits::Point,
            (Digits::Point | Digits::Fraction, b'0'..=b'9') => Digits::Fraction,
            (Digits::Zero | Digits::Whole | Digits::Fraction, b'e' | b'E') => Digits::E,
            (Digits::E, b'+' | b'-') => Digits::ExponentSign,
            (Digits::E | Digits::ExponentSign | Digits::Exponent, b'0'..=b'9') => Digits::Exponent,
            _ => return None,
        };
        let value = if let Digits::Whole = digits {
            let shifted = self.value.and_then(|value| value.checked_mul(10));
            shifted.and_then(|value| value.checked_add(u64::from(byte - b'0')))
        } else {
            None
        };
        let length = self.length + 1;
        (length <= NUMBER_MAX).then_some(Self {
            digits,
            value,
            length,
        })
    }

    fn may_end(self) -> bool {
        match self.digits {
            Digits::Zero | Digits::Whole | Digits::Fraction | Digits::Exponent => true,
            Digits::Minus | Digits::Point | Digits::E | Digits::ExponentSign => false,
        }
    }
}

/// The character that a backslash and this byte stand for.
fn unescape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
