//! Files with a document on each line, of any length: they are never held as a
//! whole.

use std::fs;
use std::io::{self, BufReader, Read};

use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::jsonl::{Lines, Record};
use ginnel_ingest::walk::Entry;
use ginnel_store::document::{NewDocument, NewVectors, Span};
use ginnel_store::ingest::{File, PART};
use tokio::sync::mpsc;

use super::{Piece, Reading, changing, send, settled};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

impl Reading {
    /// Sends a document for each line. A line that is none is told, and the
    /// next one follows.
    pub(super) fn read_records(
        &self,
        path: &str,
        entry: &Entry,
        to: &mpsc::Sender<Piece>,
    ) -> Result<Option<File>, Error> {
        let unreadable = |error: io::Error| Error::new(ErrorKind::Unreadable, error.to_string());
        let opened = fs::File::open(&entry.path).map_err(unreadable)?;
        let before = opened.metadata().map_err(unreadable)?;
        if !before.is_file() {
            return Err(Error::new(ErrorKind::Unsupported, "not a file"));
        }
        let mut hashing = Hashing {
            file: &opened,
            hasher: blake3::Hasher::new(),
        };
        let source = self.folder.source(path);
        for record in Lines::new("", BufReader::with_capacity(BUFFER, &mut hashing)) {
            let piece = match record.and_then(|record| self.document_of(&source, record)) {
                Ok(document) => Piece::Document(Box::new(document)),
                // The lines after it are unread, and not gone.
                Err(error) if error.kind() == ErrorKind::Unreadable => return Err(error),
                Err(error) => Piece::Problem(error),
            };
            if send(to, piece).is_err() {
                return Ok(None);
            }
        }
        let hash = *hashing.hasher.finalize().as_bytes();
        let after = opened.metadata().map_err(unreadable)?;
        let is_same =
            before.len() == after.len() && before.modified().ok() == after.modified().ok();
        if !is_same {
            return Err(changing());
        }
        Ok(Some(File {
            path: path.to_owned(),
            root: self.root_name.clone(),
            size: after.len(),
            mtime_ns: settled(entry.mtime_ns),
            hash,
            tokens_max: self.cutting.tokens_max(),
            vectors: self.vectors.as_ref().map(|model| model.id),
        }))
    }

    fn document_of(&self, source: &str, record: Record) -> Result<NewDocument, Error> {
        let Record {
            line,
            key,
            document,
            vector,
            ..
        } = record;
        let part = key.unwrap_or_else(|| line.to_string());
        let source = format!("{source}{PART}{part}");
        let collection = self.folder.collection.clone();
        let mut new = self.cutting.document(collection, Some(source), document)?;
        if let (Some(vector), Some(model)) = (vector, &self.vectors) {
            // The vector is of all of the text.
            new.passages = vec![Span {
                start: 0,
                end: new.text.len(),
            }];
            new.vectors = Some(NewVectors {
                model: model.id,
                vectors: vec![vector],
            });
        }
        Ok(new)
    }
}

/// Hashes a file while it is read.
struct Hashing<'a> {
    file: &'a fs::File,
    hasher: blake3::Hasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
