//! A hit: a passage, where it is from, and what stands around it.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};

use crate::document::{self, Passage};
use crate::error::Result;
use crate::id::{DocumentId, PassageId, TextHash};
use crate::vector::Neighbour;

/// Where a passage stands in the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Its rowid.
    pub(crate) passage: i64,
    /// How good it is, see [`super::By`].
    pub score: f32,
    /// Where it stood by meaning, if it was looked for so and found.
    pub meaning: Option<Rank>,
    /// Where it stood by words.
    pub words: Option<Rank>,
}

/// A rank in one list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// From 1.
    pub rank: u32,
    /// The score of that list.
    pub score: f32,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// How good it is.
    pub place: Place,
    /// Its id.
    pub id: PassageId,
    /// The document it is a part of.
    pub document: DocumentId,
    /// The set that is in.
    pub collection: String,
    /// Where the document comes from.
    pub source: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// The document's metadata.
    pub metadata: Map<String, Value>,
    /// When the document was last changed, milliseconds since 1970.
    pub changed_ms: u64,
    /// The passage itself.
    pub passage: Passage,
    /// The text right before it.
    pub before: String,
    /// The text right after it.
    pub after: String,
}

impl Place {
    pub(super) fn nowhere(passage: i64) -> Self {
        Self {
            passage,
            score: 0.0,
            meaning: None,
            words: None,
        }
    }

    pub(super) fn by_meaning((at, found): (usize, Neighbour)) -> Self {
        Self {
            score: found.score,
            meaning: Some(Rank::new(at, found.score)),
            ..Self::nowhere(found.passage)
        }
    }

    pub(super) fn by_words((at, found): (usize, Neighbour)) -> Self {
        Self {
            score: found.score,
            words: Some(Rank::new(at, found.score)),
            ..Self::nowhere(found.passage)
        }
    }
}

impl Rank {
    fn new(at: usize, score: f32) -> Self {
        let rank = u32::try_from(at + 1).unwrap_or(u32::MAX);
        Self { rank, score }
    }
}

/// Reads what a hit says. `None` if the passage is not live.
pub(super) fn read(connection: &Connection, place: &Place, context: usize) -> Result<Option<Hit>> {
    let mut find = connection.prepare_cached(
        "SELECT id, document_id, revision, collection, source, title, mime, metadata,
                document_hlc, position, byte_start, byte_end, text
         FROM live_passage WHERE rowid = ?1",
    )?;
    let found = find
        .query_row([place.passage], |row| Ok(read_row(row, place)))
        .optional()?;
    let Some((mut hit, revision)) = found.transpose()? else {
        return Ok(None);
    };
    if context > 0 {
        read_context(connection, &mut hit, revision, context)?;
    }
    Ok(Some(hit))
}

fn read_row(row: &Row<'_>, place: &Place) -> Result<(Hit, TextHash)> {
    let document = row.get("document_id")?;
    let hit = Hit {
        place: *place,
        id: row.get("id")?,
        document,
        collection: row.get("collection")?,
        source: row.get("source")?,
        title: row.get("title")?,
        mime: row.get("mime")?,
        metadata: document::metadata(&row.get::<_, String>("metadata")?, document)?,
        changed_ms: row.get::<_, i64>("document_hlc")?.unsigned_abs() >> 16,
        passage: Passage {
            position: row.get("position")?,
            start: row.get("byte_start")?,
            end: row.get("byte_end")?,
            text: row.get("text")?,
        },
        before: String::new(),
        after: String::new(),
    };
    Ok((hit, row.get("revision")?))
}

fn read_context(
    connection: &Connection,
    hit: &mut Hit,
    revision: TextHash,
    context: usize,
) -> Result<()> {
    let Passage {
        position,
        start,
        end,
        ..
    } = hit.passage;
    let context = u32::try_from(context).unwrap_or(u32::MAX);
    let (first, last) = (
        position.saturating_sub(context),
        position.saturating_add(context),
    );
    let around = document::passages(connection, hit.document, revision, first, last)?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for mut passage in around {
        if passage.position < position {
            // Passages overlap; what the hit has itself is not said twice.
            let kept = start.saturating_sub(passage.start).min(passage.text.len());
            passage
                .text
                .truncate(passage.text.floor_char_boundary(kept));
            before.push(passage);
        } else if passage.position > position {
            after.push(passage);
        }
    }
    hit.before = document::joined(&before);
    hit.after = after_of(&document::joined(&after), &after, end).to_owned();
    Ok(())
}

/// What of the passages after a hit comes behind its end.
fn after_of<'a>(joined: &'a str, after: &[Passage], end: usize) -> &'a str {
    let start = after.first().map_or(end, |passage| passage.start);
    let seen = end.saturating_sub(start).min(joined.len());
    joined
        .get(joined.ceil_char_boundary(seen)..)
        .unwrap_or_default()
}
