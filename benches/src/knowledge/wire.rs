//! Bytes at the bucket for 400 new passages with vectors, written in 20
//! transactions, and for 400 deletions.

use std::time::Duration;

use anyhow::ensure;
use ginnel_agent::api::knowledge::sync::SyncWanted;
use ginnel_agent::api::knowledge::view::{NewDocument, NewPassage, StoredView};
use ginnel_agent::knowledge::sync::status::SyncStatus;
use ginnel_tests::bucket::Strict;
use ginnel_tests::bucket::strict::{Counts, Operation};
use ginnel_tests::chaos::world::Device;
use http::Method;
use rusqlite::Connection;
use serde_json::Value;
use tokio::time::sleep;

use super::float;
use super::ground::{Ground, tell, until_in_step};
use super::litestream::{Litestream, copy, until_quiet};
use super::rows::MODEL;
use super::table::{Figures, Row};
use crate::store::Material;

/// How many passages are written.
const PASSAGES: usize = 400;

/// In how many transactions.
const TRANSACTIONS: usize = 20;

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// All is written when nothing was for so long: more than the second after which
/// Litestream writes, and the two of our head.
const QUIET: Duration = Duration::from_secs(4);

pub(super) async fn run(
    ground: &mut Ground,
    litestream: &Litestream,
    material: &Material,
    rounds: u32,
) -> anyhow::Result<String> {
    let mut figures = Figures::new("On the wire", "bytes ÷ payload", "bytes a deletion");
    let folder = tempfile::tempdir()?;
    let (database, connection) = copy(&ground.published, folder.path())?;
    let replicating = litestream.replicate(folder.path(), &database, "wire")?;
    // The first snapshot is not counted.
    let all = until_quiet(|| received(&ground.other), Duration::from_secs(15)).await?;
    ensure!(all > 1_000_000, "Litestream has sent nothing");
    for round in 1..=rounds {
        eprintln!("wire, round {round} of {rounds}");
        let from = ground.passages + PASSAGES * round as usize * 2;
        let ours = ginnel(ground, material, from).await?;
        figures.add("Ginnel, 20 documents of 20 passages", ours);
        let ours = ginnel_small(ground, material, from + PASSAGES).await?;
        figures.add("Ginnel, 400 documents of a passage", ours);
        let theirs = litestream_rows(ground, &connection, material, from).await?;
        figures.add("Litestream, 400 rows", theirs);
    }
    drop(replicating);
    Ok(figures.to_markdown())
}

/// Bytes that were put into the bucket, whatever they are.
fn received(strict: &Strict) -> u64 {
    let counts: Counts = strict.counts();
    counts.received(Operation::Put) + counts.received(Operation::UploadPart)
}

/// Documents of 20 passages. A deletion is that of a document, of which these are
/// too few to say what one costs.
async fn ginnel(ground: &Ground, material: &Material, from: usize) -> anyhow::Result<Row> {
    let each = PASSAGES / TRANSACTIONS;
    let (ids, bytes, payload) = add(ground, material, from, each).await?;
    delete(ground, &ids).await?;
    Ok(Row::new(float(bytes) / float(payload as u64), f64::NAN))
}

/// Documents of one passage, each deleted by itself.
async fn ginnel_small(ground: &Ground, material: &Material, from: usize) -> anyhow::Result<Row> {
    let (ids, bytes, payload) = add(ground, material, from, 1).await?;
    let deleted = delete(ground, &ids).await?;
    Ok(Row::new(
        float(bytes) / float(payload as u64),
        float(deleted) / float(ids.len() as u64),
    ))
}

