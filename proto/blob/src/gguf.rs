//! GGUF, versions 2 and 3, little-endian.
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! ```text
//! "GGUF" · version u32 · tensors u64 · pairs u64
//! pairs:   key string · type u32 · value
//! tensors: name string · dimensions u32 · sizes u64… · type u32 · offset u64
//! padding to the alignment · numbers
//! ```
//!
//! A string is a u64 length and its bytes. Nothing is allocated on the word
//! of a length alone, and tables of words are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::format::{FormatError, Header};
use crate::tensor::{Tensor, count};

/// The first bytes of every file.
pub(crate) const MAGIC: &[u8] = b"GGUF";

/// The longest header, in bytes. Vocabularies of 256,000 words take 10 MB.
const HEADER_MAX: u64 = 256 << 20;

/// Most pairs, and most tensors. Models of today have hundreds of the one and
/// thousands of the other.
const ENTRIES_MAX: u64 = 1 << 17;

/// The longest key or tensor's name, in bytes, as the format says.
const NAME_MAX: u64 = u16::MAX as u64;

/// Most of a text that is kept for people, in bytes.
const TEXT_MAX: u64 = 4096;

/// Most dimensions of a tensor; the format has 4 today.
const DIMENSIONS_MAX: u32 = 8;

/// Deepest nesting of arrays.
const DEPTH_MAX: u32 = 4;

/// Reads and checks the header of a file of `size` bytes.
///
/// # Errors
/// The file cannot be read or is cut short, or its header is not one: another
/// version, a name twice, places that overlap or do not fit.
pub fn read(from: &mut impl Read, size: u64) -> Result<Header, FormatError> {
    let mut reader = Reader {
        from,
        size,
        position: 0,
    };
    if reader.bytes::<4>()? != MAGIC {
        return Err(wrong("magic"));
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        // A big-endian file has its version turned round.
        return Err(wrong(format!("version, version={version}, known=2 and 3")));
    }
    let tensors = reader.u64()?;
    let pairs = reader.u64()?;
    if tensors > ENTRIES_MAX || pairs > ENTRIES_MAX {
        return Err(wrong(format!(
            "too many entries, tensors={tensors}, pairs={pairs}, limit={ENTRIES_MAX}"
        )));
    }
    let metadata = read_pairs(&mut reader, pairs)?;
    let alignment = alignment(&metadata)?;
    let mut found = Vec::new();
    for _ in 0..tensors {
        found.push(read_tensor(&mut reader)?);
    }
    let start = reader.position.next_multiple_of(alignment);
    if start > size && tensors > 0 {
        return Err(reader.short("header", start));
    }
    let tensors = place(found, start, alignment, size)?;
    Header::new(start.min(size), metadata, tensors, size)
}

fn wrong(reason: impl Into<String>) -> FormatError {
    FormatError::Header(reason.into())
}

fn read_pairs<R: Read>(
    reader: &mut Reader<'_, R>,
    pairs: u64,
) -> Result<BTreeMap<String, String>, FormatError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..pairs {
        let key = reader.name("key")?;
        let kind = reader.u32()?;
        let value = reader.value(kind, 0)?;
        if let Some(_twice) = metadata.insert(key.clone(), value) {
            return Err(wrong(format!("a key twice, key={}", key.escape_debug())));
        }
    }
    Ok(metadata)
}

/// What numbers' places are multiples of: 32 unless the file says otherwise.
fn alignment(metadata: &BTreeMap<String, String>) -> Result<u64, FormatError> {
    let Some(text) = metadata.get("general.alignment") else {
        return Ok(32);
    };
    match text.parse::<u64>() {
        Ok(alignment @ 1..=65_536) if alignment.is_power_of_two() => Ok(alignment),
        _ => Err(wrong(format!("alignment, value={}", text.escape_debug()))),
    }
}

/// A tensor as the header tells of it.
#[derive(Debug)]
struct Entry {
    name: String,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

fn read_tensor<R: Read>(reader: &mut Reader<'_, R>) -> Result<Entry, FormatError> {
    let name = reader.name("tensor's name")?;
    let dimensions = reader.u32()?;
    if dimensions > DIMENSIONS_MAX {
        let name = name.escape_debug();
        let reason = format!("dimensions of a tensor, name={name}, dimensions={dimensions}");
        return Err(wrong(reason));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(reader.u64()?);
    }
    // The format begins with the innermost.
    shape.reverse();
    Ok(Entry {
        name,
        shape,
        kind: reader.u32()?,
        offset: reader.u64()?,
    })
}

/// The tensors with their places in the file. A type that came later ends
/// where the next tensor begins.
fn place(
    mut entries: Vec<Entry>,
    start: u64,
    alignment: u64,
    size: u64,
) -> Result<Vec<Tensor>, FormatError> {
    entries.sort_by_key(|entry| entry.offset);
    let mut names = BTreeSet::new();
    let begins: Vec<u64> = entries.iter().map(|entry| entry.offset).collect();
    let mut tensors = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let name = entry.name.escape_debug().to_string();
        if !names.insert(name.clone()) {
            return Err(wrong(format!("a name twice, name={name}")));
        }
        if entry.offset % alignment != 0 {
            let offset = entry.offset;
            return Err(wrong(format!(
                "place of a tensor, name={name}, offset={offset}, alignment={alignment}"
            )));
        }
        let begin = start.checked_add(entry.offset);
        let (kind, block) = kind(entry.kind);
        let end = match (block, begins.get(index + 1)) {
            (Some(block), _) => {
                let length = length(&entry.shape, block);
                begin
                    .zip(length)
                    .and_then(|(begin, length)| begin.checked_add(length))
            }
            (None, Some(next)) => start.checked_add(*next),
            (None, None) => Some(size),
        };
        let (Some(begin), Some(end)) = (begin, end) else {
            let shape = &entry.shape;
            return Err(wrong(format!(
                "length of a tensor, name={name}, type={kind}, shape={shape:?}"
            )));
        };
        tensors.push(Tensor {
            name: entry.name,
            kind,
            shape: entry.shape,
            place: begin..end,
        });
    }
    Ok(tensors)
}

