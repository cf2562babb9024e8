//! What this device changed and no other has heard of, while it begins anew with
//! what is published.
//!
//! It is set aside, and written again over what is taken over, with the stamps that
//! it has: the later change wins, as ever. What it says of documents that are not
//! there any more goes, unless no other device ever had them.

use ginnel_proto::sync::extra::floor;
use ginnel_proto::sync::hlc::Hlc;
use rusqlite::Connection;

use super::published::COLUMNS;
use super::{Rest, outgoing};
use crate::embedding;
use crate::error::Result;
use crate::id::{DocumentId, ModelId, TextHash};
use crate::model;
use crate::write::Turn;

/// Sets it aside, in tables of this connection.
pub(super) fn keep(connection: &Connection, origin: &str, rest: Rest) -> Result<()> {
    forget(connection)?;
    keep_documents(connection, origin, rest)?;
    connection.execute_batch(
        "CREATE TEMP TABLE kept_passage AS SELECT * FROM main.passage
             WHERE document_id IN (SELECT id FROM kept_document)",
    )?;
    let unsent = outgoing::unsent(connection, outgoing::EMBEDDING)?;
    connection.execute(
        &format!(
            "CREATE TEMP TABLE kept_embedding AS
             SELECT *, origin = ?1 AND {unsent} AS is_unsent FROM main.embedding
             WHERE is_unsent OR text_hash IN (SELECT text_hash FROM kept_passage)"
        ),
        [origin],
    )?;
    let unsent = outgoing::unsent(connection, outgoing::MODEL)?;
    connection.execute(
        &format!(
            "CREATE TEMP TABLE kept_model AS
             SELECT *, origin = ?1 AND {unsent} AS is_unsent FROM main.model
             WHERE is_unsent OR deleted = 0 AND id IN (SELECT model FROM kept_embedding)"
        ),
        [origin],
    )?;
    Ok(())
}

/// Of a document that is published too, or whose deletion is, the later state counts.
fn keep_documents(connection: &Connection, origin: &str, rest: Rest) -> Result<()> {
    let unsent = outgoing::unsent(connection, outgoing::DOCUMENT)?;
    let select = format!(
        "SELECT *, id IN (SELECT document FROM main.fresh) AS is_fresh,
                id IN (SELECT id FROM published.document) AS is_published
         FROM main.document WHERE origin = ?1 AND {unsent}
             AND CASE
                 WHEN is_published THEN EXISTS (
                     SELECT 1 FROM published.document AS theirs
                     WHERE theirs.id = main.document.id
                         AND (main.document.hlc, main.document.origin)
                             > (theirs.hlc, theirs.origin))
                 WHEN is_fresh THEN deleted = 0
                 ELSE ?2 END"
    );
    let follows = rest == Rest::BatchesOfBefore;
    connection.execute(
        &format!("CREATE TEMP TABLE kept_document AS {select}"),
        (origin, follows),
    )?;
    Ok(())
}

/// Writes it again over what was taken over.
pub(super) fn write_again(connection: &Connection, origin: &str) -> Result<()> {
    write_models(connection, origin)?;
    let [_, documents, passages, _] = COLUMNS;
    connection.execute_batch(&format!(
        "DELETE FROM main.passage WHERE document_id IN (SELECT id FROM kept_document);
         DELETE FROM main.document WHERE id IN (SELECT id FROM kept_document);
         INSERT INTO main.document ({documents}) SELECT {documents} FROM kept_document;
         INSERT INTO main.passage ({passages}) SELECT {passages} FROM kept_passage;
         INSERT INTO main.fresh (document, change)
             SELECT id, (SELECT coalesce(max(seq), 0) FROM main.change)
             FROM kept_document WHERE is_fresh;
         INSERT INTO main.met (document) SELECT id FROM kept_document WHERE is_published;
         INSERT INTO main.doubt (document, hlc)
             SELECT id, hlc FROM kept_document WHERE NOT is_fresh AND NOT is_published;"
    ))?;
    write_embeddings(connection, origin)
}

