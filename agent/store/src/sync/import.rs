//! A published database taken over by a device that begins, or that was away for
//! too long.

use std::collections::BTreeMap;
use std::path::Path;

use ginnel_proto::id::{DeviceName, InvalidName};
use ginnel_proto::sync::batch::SCHEMA;
use ginnel_proto::sync::extra::floor;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::row::Rows;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::published::escaped;
use super::{
    APPLIED_AT_ONCE, Rest, identity, joining, meta, outgoing, peers, stored_sequence, unheard,
    valid,
};
use crate::cursor;
use crate::document::words;
use crate::error::{Error, ErrorKind, Result};
use crate::id::TextHash;
use crate::ingest;

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
    let read: BTreeMap<DeviceName, u64> = serde_json::from_str(&read)
        .map_err(|reason| Error::invalid(format!("published database is damaged, {reason}")))?;
    read.values()
        .try_for_each(|it| stored_sequence(*it).map(drop))?;
    Ok((connection, About { read }))
}

/// Whether every row of a published database is one that a batch may bring, and
/// none is later than `latest`.
pub(super) fn check(path: &Path, latest: Hlc) -> Result<()> {
    let damaged = |reason: &dyn std::fmt::Display| {
        Error::invalid(format!("published database is damaged, {reason}"))
    };
    let connection = open(path)?.0;
    for table in outgoing::TABLES {
        let odd = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE rowid < 1)");
        if connection.query_row(&odd, [], |row| row.get(0))? {
            return Err(damaged(&"its rows are not numbered from 1"));
        }
    }
    check_passages(&connection).map_err(|error| damaged(&error))?;
    let mut place = Place::default();
    while let Some((all, next)) =
        rows(path, place, APPLIED_AT_ONCE).map_err(|error| damaged(&error))?
    {
        for rows in all.values() {
            valid::validate(rows).map_err(|error| damaged(&error))?;
            let floors = rows.models.iter().map(|row| floor(&row.extra));
            let last = rows.stamps().map(|(_, last)| last);
            if floors.chain(last).any(|stamp| stamp > latest) {
                return Err(damaged(
                    &"it has rows from the future; hint: see to the clocks of devices",
                ));
            }
        }
        place = next;
    }
    Ok(())
}

/// Whether every passage is one that counts, and of the text that its hash says.
fn check_passages(connection: &Connection) -> Result<()> {
    let gone = "SELECT EXISTS (SELECT 1 FROM passage WHERE deleted <> 0)
                    OR EXISTS (SELECT 1 FROM embedding WHERE deleted <> 0)";
    if connection.query_row(gone, [], |row| row.get(0))? {
        return Err(Error::invalid("it has passages or vectors that are gone"));
    }
    let mut all = connection.prepare("SELECT text, text_hash FROM passage")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let hash: TextHash = row.get(1)?;
        if row.get_ref(0)?.as_str().map(TextHash::of) != Ok(hash) {
            return Err(Error::invalid("a passage is not what its hash says"));
        }
    }
    Ok(())
}

