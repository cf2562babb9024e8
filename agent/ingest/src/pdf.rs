//! The text of PDF files.
//!
//! A PDF says where each letter stands on the paper, and no more. The letters
//! are put together to lines, lines to paragraphs, and larger letters taken
//! for headings, in the order in which the file draws them: that is the order
//! of reading in what word processors, browsers and TeX write, columns
//! included.
//!
//! A file made to harm can keep its reader busy for ever or make it take all
//! memory. [`extract`] is for a process of its own, which [`child`] starts,
//! confines and listens to.

pub mod child;

mod content;
mod flow;
mod line;
mod running_head;
mod string;

use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use serde_json::{Map, Value};

use crate::document::{Draft, Extracted, tidy_title};
use crate::error::{Error, ErrorKind};
use crate::extract::finish;
use crate::format::{Format, file_name};
use crate::metadata;

use content::Reader;
use line::Lines;

/// Reads the text out of a PDF. May panic, loop or take all memory when the
/// file was made for that.
///
/// # Errors
///
/// `Invalid` if it is no PDF that can be read, is locked with a password, or
/// does not say which letters it shows; `Empty` if it has no text, as scanned
/// pages; `TooLarge` over [`crate::limits::TEXT_BYTES_MAX`].
pub fn extract(bytes: &[u8]) -> Result<Extracted, Error> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(refuse)?;
    let mut lines = Lines::default();
    let mut reader = Reader::new();
    for (number, page) in pdf.pages().iter().enumerate() {
        lines.begin_page(number);
        reader.read_page(page, &mut lines)?;
    }
    if reader.unknown > lines.known {
        let reason = format!(
            "its fonts do not say which letters they show, unknown={}, known={}",
            reader.unknown, lines.known
        );
        return Err(Error::new(ErrorKind::Invalid, reason));
    }
    let mut draft = Draft::default();
    flow::add(lines.finish(), &mut draft)?;
    let (own_title, metadata) = about(&pdf);
    let title = own_title.or_else(|| draft.first_heading().and_then(tidy_title));
    let (text, blocks) = draft.finish();
    finish(Extracted {
        title,
        mime: Format::Pdf.mime(),
        text,
        metadata,
        blocks,
        replaced: 0,
    })
}

fn refuse(error: LoadPdfError) -> Error {
    let reason = match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            "it is locked with a password"
        }
        LoadPdfError::Decryption(
            DecryptionError::MissingIDEntry
            | DecryptionError::InvalidEncryption
            | DecryptionError::UnsupportedAlgorithm,
        ) => "its encryption is broken or unknown",
        LoadPdfError::Invalid => "it is not a valid PDF",
    };
    Error::new(ErrorKind::Invalid, reason)
}

/// Title and metadata from the document's information dictionary.
fn about(pdf: &Pdf) -> (Option<String>, Map<String, Value>) {
    let about = pdf.metadata();
    let read = |field: &Option<Box<[u8]>>| field.as_deref().and_then(string::decode);
    let mut pairs = Map::new();
    let fields = [
        ("author", &about.author),
        ("subject", &about.subject),
        ("keywords", &about.keywords),
    ];
    for (key, field) in fields {
        if let Some(value) = read(field) {
            metadata::add(&mut pairs, key.into(), Value::String(value));
        }
    }
    metadata::add(&mut pairs, "pages".into(), pdf.pages().len().into());
    let title = read(&about.title).filter(|title| is_title(title));
    (title.as_deref().and_then(tidy_title), pairs)
}

/// Whether it was written by a person: programs put a file's name there.
fn is_title(title: &str) -> bool {
    let lower = title.to_lowercase();
    let is_file = file_name(&lower)
        .rsplit_once('.')
        .is_some_and(|(stem, extension)| {
            !stem.contains(' ') && (2..=5).contains(&extension.len()) && !extension.contains(' ')
        });
    !is_file && !lower.starts_with("untitled") && !lower.starts_with("microsoft word -")
}

#[cfg(test)]
mod tests;
