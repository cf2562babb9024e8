//! A published database taken over by a device that begins, or that was away for
//! too long.

use std::collections::BTreeMap;
use std::path::Path;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::{DeviceName, InvalidName};
use ginnel_proto::sync::batch::SCHEMA;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::row::Rows;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::published::{COLUMNS, escaped};
use super::{identity, meta, outgoing, peers};
use crate::cursor;
use crate::error::{Error, ErrorKind, Result};

/// What a published database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// The last batch of each device that is in it.
    pub(super) read: BTreeMap<DeviceName, u64>,
}

/// Opens a published database to read it.
pub(super) fn open(path: &Path) -> Result<(Connection, About)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let find = |key: &str| -> Result<Option<String>> {
        let mut find = connection.prepare("SELECT value FROM about WHERE key = ?1")?;
        Ok(find.query_row([key], |row| row.get(0)).optional()?)
    };
    let schema = find("schema")?.and_then(|schema| schema.parse::<u8>().ok());
    match schema {
        Some(schema) if schema > SCHEMA.major => {
            return Err(Error::new(
                ErrorKind::Newer,
                format!(
                    "published database is of a newer ginnel; hint: upgrade this device, schema={schema}"
                ),
            ));
        }
        Some(_) => {}
        None => return Err(Error::invalid("not a published database")),
    }
    let read = find("read")?.unwrap_or_default();
    let read = serde_json::from_str(&read)
        .map_err(|reason| Error::invalid(format!("published database is damaged, {reason}")))?;
    Ok((connection, About { read }))
}

/// Whether the store has no rows of its own, so that rows can be taken over as
/// they are.
pub(super) fn is_empty(connection: &Connection) -> Result<bool> {
    for table in outgoing::TABLES {
        let some = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if connection.query_row(&some, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes all rows over into a store that has none, in one transaction. Text and
/// vector indexes are to be made anew by the caller.
pub(super) fn take_over(connection: &Connection, path: &Path) -> Result<bool> {
    let (snapshot, about) = open(path)?;
    drop(snapshot);
    let name = path
        .to_str()
        .ok_or_else(|| Error::invalid("path is not text"))?;
    let uri = format!("file:{}?mode=ro&immutable=1", escaped(name));
    connection.execute("ATTACH ?1 AS published", [uri])?;
    let taken = take_over_attached(connection, &about);
    if taken.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("DETACH published")?;
    taken
}

fn take_over_attached(connection: &Connection, about: &About) -> Result<bool> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if !is_empty(connection)? {
        connection.execute_batch("ROLLBACK")?;
        return Ok(false);
    }
    // Models are few, and whoever follows them is to hear of each.
    let triggers = identity::take_triggers(
        connection,
        "name LIKE 'document_%' OR name LIKE 'passage_%' OR name LIKE 'embedding_%'",
    )?;
    for (table, columns) in outgoing::TABLES.iter().zip(COLUMNS) {
        connection.execute(
            &format!(
                "INSERT INTO main.{table} ({columns})
                 SELECT {columns} FROM published.{table} ORDER BY rowid"
            ),
            [],
        )?;
    }
    for trigger in triggers {
        connection.execute_batch(&trigger)?;
    }
    let mut last = Hlc::default();
    for table in outgoing::TABLES {
        let latest = format!("SELECT coalesce(max(hlc), 0) FROM {table}");
        let latest = connection.query_row(&latest, [], |row| row.get(0))?;
        last = last.max(Hlc::from_stored(latest).unwrap_or_default());
    }
    connection.execute(
        "INSERT INTO unused (text_hash, change)
         SELECT DISTINCT text_hash, (SELECT coalesce(max(seq), 0) FROM main.change)
         FROM main.embedding WHERE text_hash NOT IN (SELECT text_hash FROM main.passage)",
        [],
    )?;
    connection.execute(
        "INSERT INTO grave (document, change)
         SELECT rowid, (SELECT coalesce(max(seq), 0) FROM main.change)
         FROM main.document WHERE deleted = 1",
        [],
    )?;
    note(connection, about, last)?;
    connection.execute_batch("COMMIT")?;
    Ok(true)
}

/// Where a published database is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    table: usize,
    rowid: i64,
}

/// The next rows of a published database, at most so many, by the device that
/// changed them last; `None` at its end.
pub(super) fn rows(
    path: &Path,
    from: Place,
    most: usize,
) -> Result<Option<(BTreeMap<DeviceName, Rows>, Place)>> {
    let (connection, _) = open(path)?;
    let Some(table) = outgoing::TABLES.get(from.table) else {
        return Ok(None);
    };
    let select = format!("SELECT rowid, * FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2");
    let mut find = connection.prepare(&select)?;
    let mut found = find.query((from.rowid, most))?;
    let mut rows: BTreeMap<DeviceName, Rows> = BTreeMap::new();
    let mut place = Place {
        table: from.table + 1,
        rowid: 0,
    };
    let mut count = 0;
    while let Some(row) = found.next()? {
        let origin: String = row.get("origin")?;
        let origin = origin.parse().map_err(|reason: InvalidName| {
            Error::invalid(format!("published database is damaged, {reason}"))
        })?;
        rows.entry(origin)
            .or_default()
            .push(outgoing::read(from.table, row)?);
        count += 1;
        if count == most {
            place = Place {
                table: from.table,
                rowid: row.get("rowid")?,
            };
        }
    }
    Ok(Some((rows, place)))
}

/// From here on logs are read behind what was taken over.
pub(super) fn note(connection: &Connection, about: &About, last: Hlc) -> Result<()> {
    note_logs(connection, about)?;
    let known: i64 = meta::read(connection, "hlc")?.unwrap_or_default();
    let last = last.to_stored().max(known);
    meta::write(connection, "hlc", last)?;
    meta::write(connection, meta::SYNCED, last)?;
    // All that is there now came from there.
    outgoing::end_scan(connection)?;
    let change: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM change", [], |row| {
            row.get(0)
        })?;
    cursor::put(connection, outgoing::CURSOR, change)
}

/// As [`note`], where there are rows beside those that were taken over.
pub(super) fn note_logs(connection: &Connection, about: &About) -> Result<()> {
    for (device, sequence) in &about.read {
        let peer = peers::Peer {
            device: device.clone(),
            sequence: *sequence,
            // It is not known what the next one follows.
            hash: Hash::from_bytes([0; Hash::LENGTH]),
            last: Hlc::default(),
        };
        peers::put(connection, &peer)?;
    }
    Ok(())
}
