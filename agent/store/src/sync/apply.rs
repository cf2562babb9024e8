//! Rows of other devices: of two states of a row the one with the later stamp
//! stays, as [`ginnel_proto::sync::row`] says.

/// The statement that adds a passage, and what it does with one that is there.
macro_rules! add_passage {
    ($or:literal) => {
        concat!(
            "INSERT INTO passage (id, document_id, revision, position, byte_start, byte_end,
                 text, text_hash, hlc, origin, extra)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ",
            $or
        )
    };
}

/// The same of an embedding.
macro_rules! add_embedding {
    ($or:literal) => {
        concat!(
            "INSERT INTO embedding (text_hash, model, vector, hlc, origin, extra)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ",
            $or
        )
    };
}

mod new;

use std::collections::HashMap;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::extra;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::row::{Document, Embedding, Model, Passage, Row, Rows};
use rusqlite::{Connection, OptionalExtension};

use super::{Applied, joining};
use crate::document::superseded;
use crate::embedding;
use crate::error::{Error, Result};
use crate::id::{DocumentId, ModelId, TextHash};
use crate::limits::MODELS_MAX;
use crate::model;
use crate::write::Turn;

/// Cuts rows into parts of so many: models first, documents and their passages
/// next, and embeddings last.
pub(super) fn parts(rows: Rows, most: usize) -> std::vec::IntoIter<Rows> {
    if rows.len() <= most {
        return vec![rows].into_iter();
    }
    let models = rows.models.into_iter().map(Row::Model);
    let documents = rows.documents.into_iter().map(Row::Document);
    let passages = rows.passages.into_iter().map(Row::Passage);
    let embeddings = rows.embeddings.into_iter().map(Row::Embedding);
    let mut parts: Vec<Rows> = Vec::new();
    for row in models.chain(documents).chain(passages).chain(embeddings) {
        match parts.last_mut() {
            Some(part) if part.len() < most => part.push(row),
            _ => {
                let mut part = Rows::default();
                part.push(row);
                parts.push(part);
            }
        }
    }
    parts.into_iter()
}

/// Whether a valid model may take its place among those that are known.
fn check_model(turn: &Turn<'_>, row: &Model) -> Result<()> {
    let id = ModelId::from_bytes(*row.id.as_bytes());
    let wrong = |what: &str| Err(Error::invalid(format!("model {what}, model={id}")));
    if extra::floor(&row.extra) > Hlc::latest_at(turn.now()) {
        return wrong("says that vectors of the future are gone");
    }
    let Some(state) = &row.state else {
        return Ok(());
    };
    match model::find(turn.connection, id)? {
        Some(known) => {
            let dimensions = usize::try_from(state.dimensions).ok();
            let is_same =
                dimensions == Some(known.dimensions) && state.metric.parse() == Ok(known.metric);
            match is_same {
                true => Ok(()),
                false => wrong("is known with other dimensions or another metric"),
            }
        }
        // Several devices may each have as many as one may have.
        None if model::list(turn.connection)?.len() >= MODELS_TAKEN_MAX => {
            wrong("is one of too many, and not taken; hint: ginnel models rm")
        }
        None => Ok(()),
    }
}

/// Models of all devices together.
const MODELS_TAKEN_MAX: usize = 16 * MODELS_MAX;

/// Applies rows of `origin` that are valid.
pub(super) fn rows(turn: &mut Turn<'_>, origin: &DeviceName, mut rows: Rows) -> Result<Applied> {
    let mut apply = Apply {
        connection: turn.connection,
        origin: origin.as_str(),
        applied: Applied::default(),
        released: Vec::new(),
        is_new: joining::is_new(turn.connection)?,
        untold: Vec::new(),
        own: turn.origin,
        floors: HashMap::new(),
        document: None,
    };
    for row in &rows.models {
        check_model(turn, row)?;
        apply.model(row)?;
    }
    for row in &rows.documents {
        apply.document(row)?;
    }
    let waits = apply.something_waits_to_go()?;
    if rows.passages.len() + rows.embeddings.len() >= new::MANY {
        new::rows(&mut apply, &mut rows.passages, &mut rows.embeddings, waits)?;
    }
    for row in &rows.passages {
        apply.passage(row, waits)?;
    }
    for row in &rows.embeddings {
        apply.embedding(row)?;
    }
    let Apply {
        applied,
        released,
        untold,
        ..
    } = apply;
    for id in untold {
        let stamp = turn.stamp().to_stored();
        let mut tell = turn
            .connection
            .prepare_cached("UPDATE model SET hlc = ?2, origin = ?3 WHERE id = ?1")?;
        tell.execute((id, stamp, turn.origin))?;
    }
    embedding::release(turn, &released)?;
    Ok(applied)
}