/// Bytes of a tensor. Rows are whole blocks.
fn length(shape: &[u64], (numbers, bytes): (u64, u64)) -> Option<u64> {
    let row = shape.last().copied().unwrap_or(1);
    if row % numbers != 0 {
        return None;
    }
    (count(shape)? / numbers).checked_mul(bytes)
}

/// The name of a type, and how many numbers a block has and how many bytes
/// that takes. The names and sizes are those of `ggml.h`.
fn kind(number: u32) -> (String, Option<(u64, u64)>) {
    let (name, numbers, bytes) = match number {
        0 => ("F32", 1, 4),
        1 => ("F16", 1, 2),
        2 => ("Q4_0", 32, 18),
        3 => ("Q4_1", 32, 20),
        6 => ("Q5_0", 32, 22),
        7 => ("Q5_1", 32, 24),
        8 => ("Q8_0", 32, 34),
        10 => ("Q2_K", 256, 84),
        11 => ("Q3_K", 256, 110),
        12 => ("Q4_K", 256, 144),
        13 => ("Q5_K", 256, 176),
        14 => ("Q6_K", 256, 210),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        24 => ("I8", 1, 1),
        25 => ("I16", 1, 2),
        26 => ("I32", 1, 4),
        27 => ("I64", 1, 8),
        28 => ("F64", 1, 8),
        29 => ("IQ1_M", 256, 56),
        30 => ("BF16", 1, 2),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        39 => ("MXFP4", 32, 17),
        40 => ("NVFP4", 64, 36),
        41 => ("Q1_0", 128, 18),
        other => return (format!("type {other}"), None),
    };
    (name.into(), Some((numbers, bytes)))
}

/// Counts what it reads, so that no length is believed beyond the file's end.
struct Reader<'a, R> {
    from: &'a mut R,
    size: u64,
    position: u64,
}

impl<R: Read> Reader<'_, R> {
    fn short(&self, what: &str, needed: u64) -> FormatError {
        FormatError::Short {
            what: what.into(),
            size: self.size,
            needed,
        }
    }

    /// Goes on by so many bytes, all of which the file must have.
    fn advance(&mut self, length: u64, what: &str) -> Result<(), FormatError> {
        let end = self.position.saturating_add(length);
        if end > self.size {
            return Err(self.short(what, end));
        }
        if end > HEADER_MAX {
            return Err(wrong(format!("header is too long, limit={HEADER_MAX}")));
        }
        self.position = end;
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.advance(N as u64, "header")?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), FormatError> {
        self.advance(length, "header")?;
        let skipped = io::copy(&mut self.from.take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// At most `limit` bytes of a string; the rest is passed over.
    fn string(&mut self, limit: u64) -> Result<Vec<u8>, FormatError> {
        let length = self.u64()?;
        let kept = length.min(limit);
        self.advance(kept, "string")?;
        let mut bytes = Vec::new();
        self.from.take(kept).read_to_end(&mut bytes)?;
        self.skip(length - kept)?;
        Ok(bytes)
    }

    fn name(&mut self, what: &str) -> Result<String, FormatError> {
        // One more shows that it is too long.
        let name = self.string(NAME_MAX + 1)?;
        if name.len() as u64 > NAME_MAX {
            return Err(wrong(format!("{what} is too long, limit={NAME_MAX}")));
        }
        String::from_utf8(name).map_err(|_| wrong(format!("{what} is not UTF-8")))
    }

    /// A value as a text for people.
    fn value(&mut self, kind: u32, depth: u32) -> Result<String, FormatError> {
        match kind {
            0 => self.bytes::<1>().map(|[byte]| byte.to_string()),
            1 => self.bytes().map(|byte| i8::from_le_bytes(byte).to_string()),
            2 => self
                .bytes()
                .map(|bytes| u16::from_le_bytes(bytes).to_string()),
            3 => self
                .bytes()
                .map(|bytes| i16::from_le_bytes(bytes).to_string()),
            4 => self.u32().map(|number| number.to_string()),
            5 => self
                .bytes()
                .map(|bytes| i32::from_le_bytes(bytes).to_string()),
            6 => self
                .bytes()
                .map(|bytes| f32::from_le_bytes(bytes).to_string()),
            7 => self.bytes::<1>().map(|[byte]| (byte != 0).to_string()),
            8 => {
                let text = self.string(TEXT_MAX)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            9 => self.array(depth),
            10 => self.u64().map(|number| number.to_string()),
            11 => self
                .bytes()
                .map(|bytes| i64::from_le_bytes(bytes).to_string()),
            12 => self
                .bytes()
                .map(|bytes| f64::from_le_bytes(bytes).to_string()),
            other => Err(wrong(format!("type of a value, type={other}"))),
        }
    }

    /// Passes an array over and tells how long it is.
    fn array(&mut self, depth: u32) -> Result<String, FormatError> {
        if depth >= DEPTH_MAX {
            return Err(wrong(format!("arrays in arrays, limit={DEPTH_MAX}")));
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        let width = match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        match width {
            Some(width) => self.skip(length.saturating_mul(width))?,
            None => {
                for _ in 0..length {
                    if kind == 8 {
                        let bytes = self.u64()?;
                        self.skip(bytes)?;
                    } else {
                        self.value(kind, depth + 1)?;
                    }
                }
            }
        }
        Ok(format!("{length} values"))
    }
}

#[cfg(test)]
mod tests;
