//! Storing a document: its row, its passages, and the vectors that come along,
//! in one transaction.

use std::collections::{HashMap, HashSet};

use rusqlite::OptionalExtension;

use super::{NewDocument, NewVectors, Outcome, Stored};
use crate::embedding;
use crate::error::{Error, Quoted, Result};
use crate::id::{DocumentId, PassageId, TextHash};
use crate::limits::{LABEL_MAX, METADATA_MAX, PASSAGE_MAX, PASSAGES_MAX, TEXT_MAX};
use crate::model;
use crate::sync;
use crate::write::Turn;

/// A passage, ready to be stored.
struct Cut<'a> {
    id: PassageId,
    start: usize,
    end: usize,
    text: &'a str,
    hash: TextHash,
}

/// Stores a document. Passages that stay keep their row; those that are not
/// there any more go, with vectors that nobody else needs.
///
/// If anything differs, the document and all of its passages are stamped anew:
/// so devices agree about documents, not about parts of them.
pub(crate) fn put(turn: &mut Turn<'_>, new: &NewDocument) -> Result<Stored> {
    let metadata = validate(new).map_err(|error| named(error, new))?;
    let id = id_of(turn, new);
    let revision = TextHash::of(&new.text);
    let cuts = cut(new, id).map_err(|error| named(error, new))?;
    let before = passages_before(turn, id)?;
    let row = row_before(turn, new, id, revision, &metadata)?;

    let kept = cuts.iter().filter(|cut| before.contains_key(&cut.id));
    let kept = kept.count();
    let same = |(position, cut): (usize, &Cut<'_>)| {
        let before = before.get(&cut.id);
        before.is_some_and(|before| before.is(revision, position, cut))
    };
    let is_same = row == Outcome::Unchanged
        && cuts.len() == before.len()
        && cuts.iter().enumerate().all(same);
    let stamp = turn.stamp().to_stored();
    if !is_same {
        write_document(turn, new, id, revision, &metadata, stamp)?;
        if row == Outcome::Added {
            sync::note_fresh(turn, id)?;
        }
        for (position, cut) in cuts.iter().enumerate() {
            write_passage(turn, id, revision, position, cut, stamp)?;
        }
        remove_others(turn, &cuts, before)?;
    }
    let mut vectors = 0;
    if let Some(new_vectors) = &new.vectors {
        let written = write_vectors(turn, &cuts, new_vectors, stamp);
        vectors = written.map_err(|error| named(error, new))?;
    }
    let outcome = match row {
        Outcome::Unchanged if !is_same || vectors > 0 => Outcome::Changed,
        Outcome::Added | Outcome::Changed | Outcome::Unchanged => row,
    };
    Ok(Stored {
        id,
        outcome,
        passages: cuts.len(),
        new_passages: cuts.len() - kept,
    })
}

/// Checks what can be wrong with a document, and gives its metadata as text.
fn validate(new: &NewDocument) -> Result<String> {
    let too_long = |what: &str, bytes: usize, limit: usize| {
        Err(Error::invalid(format!(
            "{what} is too long, bytes={bytes}, limit={limit}"
        )))
    };
    if new.text.trim().is_empty() {
        return Err(Error::invalid("document has no text"));
    }
    if new.text.len() > TEXT_MAX {
        return too_long("text", new.text.len(), TEXT_MAX);
    }
    let labels = [
        ("source", &new.source),
        ("title", &new.title),
        ("mime type", &new.mime),
    ];
    for (what, label) in labels {
        let bytes = label.as_ref().map_or(0, String::len);
        if bytes > LABEL_MAX {
            return too_long(what, bytes, LABEL_MAX);
        }
    }
    let metadata = serde_json::to_string(&new.metadata)
        .map_err(|reason| Error::invalid(format!("metadata cannot be stored, reason={reason}")))?;
    if metadata.len() > METADATA_MAX {
        return too_long("metadata", metadata.len(), METADATA_MAX);
    }
    if new.passages.is_empty() || new.passages.len() > PASSAGES_MAX {
        return Err(Error::invalid(format!(
            "document has no or too many passages, found={}, limit={PASSAGES_MAX}",
            new.passages.len()
        )));
    }
    if let Some(vectors) = &new.vectors
        && vectors.vectors.len() != new.passages.len()
    {
        return Err(Error::invalid(format!(
            "document has not one vector for each passage, passages={}, vectors={}",
            new.passages.len(),
            vectors.vectors.len()
        )));
    }
    Ok(metadata)
}

fn id_of(turn: &Turn<'_>, new: &NewDocument) -> DocumentId {
    match (&new.source, new.id) {
        (Some(source), _) => DocumentId::of_source(new.collection.as_str(), source),
        (None, Some(id)) => id,
        (None, None) => DocumentId::random(turn.now(), fastrand::u128(..)),
    }
}

fn cut(new: &NewDocument, id: DocumentId) -> Result<Vec<Cut<'_>>> {
    let mut occurrences: HashMap<TextHash, u32> = HashMap::new();
    let mut cuts = Vec::with_capacity(new.passages.len());
    for (position, span) in new.passages.iter().enumerate() {
        let text = new.text.get(span.start..span.end);
        let text = text.filter(|text| !text.trim().is_empty() && text.len() <= PASSAGE_MAX);
        let Some(text) = text else {
            return Err(Error::invalid(format!(
                "passage is empty, too long or not a part of the text, position={position}, start={}, end={}, limit={PASSAGE_MAX}",
                span.start, span.end
            )));
        };
        let hash = TextHash::of(text);
        let occurrence = occurrences.entry(hash).or_default();
        cuts.push(Cut {
            id: PassageId::of(id, hash, *occurrence),
            start: span.start,
            end: span.end,
            text,
            hash,
        });
        *occurrence += 1;
    }
    Ok(cuts)
}

