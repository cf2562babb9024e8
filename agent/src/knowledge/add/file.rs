//! Stores what a file holds, piece by piece, and remembers the file.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ginnel_store::document::{Outcome, Stored};
use ginnel_store::error::{Error, ErrorKind};
use ginnel_store::id::DocumentId;
use ginnel_store::ingest::{NEVER_READ, Origin};
use tokio::sync::mpsc;

use super::{AT_ONCE, AddError, Event, FileOutcome};
use crate::knowledge::Knowledge;
use crate::knowledge::files::Piece;

/// Problems of one file that are told; the rest are only counted.
const PROBLEMS_MAX: usize = 20;

/// What has come of a file so far.
#[derive(Default)]
struct SoFar {
    ids: Vec<DocumentId>,
    added: usize,
    changed: usize,
    passages: u64,
    problems: Vec<Event>,
    more_problems: usize,
}

/// What has come of a file.
pub(super) struct Done {
    /// What to tell: the problems, then the file.
    pub(super) events: Vec<Event>,
    /// Its path, if it was read and no part of it is a text: what was stored
    /// of it before is not in it any more.
    pub(super) without_text: Option<String>,
    /// Documents that are not in it any more.
    pub(super) removed: usize,
}

/// Stores all pieces.
pub(super) async fn store(
    knowledge: Knowledge,
    origin: Origin,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Done, AddError> {
    let source = origin.folder.source(&origin.path);
    let mut so_far = SoFar::default();
    let mut puts = FuturesUnordered::new();
    let (mut end, mut has_text) = (None, true);
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Document(document) => {
                puts.push(knowledge.store.put_of_file(origin.clone(), *document));
            }
            Piece::Problem(error) => {
                // A part of the file is named `line:2`; the file itself is known.
                let item = match error.item().split_once(':') {
                    Some((_, part)) => format!("{source}:{part}"),
                    None => source.clone(),
                };
                so_far.problem(Event::of_error(item, &error));
            }
            Piece::NoText(error) => {
                has_text = false;
                so_far.problem(Event::of_error(source.clone(), &error));
            }
            Piece::End(file) => end = Some(file),
        }
        while puts.len() >= AT_ONCE {
            so_far.count(puts.next().await, &source)?;
        }
    }
    while !puts.is_empty() {
        so_far.count(puts.next().await, &source)?;
    }
    let Some(mut file) = end else {
        // What was known of it before stays, unless it was read to its end.
        return Ok(Done {
            events: so_far.problems,
            without_text: (!has_text).then_some(origin.path),
            removed: 0,
        });
    };
    let ids = std::mem::take(&mut so_far.ids);
    if ids.is_empty() && !so_far.problems.is_empty() {
        // It is not remembered, so that it is told again the next time.
        return Ok(Done {
            events: so_far.finish(&source, None),
            without_text: Some(origin.path),
            removed: 0,
        });
    }
    if !so_far.problems.is_empty() {
        // What is wrong with parts of it is told again the next time.
        file.mtime_ns = NEVER_READ;
    }
    let removed = knowledge.store.keep_file(origin.folder, file, ids).await?;
    let outcome = match (so_far.added, so_far.changed + removed) {
        (0, 0) => FileOutcome::Unchanged,
        (_, 0) => FileOutcome::Added,
        _ => FileOutcome::Changed,
    };
    Ok(Done {
        events: so_far.finish(&source, Some(outcome)),
        without_text: None,
        removed,
    })
}

impl SoFar {
    fn count(
        &mut self,
        stored: Option<Result<Stored, Error>>,
        source: &str,
    ) -> Result<(), AddError> {
        match stored {
            None => {}
            Some(Ok(stored)) => {
                self.ids.push(stored.id);
                self.passages += stored.new_passages as u64;
                match stored.outcome {
                    Outcome::Added => self.added += 1,
                    Outcome::Changed => self.changed += 1,
                    Outcome::Unchanged => {}
                }
            }
            // The document is to blame: the others go on.
            Some(Err(error)) if error.kind() == ErrorKind::Invalid => {
                self.problem(Event::failed(source.to_owned(), error.to_string()));
            }
            Some(Err(error)) => return Err(error.into()),
        }
        Ok(())
    }

    fn problem(&mut self, event: Event) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(event);
        } else {
            self.more_problems += 1;
        }
    }

    fn finish(self, source: &str, outcome: Option<FileOutcome>) -> Vec<Event> {
        let mut events = self.problems;
        if self.more_problems > 0 {
            let reason = format!("more parts cannot be read, parts={}", self.more_problems);
            events.push(Event::failed(source.to_owned(), reason));
        }
        events.extend(outcome.map(|outcome| Event::File {
            source: source.to_owned(),
            outcome,
            passages: self.passages,
            reason: None,
        }));
        events
    }
}