struct Apply<'a> {
    connection: &'a Connection,
    origin: &'a str,
    applied: Applied,
    /// Texts that may have lost their last passage, or never had one.
    released: Vec<TextHash>,
    /// This device has not joined the others yet.
    is_new: bool,
    /// Models of whose deletion here nobody would hear otherwise, for a later
    /// row took the place of the one that says so.
    untold: Vec<ModelId>,
    /// This device.
    own: &'a str,
    /// Up to when vectors of a model are dead.
    floors: HashMap<Hash, Hlc>,
    /// The document of the last passage, and its stamp if it is known.
    document: Option<([u8; 16], Option<Stamp>)>,
}

/// When a row was changed, and by which device, as they are stored.
type Stamp = (i64, String);

impl Apply<'_> {
    fn count(&mut self, taken: bool) {
        match taken {
            true => self.applied.taken += 1,
            false => self.applied.stale += 1,
        }
    }

    fn model(&mut self, row: &Model) -> Result<()> {
        let id = ModelId::from_bytes(*row.id.as_bytes());
        let before = model::floor(self.connection, id)?;
        let was_own = self.is_own(id)?;
        let state = row.state.as_ref();
        let dead = match state {
            Some(_) => Hlc::default(),
            None => row.hlc,
        };
        let told = extra::floor(&row.extra).max(dead);
        let floor = before.max(told);
        let mut extra = row.extra.to_vec();
        // It only ever rises, whichever of the two rows stays; so both have it before
        // they are compared.
        if floor > Hlc::default() {
            model::raise_floor(self.connection, id, floor)?;
            extra = extra::with_floor(&extra, floor);
        }
        let mut put = self.connection.prepare_cached(
            "INSERT INTO model (id, name, dimensions, metric, hlc, origin, deleted, extra)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                 dimensions = excluded.dimensions, metric = excluded.metric,
                 hlc = excluded.hlc, origin = excluded.origin, deleted = excluded.deleted,
                 extra = excluded.extra
             WHERE (excluded.hlc, excluded.origin) > (hlc, origin)
                OR ((excluded.hlc, excluded.origin) = (hlc, origin)
                    AND (excluded.deleted, excluded.name, excluded.dimensions, excluded.metric,
                         coalesce(excluded.extra, x''))
                        > (deleted, name, dimensions, metric, coalesce(extra, x'')))",
        )?;
        let taken = put.execute((
            id,
            state.map_or("", |state| &state.name),
            state.map_or(0, |state| state.dimensions),
            state.map_or("", |state| &state.metric),
            row.hlc.to_stored(),
            self.origin,
            state.is_none(),
            stored_extra(&extra),
        ))?;
        self.count(taken > 0);
        if taken > 0 && was_own && before > told {
            self.untold.push(id);
        }
        Ok(())
    }

    fn is_own(&self, id: ModelId) -> Result<bool> {
        let mut find = self
            .connection
            .prepare_cached("SELECT 1 FROM model WHERE id = ?1 AND origin = ?2")?;
        Ok(find.exists((id, self.own))?)
    }

    fn document(&mut self, row: &Document) -> Result<()> {
        let id = DocumentId::from_bytes(row.id);
        let state = row.state.as_ref();
        let mut put = self.connection.prepare_cached(
            "INSERT INTO document (id, collection, source, title, mime, content_hash, metadata,
                 hlc, origin, deleted, extra)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET collection = excluded.collection,
                 source = excluded.source, title = excluded.title, mime = excluded.mime,
                 content_hash = excluded.content_hash, metadata = excluded.metadata,
                 hlc = excluded.hlc, origin = excluded.origin, deleted = excluded.deleted,
                 extra = excluded.extra
             WHERE (excluded.hlc, excluded.origin) > (hlc, origin)
                OR ((excluded.hlc, excluded.origin) = (hlc, origin)
                    AND (excluded.deleted, excluded.content_hash, excluded.metadata,
                         excluded.collection,
                         excluded.source NOT NULL, coalesce(excluded.source, ''),
                         excluded.title NOT NULL, coalesce(excluded.title, ''),
                         excluded.mime NOT NULL, coalesce(excluded.mime, ''),
                         coalesce(excluded.extra, x''))
                        > (deleted, content_hash, metadata, collection,
                           source NOT NULL, coalesce(source, ''),
                           title NOT NULL, coalesce(title, ''),
                           mime NOT NULL, coalesce(mime, ''), coalesce(extra, x'')))",
        )?;
        let taken = put.execute((
            id,
            state.map_or("", |state| &state.collection),
            state.and_then(|state| state.source.as_deref()),
            state.and_then(|state| state.title.as_deref()),
            state.and_then(|state| state.mime.as_deref()),
            state.map_or(&[0; 32], |state| state.revision.as_bytes()),
            state.map_or("{}", |state| &state.metadata),
            row.hlc.to_stored(),
            self.origin,
            state.is_none(),
            stored_extra(&row.extra),
        ))?;
        self.count(taken > 0);
        if taken > 0 {
            let stamp = (row.hlc.to_stored(), self.origin);
            let released = superseded(self.connection, id, stamp)?;
            self.released.extend(released);
        } else if self.is_new {
            joining::note_met(self.connection, id)?;
        }
        Ok(())
    }

    /// Whether there are texts whose vectors are about to go.
    fn something_waits_to_go(&self) -> Result<bool> {
        let mut waits = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM unused)")?;
        Ok(waits.query_row([], |row| row.get(0))?)
    }

    fn passage(&mut self, row: &Passage, waits: bool) -> Result<()> {
        if self.is_dead(row)? {
            self.count(false);
            return Ok(());
        }
        let text = TextHash::of(&row.text);
        let later = add_passage!(
            "ON CONFLICT (id) DO UPDATE SET document_id = excluded.document_id,
                 revision = excluded.revision, position = excluded.position,
                 byte_start = excluded.byte_start, byte_end = excluded.byte_end,
                 text = excluded.text, text_hash = excluded.text_hash, hlc = excluded.hlc,
                 origin = excluded.origin, extra = excluded.extra
             WHERE (excluded.hlc, excluded.origin) > (hlc, origin)
                OR ((excluded.hlc, excluded.origin) = (hlc, origin)
                    AND (excluded.document_id, excluded.revision, excluded.position,
                         excluded.byte_start, excluded.byte_end, excluded.text,
                         coalesce(excluded.extra, x''))
                        > (document_id, revision, position, byte_start, byte_end, text,
                           coalesce(extra, x'')))"
        );
        let taken = self.put_passage(later, row, text)?;
        self.count(taken > 0);
        if waits && taken > 0 {
            self.keep_vectors(text)?;
        }
        Ok(())
    }

    fn put_passage(&self, sql: &str, row: &Passage, text: TextHash) -> Result<usize> {
        let mut put = self.connection.prepare_cached(sql)?;
        Ok(put.execute((
            row.id,
            row.document,
            row.revision.as_bytes(),
            row.position,
            row.byte_start,
            row.byte_end,
            &row.text,
            text,
            row.hlc.to_stored(),
            self.origin,
            stored_extra(&row.extra),
        ))?)
    }

    /// Whether a later state of its document is known.
    fn is_dead(&mut self, row: &Passage) -> Result<bool> {
        let (document, stamp) = match self.document.take() {
            // Passages come one document after the other.
            Some((document, stamp)) if document == row.document => (document, stamp),
            _ => {
                let mut find = self
                    .connection
                    .prepare_cached("SELECT hlc, origin FROM document WHERE id = ?1")?;
                let stamp = find.query_row([row.document], |row| Ok((row.get(0)?, row.get(1)?)));
                (row.document, stamp.optional()?)
            }
        };
        let (_, stamp) = self.document.insert((document, stamp));
        let own = (row.hlc.to_stored(), self.origin);
        Ok(stamp
            .as_ref()
            .is_some_and(|(hlc, origin)| (*hlc, &**origin) > own))
    }

    /// The vectors of a text are used again.
    fn keep_vectors(&self, text: TextHash) -> Result<()> {
        let mut keep = self
            .connection
            .prepare_cached("DELETE FROM unused WHERE text_hash = ?1")?;
        keep.execute([text])?;
        Ok(())
    }

    fn embedding(&mut self, row: &Embedding) -> Result<()> {
        if row.hlc <= self.floor(&row.model)? {
            self.count(false);
            return Ok(());
        }
        let text = TextHash::from_bytes(*row.text.as_bytes());
        let later = add_embedding!(
            "ON CONFLICT (text_hash, model) DO UPDATE SET vector = excluded.vector,
                 hlc = excluded.hlc, origin = excluded.origin, extra = excluded.extra
             WHERE (excluded.hlc, excluded.origin) > (hlc, origin)
                OR ((excluded.hlc, excluded.origin) = (hlc, origin)
                    AND (excluded.vector, coalesce(excluded.extra, x''))
                        > (vector, coalesce(extra, x'')))"
        );
        let taken = self.put_embedding(later, row)?;
        self.count(taken > 0);
        if taken > 0 {
            // Its passage may be still to come, or be gone.
            self.released.push(text);
        }
        Ok(())
    }

    fn put_embedding(&self, sql: &str, row: &Embedding) -> Result<usize> {
        let mut put = self.connection.prepare_cached(sql)?;
        Ok(put.execute((
            row.text.as_bytes(),
            row.model.as_bytes(),
            &*row.vector,
            row.hlc.to_stored(),
            self.origin,
            stored_extra(&row.extra),
        ))?)
    }

    fn floor(&mut self, model: &Hash) -> Result<Hlc> {
        if let Some(floor) = self.floors.get(model) {
            return Ok(*floor);
        }
        let id = ModelId::from_bytes(*model.as_bytes());
        let floor = model::floor(self.connection, id)?;
        self.floors.insert(*model, floor);
        Ok(floor)
    }
}

/// Nothing is stored as nothing.
fn stored_extra(extra: &[u8]) -> Option<&[u8]> {
    Some(extra).filter(|extra| !extra.is_empty())
}
