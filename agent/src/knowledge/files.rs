//! Reads the files of a folder and cuts them into passages. Blocking: it has a
//! thread of its own.

mod cutting;
mod extract;
mod records;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::format::Format;
use ginnel_ingest::limits::FILE_BYTES_MAX;
use ginnel_ingest::read_stable::read_stable;
use ginnel_ingest::walk::{Entry, Rules, walk};
use ginnel_store::document::NewDocument;
use ginnel_store::ingest::{File, Folder};
use ginnel_store::model::Model;
use serde_json::json;
use tokio::sync::mpsc;

use super::add::Event;

pub(super) use cutting::Cutting;
pub(crate) use extract::PDF_COMMAND;
pub(super) use extract::extract;

/// A file that was written to so shortly before it was read may be written to
/// again without its time changing; it is read again the next time.
const SETTLED_NS: i64 = 2_000_000_000;

/// Documents of one file that are read ahead of being stored.
const PIECES: usize = 32;

/// A folder to be read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) root: PathBuf,
    pub(super) rules: Rules,
    pub(super) folder: Folder,
    /// The root as text.
    pub(super) root_name: String,
    /// The files as they were last time.
    pub(super) known: HashMap<String, File>,
    pub(super) cutting: Cutting,
    /// Which model made the vectors that come with records.
    pub(super) vectors: Option<Model>,
    /// Set when nobody waits any more.
    pub(super) stop: Arc<AtomicBool>,
}

/// What reading gives.
#[derive(Debug)]
pub(super) enum Read {
    /// Only something to tell.
    Event(Event),
    /// A file that is not as it was, piece by piece.
    File {
        path: String,
        pieces: mpsc::Receiver<Piece>,
    },
}

/// A part of what a file holds. Without an end, the file was not read to its
/// end.
#[derive(Debug)]
pub(super) enum Piece {
    Document(Box<NewDocument>),
    /// What is wrong with a part of it, or why all of it could not be read.
    Problem(Error),
    /// All of it was read and none of it is a text, which it was before.
    NoText(Error),
    /// There is no more.
    End(File),
}

/// Reads every file of the folder that is not as it was. Gives the paths of
/// files that are gone: none if the folder was not looked at to its end.
pub(super) fn read_all(reading: &Reading, found: &mpsc::Sender<Read>) -> Vec<String> {
    let (mut files, mut bytes) = (0, 0);
    for entry in walk(&reading.root, reading.rules).flatten() {
        files += 1;
        bytes += entry.size;
    }
    if send(found, Read::Event(Event::Counted { files, bytes })).is_err() {
        return Vec::new();
    }
    let is_file = reading.root.is_file();
    let mut left = reading.known.clone();
    let mut unreadable = Vec::new();
    let mut walk = walk(&reading.root, reading.rules);
    for entry in &mut walk {
        if reading.stop.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let done = match entry {
            Ok(entry) => {
                let path = if is_file {
                    String::new()
                } else {
                    entry.relative.clone()
                };
                let known = left.remove(&path);
                reading.read(path, &entry, known.as_ref(), found)
            }
            Err(error) => {
                // The folder itself is named by all of its path.
                let is_root = error.item() == reading.root_name;
                unreadable.push(if is_root { "" } else { error.item() }.to_owned());
                let source = reading.folder.source(error.item());
                send(found, Read::Event(Event::of_error(source, &error)))
            }
        };
        if done.is_err() {
            return Vec::new();
        }
    }
    if walk.is_cut_short() {
        return Vec::new();
    }
    // What is below a folder that could not be read is not gone for that.
    let is_gone = |path: &String| !unreadable.iter().any(|folder| is_below(path, folder));
    left.into_keys().filter(is_gone).collect()
}

fn is_below(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || folder.is_empty() || rest.starts_with('/'))
}

/// Nobody waits for what is read.
pub(super) struct Unwanted;