/// A passage that is stored already.
struct Before {
    text: TextHash,
    revision: TextHash,
    position: usize,
    start: usize,
    end: usize,
}

impl Before {
    fn is(&self, revision: TextHash, position: usize, cut: &Cut<'_>) -> bool {
        self.revision == revision
            && (self.position, self.start, self.end) == (position, cut.start, cut.end)
    }
}

fn passages_before(turn: &Turn<'_>, id: DocumentId) -> Result<HashMap<PassageId, Before>> {
    let mut find = turn.connection.prepare_cached(
        "SELECT id, text_hash, revision, position, byte_start, byte_end FROM passage
         WHERE document_id = ?1",
    )?;
    let rows = find.query_map([id], |row| {
        let before = Before {
            text: row.get(1)?,
            revision: row.get(2)?,
            position: row.get(3)?,
            start: row.get(4)?,
            end: row.get(5)?,
        };
        Ok((row.get(0)?, before))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What storing the document's row will come to.
fn row_before(
    turn: &Turn<'_>,
    new: &NewDocument,
    id: DocumentId,
    revision: TextHash,
    metadata: &str,
) -> Result<Outcome> {
    let mut find = turn.connection.prepare_cached(
        "SELECT content_hash = ?2 AND collection = ?3 AND source IS ?4 AND title IS ?5
            AND mime IS ?6 AND metadata = ?7
         FROM document WHERE id = ?1 AND deleted = 0",
    )?;
    let columns = (
        id,
        revision,
        new.collection.as_str(),
        &new.source,
        &new.title,
        &new.mime,
        metadata,
    );
    let is_same: Option<bool> = find.query_row(columns, |row| row.get(0)).optional()?;
    Ok(match is_same {
        None => Outcome::Added,
        Some(false) => Outcome::Changed,
        Some(true) => Outcome::Unchanged,
    })
}

fn write_document(
    turn: &Turn<'_>,
    new: &NewDocument,
    id: DocumentId,
    revision: TextHash,
    metadata: &str,
    stamp: i64,
) -> Result<()> {
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO document (id, collection, source, title, mime, content_hash, metadata, hlc, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET collection = excluded.collection,
             source = excluded.source, title = excluded.title, mime = excluded.mime,
             content_hash = excluded.content_hash, metadata = excluded.metadata,
             hlc = excluded.hlc, origin = excluded.origin, deleted = 0",
    )?;
    put.execute((
        id,
        new.collection.as_str(),
        &new.source,
        &new.title,
        &new.mime,
        revision,
        metadata,
        stamp,
        turn.origin,
    ))?;
    Ok(())
}

/// Writes a passage. If its text had vectors that no passage used, they are
/// stamped anew: other devices may not have kept them.
fn write_passage(
    turn: &Turn<'_>,
    document: DocumentId,
    revision: TextHash,
    position: usize,
    cut: &Cut<'_>,
    stamp: i64,
) -> Result<()> {
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO passage (id, document_id, revision, position, byte_start, byte_end,
             text, text_hash, hlc, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET revision = excluded.revision,
             position = excluded.position, byte_start = excluded.byte_start,
             byte_end = excluded.byte_end, hlc = excluded.hlc, origin = excluded.origin",
    )?;
    put.execute((
        cut.id,
        document,
        revision,
        position,
        cut.start,
        cut.end,
        cut.text,
        cut.hash,
        stamp,
        turn.origin,
    ))?;
    embedding::use_again(turn, cut.hash, stamp)
}

/// Takes the passages away that were there before and are not now.
fn remove_others(
    turn: &Turn<'_>,
    cuts: &[Cut<'_>],
    before: HashMap<PassageId, Before>,
) -> Result<()> {
    let now: HashSet<PassageId> = cuts.iter().map(|cut| cut.id).collect();
    let mut delete = turn
        .connection
        .prepare_cached("DELETE FROM passage WHERE id = ?1")?;
    let mut texts = Vec::new();
    for (id, before) in before {
        if !now.contains(&id) {
            delete.execute([id])?;
            texts.push(before.text);
        }
    }
    embedding::release(turn, &texts)
}

fn write_vectors(turn: &Turn<'_>, cuts: &[Cut<'_>], new: &NewVectors, stamp: i64) -> Result<usize> {
    let model = model::expect(turn.connection, new.model)?;
    let mut stored = 0;
    for (position, (cut, vector)) in cuts.iter().zip(&new.vectors).enumerate() {
        let vector = model.prepare(vector);
        let vector = vector.map_err(|error| error.with("passage", &position))?;
        stored += embedding::put_one(turn, &model, cut.hash, &vector, stamp)?;
    }
    Ok(stored)
}

/// Says which document an error is about.
fn named(error: Error, new: &NewDocument) -> Error {
    match (&new.source, &new.title) {
        (Some(source), _) => error.with("source", &Quoted(source)),
        (None, Some(title)) => error.with("title", &Quoted(title)),
        (None, None) => error,
    }
}