/// A model of which this device said something last, or that vectors need which are
/// kept.
fn write_models(connection: &Connection, origin: &str) -> Result<()> {
    let [columns, ..] = COLUMNS;
    let mut find = connection.prepare(
        "SELECT kept.id, kept.extra, theirs.extra FROM kept_model AS kept
         LEFT JOIN published.model AS theirs USING (id)
         WHERE theirs.id IS NULL
            OR kept.is_unsent AND (kept.hlc, kept.origin) > (theirs.hlc, theirs.origin)",
    )?;
    type Found = (ModelId, Option<Vec<u8>>, Option<Vec<u8>>);
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found = found.collect::<rusqlite::Result<Vec<Found>>>()?;
    for (id, kept, theirs) in found {
        connection.execute(
            &format!(
                "INSERT INTO main.model ({columns}) SELECT {columns} FROM kept_model WHERE id = ?1
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                     dimensions = excluded.dimensions, metric = excluded.metric,
                     hlc = excluded.hlc, deleted = excluded.deleted, extra = excluded.extra"
            ),
            [id],
        )?;
        let own = "UPDATE main.model SET origin = ?2 WHERE id = ?1";
        connection.execute(own, (id, origin))?;
        let floors = [kept, theirs].map(|extra| floor(&extra.unwrap_or_default()));
        let floor = floors.into_iter().max().unwrap_or_default();
        if floor > Hlc::default() {
            model::raise_floor(connection, id, floor)?;
        }
    }
    Ok(())
}

/// Vectors that this device made last, and those of texts that are kept: these it
/// sends again where they are not published.
fn write_embeddings(connection: &Connection, origin: &str) -> Result<()> {
    let [.., columns] = COLUMNS;
    connection.execute_batch(&format!(
        "INSERT INTO main.embedding ({columns}) SELECT {columns} FROM kept_embedding
         WHERE model IN (SELECT id FROM main.model WHERE deleted = 0)
         ON CONFLICT (text_hash, model) DO UPDATE SET vector = excluded.vector,
             hlc = excluded.hlc, origin = excluded.origin, extra = excluded.extra
         WHERE (excluded.hlc, excluded.origin) > (hlc, origin)
             AND (excluded.text_hash, excluded.model) IN
                 (SELECT text_hash, model FROM kept_embedding WHERE is_unsent)"
    ))?;
    connection.execute(
        "UPDATE main.embedding SET origin = ?1
         WHERE origin <> ?1
             AND (text_hash, model) IN (SELECT text_hash, model FROM kept_embedding)
             AND (text_hash, model) NOT IN (SELECT text_hash, model FROM published.embedding)",
        [origin],
    )?;
    connection.execute(
        "INSERT INTO main.unused (text_hash, change)
         SELECT DISTINCT text_hash, (SELECT coalesce(max(seq), 0) FROM main.change)
         FROM main.embedding WHERE text_hash NOT IN (SELECT text_hash FROM main.passage)
         ON CONFLICT DO NOTHING",
        [],
    )?;
    connection.execute(
        "DELETE FROM main.unused WHERE text_hash IN (SELECT text_hash FROM main.passage)",
        [],
    )?;
    Ok(())
}

/// What was set aside is needed no longer.
pub(super) fn forget(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DROP TABLE IF EXISTS temp.kept_model; DROP TABLE IF EXISTS temp.kept_document;
         DROP TABLE IF EXISTS temp.kept_passage; DROP TABLE IF EXISTS temp.kept_embedding;",
    )?;
    Ok(())
}

/// All that belongs to what this device began with is there: documents that were in
/// doubt and that nobody else has go.
pub(super) fn settle(turn: &Turn<'_>) -> Result<()> {
    let mut find = turn.connection.prepare(
        "SELECT document FROM doubt WHERE document NOT IN (SELECT document FROM met)
             AND (document, hlc, ?1) IN (SELECT id, hlc, origin FROM document)",
    )?;
    let found = find.query_map([turn.origin], |row| row.get(0))?;
    let found = found.collect::<rusqlite::Result<Vec<DocumentId>>>()?;
    let mut empty = turn
        .connection
        .prepare("DELETE FROM passage WHERE document_id = ?1 RETURNING text_hash")?;
    let mut remove = turn
        .connection
        .prepare("DELETE FROM document WHERE id = ?1")?;
    let mut texts = Vec::<TextHash>::new();
    for id in found {
        let passages = empty.query_map([id], |row| row.get::<_, TextHash>(0))?;
        texts.extend(passages.collect::<rusqlite::Result<Vec<_>>>()?);
        remove.execute([id])?;
    }
    turn.connection.execute("DELETE FROM doubt", [])?;
    embedding::release(turn, &texts)
}