async fn add(
    ground: &Ground,
    material: &Material,
    from: usize,
    each: usize,
) -> anyhow::Result<(Vec<String>, u64, usize)> {
    let device = &ground.world.laptop;
    let strict = &ground.world.r2.strict;
    let before = until_quiet(|| received(strict), QUIET).await?;
    let (mut ids, mut payload) = (Vec::new(), 0);
    for transaction in 0..TRANSACTIONS {
        let rows = PASSAGES / TRANSACTIONS;
        let first = from + transaction * rows;
        for first in (first..first + rows).step_by(each) {
            let mut document = NewDocument {
                source: Some(format!("wire-{first}")),
                model: Some(MODEL.to_owned()),
                ..NewDocument::default()
            };
            for row in first..first + each {
                let (text, vector) = fresh(material, row);
                payload += text.len() + vector.len() * 4;
                document.passages.push(NewPassage {
                    text,
                    vector: Some(vector),
                });
            }
            let stored: StoredView = tell(device, Method::POST, "/v1/documents", &document).await?;
            ids.push(stored.id);
        }
        sleep(PAUSE).await;
    }
    until_in_step(device).await?;
    let after = until_quiet(|| received(strict), QUIET).await?;
    Ok((ids, after - before, payload))
}

async fn delete(ground: &Ground, ids: &[String]) -> anyhow::Result<u64> {
    let device = &ground.world.laptop;
    let strict = &ground.world.r2.strict;
    let before = until_quiet(|| received(strict), QUIET).await?;
    // As if it were offline: so they go in one batch, as Litestream's in one
    // transaction.
    pause(device, true).await?;
    for id in ids {
        let path = format!("/v1/documents/{id}");
        let _nothing: Value = tell(device, Method::DELETE, &path, &Value::Null).await?;
    }
    pause(device, false).await?;
    until_in_step(device).await?;
    let after = until_quiet(|| received(strict), QUIET).await?;
    Ok(after - before)
}

async fn pause(device: &Device, paused: bool) -> anyhow::Result<()> {
    let wanted = SyncWanted { paused };
    let _status: SyncStatus = tell(device, Method::PUT, "/v1/sync", &wanted).await?;
    Ok(())
}

/// A text and vector that no other row has.
fn fresh(material: &Material, row: usize) -> (String, Vec<f32>) {
    let text = format!("{} ({row})", material.text(row));
    (text, material.vector(row).to_vec())
}

/// The same into the same tables, of which Litestream ships the pages.
async fn litestream_rows(
    ground: &Ground,
    connection: &Connection,
    material: &Material,
    from: usize,
) -> anyhow::Result<Row> {
    let before = until_quiet(|| received(&ground.other), QUIET).await?;
    let mut payload = 0;
    for transaction in 0..TRANSACTIONS {
        let rows = PASSAGES / TRANSACTIONS;
        let first = from + transaction * rows;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for row in first..first + rows {
            let (text, vector) = fresh(material, row);
            payload += text.len() + vector.len() * 4;
            insert(connection, &text, &vector)?;
        }
        connection.execute_batch("COMMIT")?;
        sleep(PAUSE).await;
    }
    let added = until_quiet(|| received(&ground.other), QUIET).await?;
    let deleted = connection.execute(
        "DELETE FROM passage WHERE rowid > (SELECT max(rowid) - ?1 FROM passage)",
        [PASSAGES],
    )?;
    connection.execute(
        "DELETE FROM embedding WHERE rowid > (SELECT max(rowid) - ?1 FROM embedding)",
        [PASSAGES],
    )?;
    let after = until_quiet(|| received(&ground.other), QUIET).await?;
    Ok(Row::new(
        float(added - before) / float(payload as u64),
        float(after - added) / float(deleted as u64),
    ))
}

/// As a store without Ginnel's log would have it.
fn insert(connection: &Connection, text: &str, vector: &[f32]) -> anyhow::Result<()> {
    let hash = ginnel_blob::hash::Hash::of(text.as_bytes());
    let id = hash.as_bytes().first_chunk::<16>().copied();
    let mut bytes = Vec::with_capacity(vector.len() * 4);
    for value in vector {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    connection.execute(
        "INSERT INTO passage (id, document_id, revision, position, byte_start, byte_end, text,
             text_hash, hlc, origin, deleted)
         VALUES (?1, ?1, ?2, 0, 0, ?3, ?4, ?2, 1, 'bench', 0)",
        (id, hash.as_bytes(), text.len(), text),
    )?;
    connection.execute(
        "INSERT INTO embedding (text_hash, model, vector, hlc, origin, deleted)
         VALUES (?1, (SELECT id FROM model LIMIT 1), ?2, 1, 'bench', 0)",
        (hash.as_bytes(), bytes),
    )?;
    Ok(())
}
