//! The bytes of a file to its text: the way every format goes.

use std::borrow::Cow;

use serde_json::Map;

use crate::code;
use crate::decode::{Decoded, decode};
use crate::document::{Block, Draft, Extracted, check_length, tidy_title};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::html;
use crate::limits::FILE_BYTES_MAX;
use crate::markdown;
use crate::text;

/// Reads the text out of a file of any kind but two: PDF, which is read in a
/// process of its own ([`crate::pdf`]), and JSON Lines, which are many
/// documents ([`crate::jsonl`]). `name` is its path or its last part.
///
/// # Errors
///
/// With `name` as the item. `Empty` if nothing in it shows, `Unsupported` if
/// it is not text (or of the two kinds above), `Invalid` if it is not UTF-8
/// but for a few bytes, `TooLarge` over [`FILE_BYTES_MAX`] or
/// [`crate::limits::TEXT_BYTES_MAX`].
pub fn extract(name: &str, bytes: &[u8]) -> Result<Extracted, Error> {
    read(name, bytes).map_err(|error| error.of(name))
}

fn read(name: &str, bytes: &[u8]) -> Result<Extracted, Error> {
    if bytes.len() > FILE_BYTES_MAX {
        let reason = format!(
            "file is too large, size={}, limit={FILE_BYTES_MAX}",
            bytes.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, reason));
    }
    let format = Format::of(name, bytes)?;
    let extracted = match format {
        Format::Text => read_text(decode(bytes)?),
        Format::Code => code::read(name, decode(bytes)?),
        Format::Markdown => markdown::read(decode(bytes)?),
        Format::Html => html::read(bytes),
        Format::JsonLines => return unsupported("lines of JSON are many documents"),
        Format::Pdf => return unsupported("a PDF is read in a process of its own"),
    }?;
    finish(Extracted {
        mime: format.mime(),
        ..extracted
    })
}

fn read_text(decoded: Decoded<'_>) -> Result<Extracted, Error> {
    let blocks = text::blocks(&decoded.text);
    let title = text::title(&decoded.text, &blocks).and_then(tidy_title);
    Ok(from_source(title, decoded, blocks))
}

/// A document whose text is the source itself.
pub(crate) fn from_source(
    title: Option<String>,
    decoded: Decoded<'_>,
    blocks: Vec<Block>,
) -> Extracted {
    Extracted {
        title,
        mime: Format::Text.mime(),
        text: decoded.text.into_owned(),
        metadata: Map::new(),
        blocks,
        replaced: decoded.replaced,
    }
}

/// A document whose text was made from its source.
pub(crate) fn from_draft(title: Option<String>, draft: Draft) -> Extracted {
    let (text, blocks) = draft.finish();
    Extracted {
        title,
        mime: Format::Text.mime(),
        text,
        metadata: Map::new(),
        blocks,
        replaced: 0,
    }
}

/// The blocks of a plain text that came without a file.
pub(crate) fn from_plain(title: Option<String>, text: &str) -> Result<Extracted, Error> {
    let text = crate::decode::normalize(Cow::Borrowed(text));
    finish(
        read_text(Decoded { text, replaced: 0 }).map(|read| Extracted {
            title: title.or(read.title),
            ..read
        })?,
    )
}

pub(crate) fn finish(extracted: Extracted) -> Result<Extracted, Error> {
    if extracted.blocks.is_empty() {
        return Err(Error::new(ErrorKind::Empty, "no text in it"));
    }
    check_length(extracted.text.len())?;
    Ok(extracted)
}

fn unsupported(reason: &str) -> Result<Extracted, Error> {
    Err(Error::new(ErrorKind::Unsupported, reason))
}
