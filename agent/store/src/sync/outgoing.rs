//! Rows that this device changed and others have not seen.
//!
//! At first those are all, table by table; from then on what the change log
//! tells. A row that was changed ten times is sent once, as it is then.

use std::collections::BTreeSet;

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_proto::sync::batch::Gathered;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::row::{
    Document, DocumentState, Embedding, Model, ModelState, Passage, Row, Rows,
};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use super::{garbage, meta};
use crate::cursor;
use crate::error::{Error, Result};
use crate::write::{Turn, last_change};

/// The tables that are shared, in the order in which they are first sent: what
/// a row needs to be found comes before or with it.
pub(super) const TABLES: [&str; 4] = ["model", "document", "passage", "embedding"];

/// Their places in [`TABLES`].
pub(super) const MODEL: usize = 0;
pub(super) const DOCUMENT: usize = 1;
pub(super) const EMBEDDING: usize = 3;

/// How far this reader of the changes has come.
pub(super) const CURSOR: &str = "sync";

/// Changes that are looked at for one batch: each is a few bytes of memory.
const CHANGES_AT_ONCE: usize = 100_000;

/// Rows to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The rows; none if nothing up to there is this device's.
    pub rows: Rows,
    /// Up to where they are all.
    pub upto: Upto,
}

/// A place in what is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upto {
    /// In a table that is sent for the first time.
    Row {
        /// Its place in [`TABLES`].
        table: usize,
        /// The last rowid.
        rowid: i64,
    },
    /// In the change log.
    Change(i64),
}

pub(super) fn next(connection: &Connection) -> Result<Option<Outgoing>> {
    let Some(origin) = meta::read::<String>(connection, meta::DEVICE)? else {
        return Ok(None);
    };
    match scan_place(connection)? {
        Some((table, rowid)) => scan(connection, &origin, table, rowid).map(Some),
        None => changed(connection, &origin),
    }
}

/// From here on all rows that are there are to be sent.
pub(super) fn begin_scan(connection: &Connection) -> Result<()> {
    for table in TABLES {
        let last = format!("SELECT coalesce(max(rowid), 0) FROM {table}");
        let last: i64 = connection.query_row(&last, [], |row| row.get(0))?;
        meta::write(connection, &format!("{}{table}", meta::SCAN_LAST), last)?;
    }
    meta::write(connection, meta::SCAN_TABLE, TABLES[0])?;
    meta::write(connection, meta::SCAN_ROW, 0)
}

/// All rows of that time are sent.
pub(super) fn end_scan(connection: &Connection) -> Result<()> {
    meta::remove(connection, meta::SCAN_ROW)?;
    meta::remove(connection, meta::SCAN_TABLE)
}

/// Up to which rowid a table is scanned.
fn scan_last(connection: &Connection, table: &str) -> Result<i64> {
    let last = meta::read(connection, &format!("{}{table}", meta::SCAN_LAST))?;
    Ok(last.unwrap_or_default())
}

/// Where the first sending is; `None` once it is over.
fn scan_place(connection: &Connection) -> Result<Option<(usize, i64)>> {
    let table: Option<String> = meta::read(connection, meta::SCAN_TABLE)?;
    let table = table.and_then(|table| TABLES.iter().position(|it| **it == table));
    let rowid = meta::read(connection, meta::SCAN_ROW)?.unwrap_or_default();
    Ok(table.map(|table| (table, rowid)))
}

fn scan(connection: &Connection, origin: &str, table: usize, after: i64) -> Result<Outgoing> {
    let mut gathered = Gathered::default();
    let mut rowid = after;
    for (number, name) in TABLES.iter().enumerate().skip(table) {
        let kind = KINDS[number];
        let select = format!(
            "{} WHERE rowid > ?1 AND rowid <= ?2 AND origin = ?3 ORDER BY rowid",
            kind.select
        );
        let mut find = connection.prepare_cached(&select)?;
        let mut rows = find.query((rowid, scan_last(connection, name)?, origin))?;
        while let Some(row) = rows.next()? {
            if !gathered.add((kind.read)(row)?) {
                let upto = Upto::Row {
                    table: number,
                    rowid,
                };
                let rows = gathered.into_rows();
                return Ok(Outgoing { rows, upto });
            }
            rowid = row.get("rowid")?;
        }
        tracing::debug!(table = name, "all rows are sent that were there");
        rowid = 0;
    }
    let upto = Upto::Row {
        table: TABLES.len(),
        rowid: 0,
    };
    let rows = gathered.into_rows();
    Ok(Outgoing { rows, upto })
}