/// Whether the store has no rows but models, so that rows can be taken over as they
/// are. A device that makes vectors has its model from the start.
pub(super) fn is_empty(connection: &Connection) -> Result<bool> {
    for table in ["document", "passage", "embedding"] {
        let some = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if connection.query_row(&some, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes all rows over into a store that has none but models, in one transaction;
/// `false` if it has some. The caller sees to vector indexes and to words, which wait.
pub(crate) fn take_over(
    connection: &Connection,
    path: &Path,
    origin: &str,
    latest: Hlc,
) -> Result<bool> {
    let done = attached(connection, path, |about| {
        if !is_empty(connection)? {
            return Ok(false);
        }
        unheard::keep(connection, origin, Rest::Nothing)?;
        clear(connection)?;
        copy_checked(connection, path, about, latest)?;
        unheard::write_again(connection, origin)?;
        Ok(true)
    });
    unheard::forget(connection)?;
    done
}

/// Takes all rows over instead of those that are there. Of these stays what
/// [`unheard`] says.
pub(crate) fn start_over(
    connection: &Connection,
    path: &Path,
    origin: &str,
    latest: Hlc,
    rest: Rest,
) -> Result<()> {
    let done = attached(connection, path, |about| {
        unheard::keep(connection, origin, rest)?;
        clear(connection)?;
        copy_checked(connection, path, about, latest)?;
        unheard::write_again(connection, origin)?;
        ingest::read_missing_again(connection)?;
        joining::begin(connection)
    });
    unheard::forget(connection)?;
    done
}

/// Runs `work` in a transaction, with the published database beside the store.
fn attached<T>(
    connection: &Connection,
    path: &Path,
    work: impl FnOnce(&About) -> Result<T>,
) -> Result<T> {
    let (snapshot, about) = open(path)?;
    drop(snapshot);
    let name = path
        .to_str()
        .ok_or_else(|| Error::invalid("path is not text"))?;
    let uri = format!("file:{}?mode=ro&immutable=1", escaped(name));
    connection.execute("ATTACH ?1 AS published", [uri])?;
    let done = in_transaction(connection, || work(&about));
    connection.execute_batch("DETACH published")?;
    done
}

fn in_transaction<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = work();
    // On a full disk SQLite takes everything back by itself.
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    let done = done?;
    connection.execute_batch("COMMIT")?;
    Ok(done)
}

/// Copies the rows as they lie there, and looks at them meanwhile: an error takes
/// them back.
fn copy_checked(connection: &Connection, path: &Path, about: &About, latest: Hlc) -> Result<()> {
    std::thread::scope(|scope| {
        let check = scope.spawn(|| check(path, latest));
        let copied = copy_all(connection, about);
        let checked = check.join();
        checked.unwrap_or_else(|_| Err(Error::closed()))?;
        copied
    })
}

/// Removes all shared rows, in one transaction.
pub(super) fn erase(connection: &Connection) -> Result<()> {
    in_transaction(connection, || {
        clear(connection)?;
        // Names of files, and what would keep them from being read again.
        connection.execute_batch("DELETE FROM main.ingest; DELETE FROM main.ingest_document")?;
        tear_log(connection)?;
        let change = "SELECT coalesce(max(seq), 0) FROM main.change";
        let change = connection.query_row(change, [], |row| row.get(0))?;
        outgoing::end_scan(connection)?;
        cursor::put(connection, outgoing::CURSOR, change)
    })?;
    // What was written ahead is folded in, so that it is nowhere any more.
    connection.execute_batch("PRAGMA incremental_vacuum")?;
    let mut fold = connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
    fold.query_row([], |_| Ok(()))?;
    Ok(())
}

/// Empties the shared tables, and all that speaks of them.
fn clear(connection: &Connection) -> Result<()> {
    let triggers = identity::take_triggers(
        connection,
        "name LIKE 'document_%' OR name LIKE 'passage_%' OR name LIKE 'embedding_%'",
    )?;
    for table in outgoing::TABLES {
        connection.execute(&format!("DELETE FROM main.{table}"), [])?;
    }
    connection.execute_batch(
        "DELETE FROM main.peer; DELETE FROM main.quarantine; DELETE FROM main.unused;
         DELETE FROM main.grave; DELETE FROM main.mark; DELETE FROM main.fresh;
         DELETE FROM main.written; DELETE FROM main.met; DELETE FROM main.doubt;",
    )?;
    words::rebuild(connection)?;
    for trigger in triggers {
        connection.execute_batch(&trigger)?;
    }
    Ok(())
}

/// Copies all rows into tables that have none.
fn copy_all(connection: &Connection, about: &About) -> Result<()> {
    // Models are few, and whoever follows them is to hear of each.
    let triggers = identity::take_triggers(
        connection,
        "name LIKE 'document_%' OR name LIKE 'passage_%' OR name LIKE 'embedding_%'",
    )?;
    // Without them SQLite copies rows as they are, of tables that are defined alike.
    // <https://www.sqlite.org/src/file/src/insert.c>, xferOptimization
    let indexes = identity::take_indexes(connection)?;
    for table in outgoing::TABLES {
        connection.execute(
            &format!("INSERT INTO main.{table} SELECT * FROM published.{table}"),
            [],
        )?;
    }
    for made_anew in indexes.iter().chain(&triggers) {
        connection.execute_batch(made_anew)?;
    }
    words::put_off(connection)?;
    tear_log(connection)?;
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
    note(connection, about, last)
}

/// Leaves a gap in the log of changes: rows came and went that it does not name. So
/// whoever follows it, an index that is on disk among them, begins anew. Models may
/// be among those rows.
fn tear_log(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "INSERT INTO main.change (\"table\", key) VALUES ('model', 0);
         DELETE FROM main.change WHERE seq < (SELECT max(seq) FROM main.change);
         UPDATE main.change SET seq = seq + 2;",
    )?;
    Ok(())
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
            hash: peers::NOT_READ,
            last: Hlc::default(),
        };
        peers::put(connection, &peer)?;
        peers::release(connection, device, *sequence)?;
    }
    Ok(())
}
