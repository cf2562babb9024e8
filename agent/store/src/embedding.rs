//! Embeddings: the vector of a text by a model, stored once however many
//! passages have that text.

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::Result;
use crate::id::{ModelId, TextHash};
use crate::model::{self, Model};
use crate::sync;
use crate::write::Turn;

/// A text and its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEmbedding {
    /// The text.
    pub text: TextHash,
    /// As the model gave it.
    pub vector: Vec<f32>,
}

/// A text that a model has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unembedded {
    /// The rowid of a passage that has it.
    pub passage: i64,
    /// Its hash.
    pub hash: TextHash,
    /// Itself.
    pub text: String,
}

/// Stores vectors. Those that are there already with the same values are left
/// alone, and so are those of texts that no passage has any more: they were
/// deleted while their vectors were made. Gives how many were stored.
///
/// All vectors are checked before any is stored, so one that is wrong is an
/// error for all.
pub(crate) fn put(turn: &mut Turn<'_>, id: ModelId, embeddings: &[NewEmbedding]) -> Result<usize> {
    let model = model::expect(turn.connection, id)?;
    let prepare = |new: &NewEmbedding| {
        let vector = model.prepare(&new.vector);
        vector.map_err(|error| error.with("text", &new.text))
    };
    let vectors: Vec<Vec<f32>> = embeddings.iter().map(prepare).collect::<Result<_>>()?;
    let stamp = turn.stamp().to_stored();
    let mut stored = 0;
    let mut is_wanted = turn
        .connection
        .prepare_cached("SELECT 1 FROM passage WHERE text_hash = ?1 AND deleted = 0")?;
    for (new, vector) in embeddings.iter().zip(vectors) {
        if !is_wanted.exists([new.text])? {
            continue;
        }
        stored += put_one(turn, &model, new.text, &vector, stamp)?;
    }
    Ok(stored)
}

/// Stores a vector that was prepared.
pub(crate) fn put_one(
    turn: &Turn<'_>,
    model: &Model,
    text: TextHash,
    vector: &[f32],
    stamp: i64,
) -> Result<usize> {
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO embedding (text_hash, model, vector, hlc, origin)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (text_hash, model) DO UPDATE SET vector = excluded.vector,
             hlc = excluded.hlc, origin = excluded.origin
         WHERE vector <> excluded.vector OR hlc <= ?6",
    )?;
    // One that is about to be purged is as good as none.
    let floor = model::floor(turn.connection, model.id)?.to_stored();
    let bytes = to_bytes(vector);
    let blob = ToSqlOutput::Borrowed(ValueRef::Blob(&bytes));
    Ok(put.execute((text, model.id, blob, stamp, turn.origin, floor))?)
}

/// Lets the vectors of texts go that no passage has any more: at once, or, where
/// the rows are shared, once every device knows what this one knows now. Until
/// then another's passage may come that has the text, and relies on them.
pub(crate) fn release(turn: &Turn<'_>, texts: &[TextHash]) -> Result<()> {
    let mut note = turn.connection.prepare_cached(
        "INSERT INTO unused (text_hash, change) SELECT ?1, (SELECT max(seq) FROM change)
         WHERE NOT EXISTS (SELECT 1 FROM passage WHERE text_hash = ?1)
           AND EXISTS (SELECT 1 FROM embedding WHERE text_hash = ?1)
         ON CONFLICT (text_hash) DO UPDATE SET change = excluded.change",
    )?;
    for text in texts {
        note.execute([text])?;
    }
    if !texts.is_empty() && !sync::is_shared(turn.connection)? {
        while collect(turn, i64::MAX, COLLECTED_AT_ONCE)? {}
    }
    Ok(())
}

/// A passage has the text again. Vectors that waited to go are stamped anew:
/// other devices may have let them go by now.
pub(crate) fn use_again(turn: &Turn<'_>, text: TextHash, stamp: i64) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM unused WHERE text_hash = ?1")?;
    if forget.execute([text])? > 0 {
        turn.connection
            .prepare_cached("UPDATE embedding SET hlc = ?2, origin = ?3 WHERE text_hash = ?1")?
            .execute((text, stamp, turn.origin))?;
    }
    Ok(())
}