fn send<T>(to: &mpsc::Sender<T>, what: T) -> Result<(), Unwanted> {
    to.blocking_send(what).map_err(|_| Unwanted)
}

impl Reading {
    fn read(
        &self,
        path: String,
        entry: &Entry,
        known: Option<&File>,
        found: &mpsc::Sender<Read>,
    ) -> Result<(), Unwanted> {
        let is_records = Format::of(&entry.relative, &[]) == Ok(Format::JsonLines);
        let vectors = self.vectors.as_ref().filter(|_| is_records);
        let vectors = vectors.map(|model| model.id);
        let is_as_it_was =
            |known: &File| self.is_as_it_was(known, entry) && known.vectors == vectors;
        if known.is_some_and(is_as_it_was) {
            return send(
                found,
                Read::Event(Event::unchanged(self.folder.source(&path))),
            );
        }
        let (to, pieces) = mpsc::channel(PIECES);
        let file = Read::File {
            path: path.clone(),
            pieces,
        };
        send(found, file)?;
        let done = match is_records {
            true => self.read_records(&path, entry, &to),
            false => self.read_whole(&path, entry, &to),
        };
        match done {
            Ok(Some(file)) => send(&to, Piece::End(file)),
            Ok(None) => Err(Unwanted),
            Err(error) if known.is_some() && is_of_content(&error) => {
                send(&to, Piece::NoText(error))
            }
            Err(error) => send(&to, Piece::Problem(error)),
        }
    }

    /// Whether nothing has been written to it, and its passages are not longer
    /// than the model reads now.
    fn is_as_it_was(&self, known: &File, entry: &Entry) -> bool {
        (known.size, known.mtime_ns) == (entry.size, entry.mtime_ns)
            && known.tokens_max <= self.cutting.tokens_max()
    }

    /// A file that is one document.
    fn read_whole(
        &self,
        path: &str,
        entry: &Entry,
        to: &mpsc::Sender<Piece>,
    ) -> Result<Option<File>, Error> {
        let snapshot = read_stable(&entry.path, FILE_BYTES_MAX)?;
        let file = File {
            path: path.to_owned(),
            root: self.root_name.clone(),
            size: snapshot.bytes.len() as u64,
            mtime_ns: settled(snapshot.mtime_ns),
            hash: *blake3::hash(&snapshot.bytes).as_bytes(),
            tokens_max: self.cutting.tokens_max(),
            vectors: None,
        };
        let extracted = extract(&entry.relative, &snapshot.bytes)?;
        let source = Some(self.folder.source(path));
        let collection = self.folder.collection.clone();
        let mut document = self.cutting.document(collection, source, extracted)?;
        if let Some(date) = date(snapshot.mtime_ns) {
            document.metadata.entry("modified").or_insert(json!(date));
        }
        let sent = send(to, Piece::Document(Box::new(document)));
        Ok(sent.ok().map(|()| file))
    }
}

/// Whether it says what the file holds, and not merely that it cannot be read
/// now or by us.
fn is_of_content(error: &Error) -> bool {
    // Any other may pass, or be a limit of ours.
    matches!(
        error.kind(),
        ErrorKind::Empty | ErrorKind::Unsupported | ErrorKind::Invalid
    )
}

/// The time by which a file is known again; none that comes again if it was
/// written to a moment ago.
fn settled(mtime_ns: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    if now.saturating_sub(mtime_ns) < SETTLED_NS {
        -1
    } else {
        mtime_ns
    }
}

/// The day and second, in UTC: `2026-11-21T21:30:00Z`.
fn date(mtime_ns: i64) -> Option<String> {
    let seconds = mtime_ns.div_euclid(1_000_000_000);
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    time.format(&time::format_description::well_known::Rfc3339)
        .ok()
}

/// A file that changed while it was read.
fn changing() -> Error {
    Error::new(ErrorKind::Changing, "file changes while it is read")
}
