//! The `vss0` table and those beside it: what is asked of them, in SQL.
//!
//! ```text
//! vectors (vss0)   rowid = passage, vector
//! vectors_index    the whole Faiss index, as one value
//! entries (ours)   passage → embedding, with a checksum
//! state (ours)     checksum of the index, and the length of its longest vector
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use rusqlite::blob::Blob;
use rusqlite::limits::Limit;
use rusqlite::types::Value;
use rusqlite::{Connection, MAIN_DB, Transaction, params};

use super::faiss::{FRAME_BYTES, Flat};
use crate::error::{Error, ErrorKind, Result};
use crate::vector::exact::settle::length;
use crate::vector::metric::Metric;
use crate::vector::sidecar::to_bytes;
use crate::vector::{Entry, Spec};

/// The version of these tables and of the extension that reads them.
pub(super) const FORMAT: &str = "sqlite-vss-0.1.2-2";

/// Changes by passage: the entry it has now, or none if it is gone.
pub(super) type Pending = BTreeMap<i64, Option<Entry>>;

/// The embeddings of the passages in the table.
pub(super) type Known = BTreeMap<i64, i64>;

/// Makes the tables. The index is always flat: one with lists would look at one
/// of them only, since SQL cannot ask for more.
///
/// # Errors
/// They cannot be written.
pub(super) fn create(connection: &Connection, spec: &Spec) -> Result<()> {
    let metric = match spec.metric {
        Metric::Cosine | Metric::Dot => "INNER_PRODUCT",
        Metric::Euclidean => "L2",
    };
    connection.execute_batch(&format!(
        "CREATE TABLE entries(passage INTEGER PRIMARY KEY, embedding INTEGER, crc INTEGER);
         CREATE TABLE state(crc INTEGER, longest REAL);
         INSERT INTO state VALUES (NULL, 0);
         CREATE VIRTUAL TABLE vectors USING vss0(
             vector({}) factory=\"Flat,IDMap2\" metric_type={metric}
         );",
        spec.dimensions
    ))?;
    Ok(())
}

/// What the tables hold, if they are whole. Looks at the index before the
/// extension does.
///
/// # Errors
/// They are damaged, or cannot be read.
pub(super) fn read_whole(connection: &Connection, spec: &Spec) -> Result<Known> {
    let known = read_entries(connection)?;
    let state = "SELECT crc FROM state";
    let crc: Option<i64> = connection.query_row(state, [], |row| row.get(0))?;
    if crc.is_some_and(|crc| !index_crc(connection).is_ok_and(|found| found == crc)) {
        return Err(Error::corrupt("index has another checksum"));
    }
    let flat = Flat::read(index(connection)?)?;
    let mut rowids = flat.rowids;
    rowids.sort_unstable();
    let by_product = spec.metric != Metric::Euclidean;
    let fits = (flat.dimensions, flat.by_product) == (spec.dimensions, by_product);
    let all = "SELECT rowid FROM vectors_data ORDER BY rowid";
    let mut rows = connection.prepare(all)?;
    let rows: Vec<i64> = rows
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !fits || rowids != rows || !known.keys().eq(&rowids) {
        return Err(Error::corrupt("index has other rows than it should"));
    }
    Ok(known)
}

fn read_entries(connection: &Connection) -> Result<Known> {
    let mut known = Known::new();
    let mut entries = connection.prepare("SELECT passage, embedding, crc FROM entries")?;
    let mut entries = entries.query([])?;
    while let Some(row) = entries.next()? {
        let (passage, embedding, crc): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if crc != entry_crc(passage, embedding) {
            return Err(Error::corrupt(format!(
                "entry is damaged, passage={passage}"
            )));
        }
        known.insert(passage, embedding);
    }
    Ok(known)
}

fn entry_crc(passage: i64, embedding: i64) -> i64 {
    let bytes = [passage.to_le_bytes(), embedding.to_le_bytes()].concat();
    crc32fast::hash(&bytes).into()
}

fn index(connection: &Connection) -> Result<Blob<'_>> {
    Ok(connection.blob_open(MAIN_DB, "vectors_index", "idx", 0, true)?)
}

/// Writes the checksum of the index, if it changed since the last time.
///
/// # Errors
/// The index cannot be read, or the checksum not written.
pub(super) fn write_crc(connection: &Connection) -> Result<()> {
    let state = "SELECT crc FROM state";
    let crc: Option<i64> = connection.query_row(state, [], |row| row.get(0))?;
    if crc.is_none() {
        let crc = index_crc(connection)?;
        connection.execute("UPDATE state SET crc = ?", [crc])?;
    }
    Ok(())
}

