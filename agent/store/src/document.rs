//! Documents and their passages.

mod put;
pub(crate) mod words;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};

use ginnel_proto::id::CollectionName;

use crate::embedding;
use crate::error::{Error, Result};
use crate::id::{DocumentId, ModelId, TextHash};
use crate::write::Turn;

pub(crate) use put::put;

/// A document to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDocument {
    /// The set it belongs to.
    pub collection: CollectionName,
    /// Where it comes from: a path below its root, a URI or the caller's key.
    /// The same collection and source is the same document.
    pub source: Option<String>,
    /// Which one it replaces, where there is no source; a new one if not given.
    pub id: Option<DocumentId>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// What filters can ask for.
    pub metadata: Map<String, Value>,
    /// All of its text.
    pub text: String,
    /// The parts of the text that can be found, in their order.
    pub passages: Vec<Span>,
    /// Vectors of the caller's own, one for each passage.
    pub vectors: Option<NewVectors>,
}

/// A part of a document's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// Vectors that come with a document.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVectors {
    /// The model that made them, which the store knows.
    pub model: ModelId,
    /// One for each passage.
    pub vectors: Vec<Vec<f32>>,
}

/// What storing a document came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: DocumentId,
    /// Whether it was there before.
    pub outcome: Outcome,
    /// How many passages it has.
    pub passages: usize,
    /// How many of them it did not have before.
    pub new_passages: usize,
}

/// Whether a document was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not.
    Added,
    /// It was, and differed.
    Changed,
    /// It was, the same.
    Unchanged,
}

/// A document as the store has it, without its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its place in lists.
    pub rowid: i64,
    /// Its id.
    pub id: DocumentId,
    /// The set it belongs to.
    pub collection: String,
    /// Where it comes from.
    pub source: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// BLAKE3 of its text.
    pub content_hash: TextHash,
    /// What filters can ask for.
    pub metadata: Map<String, Value>,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: u64,
    /// How many passages it has.
    pub passages: u64,
}

/// A part of a document that can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// 0, 1, … in the document.
    pub position: u32,
    /// Where it is in the document's text.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// That part of the text.
    pub text: String,
}

/// Which documents to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only of this set.
    pub collection: Option<CollectionName>,
    /// Only those whose source begins like this.
    pub source_prefix: Option<String>,
    /// Only those behind this [`Document::rowid`].
    pub after: i64,
    /// At most so many, up to [`crate::limits::RESULTS_MAX`].
    pub limit: usize,
}

/// A set of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// How many documents it has.
    pub documents: u64,
    /// How many passages those have.
    pub passages: u64,
}

/// Takes a document away. Tells whether it was there. Its row stays, with
/// nothing but its id and a stamp, until every device has heard of it.
pub(crate) fn delete(turn: &mut Turn<'_>, id: DocumentId) -> Result<bool> {
    let stamp = turn.stamp().to_stored();
    let deleted = turn
        .connection
        .prepare_cached(
            "UPDATE document SET deleted = 1, collection = '', source = NULL, title = NULL,
                 mime = NULL, metadata = '{}', content_hash = zeroblob(32), extra = NULL,
                 hlc = ?2, origin = ?3
             WHERE id = ?1 AND deleted = 0",
        )?
        .execute((id, stamp, turn.origin))?;
    if deleted == 0 {
        return Ok(false);
    }
    let texts = superseded(turn.connection, id, (stamp, turn.origin))?;
    embedding::release(turn, &texts)?;
    Ok(true)
}

/// Removes the passages of a document that are older than this stamp, its row's:
/// they are of what it was before. Gives the hashes of their texts.
pub(crate) fn superseded(
    connection: &Connection,
    id: DocumentId,
    stamp: (i64, &str),
) -> Result<Vec<TextHash>> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM passage WHERE document_id = ?1 AND (hlc, origin) < (?2, ?3)
         RETURNING text_hash",
    )?;
    let (hlc, origin) = stamp;
    let texts = remove.query_map((id, hlc, origin), |row| row.get(0))?;
    Ok(texts.collect::<rusqlite::Result<_>>()?)
}

