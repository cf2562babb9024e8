//! The rows that a vector index is of.

use std::ops::ControlFlow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use crate::embedding::from_bytes;
use crate::error::Result;
use crate::model::Model;
use crate::vector::{Change, Entry, EntryRef, Rows};

/// The rows of one model, as a connection sees them.
#[derive(Debug)]
pub(crate) struct ModelRows<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) model: &'a Model,
}

impl Rows for ModelRows<'_> {
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let mut find = self
            .connection
            .prepare_cached("SELECT vector FROM embedding WHERE rowid = ?1 AND deleted = 0")?;
        let mut vector = vec![0.0; self.model.dimensions];
        for (at, embedding) in embeddings.iter().enumerate() {
            let mut rows = find.query([embedding])?;
            if let Some(row) = rows.next()?
                && read(row.get_ref(0)?, *embedding, &mut vector)
            {
                each(at, &vector);
            }
        }
        Ok(())
    }

    fn entries(&self, each: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>) -> Result<()> {
        let mut all = self.connection.prepare_cached(
            "SELECT live.rowid, embedding.rowid, embedding.vector
             FROM live_passage AS live
             JOIN embedding ON embedding.text_hash = live.text_hash
             WHERE embedding.model = ?1 AND embedding.deleted = 0
             ORDER BY live.rowid",
        )?;
        let mut rows = all.query([self.model.id])?;
        let mut vector = vec![0.0; self.model.dimensions];
        while let Some(row) = rows.next()? {
            let embedding = row.get(1)?;
            if !read(row.get_ref(2)?, embedding, &mut vector) {
                continue;
            }
            let entry = EntryRef {
                passage: row.get(0)?,
                embedding,
                vector: &vector,
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl ModelRows<'_> {
    /// What the changes numbered `from` to `to` mean for an index: what has
    /// become of every passage that they touch. At most `limit` changes are
    /// looked at; gives the number of the last one.
    pub(crate) fn changes(&self, from: i64, to: i64, limit: i64) -> Result<(Vec<Change>, i64)> {
        let to = to.min(from.saturating_add(limit - 1));
        let mut touched = self.connection.prepare_cached(TOUCHED)?;
        let changes = self.read_changes(&mut touched, from, to)?;
        Ok((changes, to))
    }

    fn read_changes(&self, touched: &mut Statement<'_>, from: i64, to: i64) -> Result<Vec<Change>> {
        let mut rows = touched.query((from, to, self.model.id))?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let passage = row.get(0)?;
            let embedding: Option<i64> = row.get(1)?;
            let mut vector = vec![0.0; self.model.dimensions];
            let stored = row.get_ref(2)?;
            let there = embedding.filter(|embedding| read(stored, *embedding, &mut vector));
            changes.push(match there {
                None => Change::Delete { passage },
                Some(embedding) => Change::Upsert(Entry {
                    passage,
                    embedding,
                    vector,
                }),
            });
        }
        Ok(changes)
    }
}

/// Reads a stored vector, if it is whole. One that is not is as good as none:
/// `ginnel store check` finds it, and embedding the text again mends it.
fn read(stored: ValueRef<'_>, embedding: i64, vector: &mut [f32]) -> bool {
    let bytes = stored.as_blob().unwrap_or_default();
    let whole = from_bytes(bytes, vector);
    if !whole {
        tracing::warn!(
            row = embedding,
            bytes = bytes.len(),
            expected = 4 * vector.len(),
            "embedding is damaged and left out; hint: ginnel store check"
        );
    }
    whole
}

/// Every passage that some changes touch, directly or by its document or
/// vector, with its vector if it is live and has one.
pub(crate) const TOUCHED: &str = "
WITH touched (passage) AS (
    SELECT key FROM change
    WHERE seq BETWEEN ?1 AND ?2 AND \"table\" = 'passage'
    UNION
    SELECT passage.rowid FROM change
    JOIN document ON document.rowid = change.key
    JOIN passage ON passage.document_id = document.id
    WHERE change.seq BETWEEN ?1 AND ?2 AND change.\"table\" = 'document'
    UNION
    SELECT passage.rowid FROM change
    JOIN embedding ON embedding.rowid = change.key AND embedding.model = ?3
    JOIN passage ON passage.text_hash = embedding.text_hash
    WHERE change.seq BETWEEN ?1 AND ?2 AND change.\"table\" = 'embedding'
)
SELECT touched.passage, embedding.rowid, embedding.vector
FROM touched
LEFT JOIN passage ON passage.rowid = touched.passage AND passage.deleted = 0
LEFT JOIN document ON document.id = passage.document_id
                  AND document.content_hash = passage.revision AND document.deleted = 0
LEFT JOIN embedding ON document.id IS NOT NULL AND embedding.text_hash = passage.text_hash
                   AND embedding.model = ?3 AND embedding.deleted = 0
ORDER BY touched.passage";
