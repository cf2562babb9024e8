//! JSON Lines: one document a line.
//!
//! ```json
//! {"id": "a1", "text": "…", "title": "…", "metadata": {"lang": "en"}, "vector": [0.1, …]}
//! ```
//!
//! Only `text` must be there. `id` (or `key`) is a string or whole number by
//! which the document is put again; `vector` is its embedding, if the caller
//! has made one. Other fields count as metadata, as far as the limits allow;
//! those in `metadata` come first.

mod fields;

use std::io::{BufRead, ErrorKind as IoErrorKind};

use crate::document::{Extracted, tidy_title};
use crate::error::{Error, ErrorKind};
use crate::extract::from_plain;
use crate::format::Format;
use crate::limits::LINE_BYTES_MAX;

use fields::Fields;

/// One line's document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The line it stands on, from 1.
    pub line: u64,
    /// What the caller calls it.
    pub key: Option<String>,
    /// Its text with title and metadata.
    pub document: Extracted,
    /// Its embedding: at least one number, all finite.
    pub vector: Option<Vec<f32>>,
}

/// The records of a file or stream, read as they are asked for.
///
/// A line that is no document is an error with `NAME:LINE` as its item, and
/// the next line follows. A line over [`LINE_BYTES_MAX`] is passed by without
/// being held. After an error of the stream itself (`Unreadable`) nothing
/// follows. Blank lines are none.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    name: String,
    line: u64,
    bytes: Vec<u8>,
    is_over: bool,
}

impl<R: BufRead> Lines<R> {
    /// `name` is the file's, for errors.
    #[must_use]
    pub fn new(name: &str, reader: R) -> Self {
        Self {
            reader,
            name: name.to_owned(),
            line: 0,
            bytes: Vec::new(),
            is_over: false,
        }
    }

    /// Reads one line without its end into `bytes`. False after the last.
    fn read_line(&mut self) -> Result<bool, Error> {
        self.bytes.clear();
        let mut is_long = false;
        let mut is_begun = false;
        loop {
            let read = match self.reader.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == IoErrorKind::Interrupted => continue,
                Err(error) => {
                    self.is_over = true;
                    return Err(Error::new(ErrorKind::Unreadable, error.to_string()));
                }
            };
            if read.is_empty() {
                self.is_over = true;
                break;
            }
            is_begun = true;
            let line_end = memchr::memchr(b'\n', read);
            let part = line_end.and_then(|at| read.get(..at)).unwrap_or(read);
            is_long |= self.bytes.len().saturating_add(part.len()) > LINE_BYTES_MAX;
            if is_long {
                self.bytes = Vec::new();
            } else {
                self.bytes.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(line_end.is_some());
            self.reader.consume(consumed);
            if line_end.is_some() {
                break;
            }
        }
        if is_long {
            let reason = format!("line is too long, limit={LINE_BYTES_MAX}");
            return Err(Error::new(ErrorKind::TooLarge, reason));
        }
        Ok(is_begun)
    }

    fn read(&self) -> Result<Record, Error> {
        let bytes = match self.bytes.as_slice() {
            [0xef, 0xbb, 0xbf, rest @ ..] if self.line == 1 => rest,
            bytes => bytes,
        };
        let line = std::str::from_utf8(bytes).map_err(|error| {
            let reason = format!("line is not valid UTF-8, first_at={}", error.valid_up_to());
            Error::new(ErrorKind::Invalid, reason)
        })?;
        let fields = Fields::parse(line)?;
        let title = fields.title.as_deref().and_then(tidy_title);
        let document = from_plain(title, &fields.text)?;
        Ok(Record {
            line: self.line,
            key: fields.key,
            vector: fields.vector,
            document: Extracted {
                mime: Format::Text.mime(),
                metadata: fields.metadata,
                ..document
            },
        })
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            self.line = self.line.saturating_add(1);
            let record = match self.read_line() {
                Ok(false) => return None,
                Ok(true) if self.bytes.trim_ascii().is_empty() => continue,
                Ok(true) => self.read(),
                Err(error) => Err(error),
            };
            let at = || format!("{}:{}", self.name, self.line);
            return Some(record.map_err(|error| error.of(at())));
        }
        None
    }
}

#[cfg(test)]
mod tests;