/// A document and its passages.
pub(crate) fn find(
    connection: &Connection,
    id: DocumentId,
) -> Result<Option<(Document, Vec<Passage>)>> {
    let mut find = connection.prepare_cached(&format!("{SELECT} AND id = ?1"))?;
    let found = find.query_row([id], |row| Ok(read(row))).optional()?;
    let Some(document) = found.transpose()? else {
        return Ok(None);
    };
    let passages = passages(connection, id, document.content_hash, 0, u32::MAX)?;
    Ok(Some((document, passages)))
}

/// The passages of a document's revision at positions from `first` to `last`.
pub(crate) fn passages(
    connection: &Connection,
    id: DocumentId,
    revision: TextHash,
    first: u32,
    last: u32,
) -> Result<Vec<Passage>> {
    let mut find = connection.prepare_cached(
        "SELECT position, byte_start, byte_end, text FROM passage
         WHERE document_id = ?1 AND revision = ?2 AND deleted = 0
           AND position BETWEEN ?3 AND ?4
         ORDER BY position",
    )?;
    let rows = find.query_map((id, revision, first, last), |row| {
        Ok(Passage {
            position: row.get(0)?,
            start: row.get(1)?,
            end: row.get(2)?,
            text: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Documents in the order in which they came.
pub(crate) fn list(connection: &Connection, request: &ListRequest) -> Result<Vec<Document>> {
    let mut find = connection.prepare_cached(&format!(
        "{SELECT} AND rowid > ?1 AND (?2 IS NULL OR collection = ?2)
           AND (?3 IS NULL OR substr(source, 1, length(?3)) = ?3)
         ORDER BY rowid LIMIT ?4"
    ))?;
    let collection = request.collection.as_ref().map(CollectionName::as_str);
    let limit = request.limit.min(crate::limits::RESULTS_MAX);
    let mut rows = find.query((request.after, collection, &request.source_prefix, limit))?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(read(row)?);
    }
    Ok(documents)
}

/// All sets that have a document, by name.
pub(crate) fn collections(connection: &Connection) -> Result<Vec<Collection>> {
    let mut find = connection.prepare_cached(
        "SELECT document.collection, count(*), coalesce(sum((
             SELECT count(*) FROM passage WHERE document_id = document.id
               AND revision = document.content_hash AND deleted = 0)), 0)
         FROM document WHERE deleted = 0 GROUP BY collection ORDER BY collection",
    )?;
    let rows = find.query_map([], |row| {
        Ok(Collection {
            name: row.get(0)?,
            documents: row.get(1)?,
            passages: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

const SELECT: &str = "
SELECT rowid, id, collection, source, title, mime, content_hash, metadata, hlc,
       (SELECT count(*) FROM passage WHERE document_id = document.id
          AND revision = document.content_hash AND deleted = 0) AS passages
FROM document WHERE deleted = 0";

fn read(row: &Row<'_>) -> Result<Document> {
    let id: DocumentId = row.get("id")?;
    Ok(Document {
        rowid: row.get("rowid")?,
        id,
        collection: row.get("collection")?,
        source: row.get("source")?,
        title: row.get("title")?,
        mime: row.get("mime")?,
        content_hash: row.get("content_hash")?,
        metadata: metadata(&row.get::<_, String>("metadata")?, id)?,
        changed_ms: row.get::<_, i64>("hlc")?.unsigned_abs() >> 16,
        passages: row.get("passages")?,
    })
}

/// Reads stored metadata.
pub(crate) fn metadata(text: &str, id: DocumentId) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|reason| {
        Error::corrupt(format!(
            "metadata is not a JSON object, document={id}, reason={reason}"
        ))
    })
}

/// Puts the text of a document together from its passages, which may overlap.
/// What lay between two of them, nothing but white space, is an empty line.
#[must_use]
pub fn joined(passages: &[Passage]) -> String {
    let mut text = String::new();
    let mut end = passages.first().map_or(0, |passage| passage.start);
    for passage in passages {
        if passage.start > end {
            text.push_str("\n\n");
        }
        let seen = end.saturating_sub(passage.start);
        text.push_str(passage.text.get(seen..).unwrap_or_default());
        end = end.max(passage.end);
    }
    text
}
