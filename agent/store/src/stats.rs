//! What a store holds and takes.

use std::path::Path;

use rusqlite::Connection;

use crate::connection::log_of;
use crate::document::words;
use crate::embedding;
use crate::error::Result;
use crate::indexes::Indexes;
use crate::model::{self, Model};
use crate::vector;

/// What a store holds and takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Documents.
    pub documents: u64,
    /// Passages that can be found.
    pub passages: u64,
    /// Passages that a search by words does not find yet.
    pub unindexed: u64,
    /// Rows that were deleted, kept until every device has heard of it.
    pub tombstones: u64,
    /// Changes that are kept for the indexes and for other devices.
    pub changes: u64,
    /// Bytes of the database and its log.
    pub database_bytes: u64,
    /// The vector engine that was chosen.
    pub engine: vector::engine::Engine,
    /// Each model with its index.
    pub models: Vec<ModelStats>,
}

/// A model, its vectors and its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStats {
    /// The model.
    pub model: Model,
    /// Texts it has a vector of.
    pub vectors: u64,
    /// Passages it has no vector of.
    pub missing: u64,
    /// Which engine the index has.
    pub engine: vector::engine::Engine,
    /// Why that is not the engine that was chosen.
    pub engine_problem: Option<String>,
    /// Whether the index has every change; if not, searches read every row.
    pub ready: bool,
    /// What the index holds and takes.
    pub index: vector::Stats,
}

pub(crate) fn read(connection: &Connection, path: &Path, indexes: &Indexes) -> Result<Stats> {
    let count = |sql: &str| -> Result<u64> { Ok(connection.query_row(sql, [], |row| row.get(0))?) };
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut models = Vec::new();
    for model in model::list(connection)? {
        let index = indexes.of(model.id)?;
        let mut vectors = connection
            .prepare_cached("SELECT count(*) FROM embedding WHERE model = ?1 AND deleted = 0")?;
        models.push(ModelStats {
            vectors: vectors.query_row([model.id], |row| row.get(0))?,
            missing: embedding::count_missing(connection, model.id)?,
            engine: index.engine(),
            engine_problem: index.problem().map(str::to_owned),
            ready: index.is_live(),
            index: index.stats()?,
            model,
        });
    }
    Ok(Stats {
        documents: count("SELECT count(*) FROM document WHERE deleted = 0")?,
        passages: count("SELECT count(*) FROM live_passage")?,
        unindexed: words::waiting(connection)?,
        tombstones: count(
            "SELECT (SELECT count(*) FROM document WHERE deleted = 1)
                  + (SELECT count(*) FROM passage WHERE deleted = 1)
                  + (SELECT count(*) FROM embedding WHERE deleted = 1)
                  + (SELECT count(*) FROM model WHERE deleted = 1)",
        )?,
        changes: count("SELECT count(*) FROM change")?,
        database_bytes: bytes(path) + bytes(&log_of(path)),
        engine: indexes.chosen(),
        models,
    })
}

/// Live passages of more than so many bytes, by rowid.
pub(crate) fn longer_than(
    connection: &Connection,
    bytes: usize,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, String)>> {
    let mut find = connection.prepare_cached(
        "SELECT rowid, text FROM live_passage
         WHERE rowid > ?2 AND octet_length(text) > ?1 ORDER BY rowid LIMIT ?3",
    )?;
    let rows = find.query_map((bytes, after, limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