fn changed(connection: &Connection, origin: &str) -> Result<Option<Outgoing>> {
    let from = sent_change(connection)?;
    let mut find = connection.prepare_cached(
        "SELECT seq, \"table\", key FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut changes = find.query((from, CHANGES_AT_ONCE))?;
    let mut seen = BTreeSet::new();
    let mut gathered = Gathered::default();
    let mut upto = from;
    while let Some(change) = changes.next()? {
        let seq = change.get(0)?;
        let table = change.get_ref(1)?.as_str().unwrap_or_default();
        let key: i64 = change.get(2)?;
        let number = TABLES.iter().position(|it| *it == table);
        if let Some(number) = number
            && seen.insert((number, key))
            && let Some(row) = find_row(connection, number, key, origin)?
            && !gathered.add(row)
        {
            break;
        }
        upto = seq;
    }
    if upto == from {
        return Ok(None);
    }
    Ok(Some(Outgoing {
        rows: gathered.into_rows(),
        upto: Upto::Change(upto),
    }))
}

/// A row, if it is there and was last changed by `origin`.
fn find_row(
    connection: &Connection,
    table: usize,
    rowid: i64,
    origin: &str,
) -> Result<Option<Row>> {
    let kind = KINDS[table];
    let select = format!("{} WHERE rowid = ?1 AND origin = ?2", kind.select);
    let mut find = connection.prepare_cached(&select)?;
    let found = find.query_row((rowid, origin), |row| Ok((kind.read)(row)));
    found.optional()?.transpose()
}

pub(super) fn sent(turn: &Turn<'_>, upto: Upto) -> Result<()> {
    meta::write(turn.connection, meta::SYNCED, turn.last_stamp().to_stored())?;
    match upto {
        Upto::Change(seq) => {
            cursor::set(turn, CURSOR, seq)?;
            garbage::forget_fresh(turn, seq)?;
            match seq == last_change(turn.connection)? {
                true => forget_late(turn.connection),
                false => Ok(()),
            }
        }
        Upto::Row { table, rowid } => {
            let Some(table) = TABLES.get(table) else {
                garbage::forget_fresh(turn, sent_change(turn.connection)?)?;
                return end_scan(turn.connection);
            };
            meta::write(turn.connection, meta::SCAN_TABLE, table)?;
            meta::write(turn.connection, meta::SCAN_ROW, rowid)
        }
    }
}

/// All stamps have been seen by now.
fn forget_late(connection: &Connection) -> Result<()> {
    let mut forget = connection.prepare_cached("DELETE FROM late")?;
    forget.execute([])?;
    Ok(())
}

/// Up to which change all is in this device's log; `None` while all is sent for the
/// first time. What is not there yet nobody can know.
pub(super) fn sent_upto(connection: &Connection) -> Result<Option<i64>> {
    match scan_place(connection)? {
        Some(_) => Ok(None),
        None => sent_change(connection).map(Some),
    }
}

/// The last change that was sent, or is that of a row which the first sending sends.
fn sent_change(connection: &Connection) -> Result<i64> {
    Ok(cursor::read(connection, CURSOR)?.unwrap_or_default())
}

pub(super) fn backlog(connection: &Connection) -> Result<u64> {
    let from = sent_change(connection)?;
    let behind = last_change(connection)?.saturating_sub(from);
    let mut rows = u64::try_from(behind).unwrap_or_default();
    if let Some((table, rowid)) = scan_place(connection)? {
        for (number, name) in TABLES.iter().enumerate().skip(table) {
            // Rowids have few gaps: near enough, and at once.
            let from = if number == table { rowid } else { 0 };
            let left = scan_last(connection, name)?.saturating_sub(from);
            rows += u64::try_from(left).unwrap_or_default();
        }
    }
    Ok(rows)
}

/// Which rows of a table are yet to be sent, as a condition on its rowid.
pub(super) fn unsent(connection: &Connection, table: usize) -> Result<String> {
    let from = sent_change(connection)?;
    let name = TABLES[table];
    let mut condition =
        format!("rowid IN (SELECT key FROM change WHERE seq > {from} AND \"table\" = '{name}')");
    if let Some((scanned, rowid)) = scan_place(connection)?
        && scanned <= table
    {
        let after = if scanned == table { rowid } else { 0 };
        let last = scan_last(connection, name)?;
        condition = format!("({condition} OR rowid > {after} AND rowid <= {last})");
    }
    Ok(condition)
}

/// What was changed under another name and not sent is this one's now.
pub(super) fn rename(turn: &Turn<'_>, before: &str) -> Result<()> {
    for (number, table) in TABLES.iter().enumerate() {
        let unsent = unsent(turn.connection, number)?;
        let rename = format!("UPDATE {table} SET origin = ?1 WHERE origin = ?2 AND {unsent}");
        turn.connection.execute(&rename, (turn.origin, before))?;
    }
    Ok(())
}

/// How the rows of a table are read.
#[derive(Clone, Copy)]
struct Kind {
    select: &'static str,
    read: fn(&SqlRow<'_>) -> Result<Row>,
}

/// As [`TABLES`].
const KINDS: [Kind; 4] = [
    Kind {
        select: "SELECT rowid, id, name, dimensions, metric, hlc, deleted, extra FROM model",
        read: model,
    },
    Kind {
        select: "SELECT rowid, id, collection, source, title, mime, content_hash, metadata, hlc,
                     deleted, extra FROM document",
        read: document,
    },
    Kind {
        select: "SELECT rowid, id, document_id, revision, position, byte_start, byte_end, text,
                     hlc, extra FROM passage",
        read: passage,
    },
    Kind {
        select: "SELECT rowid, text_hash, model, vector, hlc, extra FROM embedding",
        read: embedding,
    },
];

/// Reads a row of a table, of all its columns.
pub(super) fn read(table: usize, row: &SqlRow<'_>) -> Result<Row> {
    (KINDS[table].read)(row)
}

fn model(row: &SqlRow<'_>) -> Result<Row> {
    let state = match row.get("deleted")? {
        true => None,
        false => Some(ModelState {
            name: row.get("name")?,
            dimensions: row.get("dimensions")?,
            metric: row.get("metric")?,
        }),
    };
    Ok(Row::Model(Model {
        id: hash(row, "id")?,
        hlc: stamp(row)?,
        extra: extra(row)?,
        state,
    }))
}

fn document(row: &SqlRow<'_>) -> Result<Row> {
    let state = match row.get("deleted")? {
        true => None,
        false => Some(DocumentState {
            collection: row.get("collection")?,
            source: row.get("source")?,
            title: row.get("title")?,
            mime: row.get("mime")?,
            revision: hash(row, "content_hash")?,
            metadata: row.get("metadata")?,
        }),
    };
    Ok(Row::Document(Document {
        id: row.get("id")?,
        hlc: stamp(row)?,
        extra: extra(row)?,
        state,
    }))
}

fn passage(row: &SqlRow<'_>) -> Result<Row> {
    Ok(Row::Passage(Passage {
        id: row.get("id")?,
        hlc: stamp(row)?,
        extra: extra(row)?,
        document: row.get("document_id")?,
        revision: hash(row, "revision")?,
        position: row.get("position")?,
        byte_start: row.get("byte_start")?,
        byte_end: row.get("byte_end")?,
        text: row.get("text")?,
    }))
}

fn embedding(row: &SqlRow<'_>) -> Result<Row> {
    let vector = row.get_ref("vector")?.as_blob().unwrap_or_default();
    Ok(Row::Embedding(Embedding {
        text: hash(row, "text_hash")?,
        model: hash(row, "model")?,
        hlc: stamp(row)?,
        extra: extra(row)?,
        vector: Bytes::copy_from_slice(vector),
    }))
}

fn hash(row: &SqlRow<'_>, column: &str) -> Result<Hash> {
    Ok(Hash::from_bytes(row.get(column)?))
}

fn stamp(row: &SqlRow<'_>) -> Result<Hlc> {
    let stored: i64 = row.get("hlc")?;
    Hlc::from_stored(stored).map_err(|reason| Error::corrupt(reason.to_string()))
}

fn extra(row: &SqlRow<'_>) -> Result<Bytes> {
    let extra: Option<Vec<u8>> = row.get("extra")?;
    Ok(extra.unwrap_or_default().into())
}
