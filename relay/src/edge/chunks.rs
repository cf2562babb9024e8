//! A body in chunks (RFC 9112 §7.1), read byte by byte.

/// Longest chunk-size line with extensions, and longest trailer section, in
/// bytes.
pub(super) const CHUNK_LINE_MAX: usize = 4 * 1024;

/// Most digits of a chunk size: 60 bits, far above any real chunk.
const DIGITS_MAX: u8 = 15;

/// Where a body in chunks stands, outside the chunks' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In a chunk-size line: `digits` were read, `seen` bytes in all.
    Size {
        size: u64,
        digits: u8,
        seen: usize,
        part: SizePart,
    },
    /// In the line end after a chunk's data; `cr` was read.
    End { cr: bool },
    /// In the trailer section: `line` bytes of this line, `seen` in all.
    Trailers { line: usize, cr: bool, seen: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SizePart {
    Digits,
    Extension,
    Cr,
}

/// What comes after a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// More of the same.
    Framing(Chunks),
    /// So many bytes of a chunk's data, then [`Chunks::after_data`].
    Data(u64),
    /// The body is over.
    Done,
}

impl Chunks {
    /// Before the first chunk, or between two.
    pub(super) const fn start() -> Self {
        Self::Size {
            size: 0,
            digits: 0,
            seen: 0,
            part: SizePart::Digits,
        }
    }

    /// Behind a chunk's data.
    pub(super) const fn after_data() -> Self {
        Self::End { cr: false }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(super) fn byte(self, byte: u8) -> Result<Next, &'static str> {
        match self {
            Self::Size {
                size,
                digits,
                seen,
                part,
            } => {
                if seen > CHUNK_LINE_MAX {
                    return Err("chunk-size line is too long");
                }
                let size_line = |size, digits, part| {
                    let seen = seen + 1;
                    Ok(Next::Framing(Self::Size {
                        size,
                        digits,
                        seen,
                        part,
                    }))
                };
                match (part, byte) {
                    (SizePart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                        if digits == DIGITS_MAX {
                            return Err("chunk size is too large");
                        }
                        let digit = char::from(byte).to_digit(16).unwrap_or_default();
                        size_line(size * 16 + u64::from(digit), digits + 1, part)
                    }
                    (SizePart::Digits, _) if digits == 0 => Err("chunk size is missing"),
                    (SizePart::Digits, b';') => size_line(size, digits, SizePart::Extension),
                    (SizePart::Digits | SizePart::Extension, b'\r') => {
                        size_line(size, digits, SizePart::Cr)
                    }
                    (SizePart::Extension, b'\n' | 0) => Err("chunk extension is not valid"),
                    (SizePart::Extension, _) => size_line(size, digits, part),
                    (SizePart::Cr, b'\n') if size == 0 => Ok(Next::Framing(Self::Trailers {
                        line: 0,
                        cr: false,
                        seen: 0,
                    })),
                    (SizePart::Cr, b'\n') => Ok(Next::Data(size)),
                    (SizePart::Digits | SizePart::Cr, _) => Err("chunk size is not valid"),
                }
            }
            Self::End { cr } => match (cr, byte) {
                (false, b'\r') => Ok(Next::Framing(Self::End { cr: true })),
                (true, b'\n') => Ok(Next::Framing(Self::start())),
                _ => Err("chunk does not end with CRLF"),
            },
            Self::Trailers { line, cr, seen } => {
                if seen > CHUNK_LINE_MAX {
                    return Err("trailers are too long");
                }
                let trailers = |line, cr| {
                    let seen = seen + 1;
                    Ok(Next::Framing(Self::Trailers { line, cr, seen }))
                };
                match (cr, byte) {
                    (true, b'\n') if line == 0 => Ok(Next::Done),
                    (true, b'\n') => trailers(0, false),
                    (false, b'\r') => trailers(line, true),
                    (true, _) | (false, b'\n' | 0) => Err("trailer line is not valid"),
                    (false, b' ' | b'\t') if line == 0 => Err("trailer line is folded"),
                    (false, _) => trailers(line + 1, cr),
                }
            }
        }
    }
}