fn index_crc(connection: &Connection) -> Result<i64> {
    let mut index = index(connection)?;
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = index.read(&mut buffer);
        let read = read.map_err(|reason| Error::corrupt(format!("index ends, reason={reason}")))?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(crc.finalize().into()),
            Some(some) => crc.update(some),
        }
    }
}

/// Writes changes. A row is never updated, only deleted and inserted, since the
/// extension cannot; all deletes are one statement, since each reads all rows;
/// and no passage comes twice, since the extension deletes before it inserts,
/// whatever the order was.
///
/// # Errors
/// They cannot be written. The connection must not be used again: the index in
/// its memory may have them.
pub(super) fn write(transaction: &Transaction<'_>, batch: &Pending, known: &Known) -> Result<()> {
    let old = batch.keys().filter(|passage| known.contains_key(passage));
    let old: Vec<_> = old.copied().map(Value::from).collect();
    if !old.is_empty() {
        let old = Rc::new(old);
        for table in [
            "DELETE FROM vectors WHERE rowid",
            "DELETE FROM entries WHERE passage",
        ] {
            let delete = format!("{table} IN (SELECT value FROM rarray(?))");
            transaction
                .prepare_cached(&delete)?
                .execute([Rc::clone(&old)])?;
        }
    }
    let mut longest: f64 = 0.0;
    for entry in batch.values().flatten() {
        let crc = entry_crc(entry.passage, entry.embedding);
        transaction
            .prepare_cached("INSERT INTO entries VALUES (?, ?, ?)")?
            .execute([entry.passage, entry.embedding, crc])?;
        transaction
            .prepare_cached("INSERT INTO vectors(rowid, vector) VALUES (?, ?)")?
            .execute(params![entry.passage, value(&entry.vector)])?;
        longest = longest.max(length(&entry.vector));
    }
    let state = "UPDATE state SET crc = NULL, longest = max(longest, ?)";
    transaction.prepare_cached(state)?.execute([longest])?;
    Ok(())
}

/// A vector in the extension's own format. It takes bare values too, but where
/// the first two bytes of those happen to be this heading, as in one vector of
/// 65,536, it reads one value less, and garbage for all that follow in the
/// transaction.
fn value(vector: &[f32]) -> Vec<u8> {
    let mut value = vec![b'v', 1];
    value.extend(to_bytes(vector));
    value
}

/// The nearest rows, by the extension's arithmetic. There must be at least one
/// row in the table, and at least one wanted: else the process ends.
///
/// # Errors
/// The table cannot be read.
pub(super) fn nearest(
    connection: &Connection,
    metric: Metric,
    query: &[f32],
    limit: usize,
) -> Result<Vec<(i64, f64)>> {
    let search = "SELECT rowid, distance FROM vectors
         WHERE vss_search(vector, vss_search_params(?1, ?2))";
    let mut statement = connection.prepare_cached(search)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![value(query), limit], |row| {
        let distance: f64 = row.get(1)?;
        let score = match metric {
            Metric::Cosine | Metric::Dot => distance,
            // Faiss leaves the root out.
            Metric::Euclidean => -distance.max(0.0).sqrt(),
        };
        Ok((row.get(0)?, score))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The length of the longest vector that was ever in the table.
///
/// # Errors
/// It cannot be read.
pub(super) fn longest(connection: &Connection) -> Result<f64> {
    let mut statement = connection.prepare_cached("SELECT longest FROM state")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Whether so many rows can be in an index. Faiss writes all of them as one
/// value, which SQLite limits to 1,000,000,000 bytes.
///
/// # Errors
/// They cannot.
pub(super) fn check_size(connection: &Connection, spec: &Spec, rows: usize) -> Result<()> {
    let limit = u64::try_from(connection.limit(Limit::SQLITE_LIMIT_LENGTH)?).unwrap_or(0);
    let bytes = index_bytes(spec, rows);
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "too many vectors for sqlite-vss; hint: set store.vector_engine = \"scan\", \
             rows={rows}, dimensions={}, bytes={bytes}, limit={limit}",
            spec.dimensions
        ),
    ))
}

/// How large the index of so many rows is, in bytes.
pub(super) fn index_bytes(spec: &Spec, rows: usize) -> u64 {
    let row = spec.dimensions as u64 * 4 + 8;
    row.saturating_mul(rows as u64).saturating_add(FRAME_BYTES)
}