/// Vectors that go in one transaction: others wait for so long.
pub(crate) const COLLECTED_AT_ONCE: usize = 4096;

/// Takes vectors away that were let go until the change `horizon`, of `limit`
/// texts at most. Tells whether there may be more.
pub(crate) fn collect(turn: &Turn<'_>, horizon: i64, limit: usize) -> Result<bool> {
    let mut take = turn.connection.prepare_cached(
        "DELETE FROM unused WHERE text_hash IN
             (SELECT text_hash FROM unused WHERE change <= ?1 LIMIT ?2)
         RETURNING text_hash",
    )?;
    let texts = take.query_map((horizon, limit), |row| row.get(0))?;
    let texts = texts.collect::<rusqlite::Result<Vec<TextHash>>>()?;
    let mut delete = turn
        .connection
        .prepare_cached("DELETE FROM embedding WHERE text_hash = ?1")?;
    for text in &texts {
        delete.execute([text])?;
    }
    Ok(texts.len() == limit)
}

/// Texts of live passages whose rowid is above `after` that `model` has no
/// vector of, by rowid, at most `limit`. The same text may come more than once.
pub(crate) fn missing(
    connection: &Connection,
    model: ModelId,
    after: i64,
    limit: usize,
) -> Result<Vec<Unembedded>> {
    let mut missing = connection.prepare_cached(
        "SELECT live.rowid, live.text_hash, live.text FROM live_passage AS live
         WHERE live.rowid > ?2 AND NOT EXISTS (
             SELECT 1 FROM embedding
             WHERE embedding.text_hash = live.text_hash AND embedding.model = ?1
               AND embedding.deleted = 0)
         ORDER BY live.rowid LIMIT ?3",
    )?;
    let rows = missing.query_map((model, after, limit), |row| {
        Ok(Unembedded {
            passage: row.get(0)?,
            hash: row.get(1)?,
            text: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Texts that model 1 has not seen, of changes 2 to 3.
pub(crate) const MISSING_OF_CHANGES: &str = "
WITH touched (passage) AS (
    SELECT key FROM change
    WHERE seq BETWEEN ?2 AND ?3 AND \"table\" = 'passage'
    UNION
    SELECT passage.rowid FROM change
    JOIN document ON document.rowid = change.key
    JOIN passage ON passage.document_id = document.id
    WHERE change.seq BETWEEN ?2 AND ?3 AND change.\"table\" = 'document'
)
SELECT live.rowid, live.text_hash, live.text
FROM touched JOIN live_passage AS live ON live.rowid = touched.passage
WHERE NOT EXISTS (
    SELECT 1 FROM embedding
    WHERE embedding.text_hash = live.text_hash AND embedding.model = ?1
      AND embedding.deleted = 0)
ORDER BY live.rowid";

/// As [`missing`], of the passages that the changes numbered `from` to `to`
/// touch.
pub(crate) fn missing_of_changes(
    connection: &Connection,
    model: ModelId,
    from: i64,
    to: i64,
) -> Result<Vec<Unembedded>> {
    let mut missing = connection.prepare_cached(MISSING_OF_CHANGES)?;
    let rows = missing.query_map((model, from, to), |row| {
        Ok(Unembedded {
            passage: row.get(0)?,
            hash: row.get(1)?,
            text: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many live passages have no vector of `model`.
pub(crate) fn count_missing(connection: &Connection, model: ModelId) -> Result<u64> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM live_passage AS live WHERE NOT EXISTS (
             SELECT 1 FROM embedding
             WHERE embedding.text_hash = live.text_hash AND embedding.model = ?1
               AND embedding.deleted = 0)",
    )?;
    Ok(count.query_row([model], |row| row.get(0))?)
}

/// A vector as it is stored.
pub(crate) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Reads a stored vector. Whether it has as many values as `vector`; what is
/// in there is of no use if not.
pub(crate) fn from_bytes(bytes: &[u8], vector: &mut [f32]) -> bool {
    let (values, rest) = bytes.as_chunks::<4>();
    for (to, from) in vector.iter_mut().zip(values) {
        *to = f32::from_le_bytes(*from);
    }
    rest.is_empty() && values.len() == vector.len()
}
