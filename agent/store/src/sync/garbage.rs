//! What is only kept until all devices know: rows of deleted documents, and
//! vectors that no passage uses.

use std::collections::BTreeMap;

use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::horizon::{Mark, SILENT_MAX};
use rusqlite::Connection;

use super::{meta, outgoing, peers};
use crate::embedding::{self, COLLECTED_AT_ONCE};
use crate::error::Result;
use crate::id::DocumentId;
use crate::write::Turn;

/// Marks that are kept: with one at each listing those of three days and a half. Of
/// more, every second one goes, for the oldest is as good as the one before.
const MARKS_MAX: usize = 336;

/// Documents that go in one transaction: others wait for so long.
const BURIED_AT_ONCE: usize = 4096;

/// No other device has heard of this document yet.
pub(crate) fn note_fresh(turn: &Turn<'_>, id: DocumentId) -> Result<()> {
    if !super::is_shared(turn.connection)? {
        return Ok(());
    }
    let mut note = turn.connection.prepare_cached(
        "INSERT INTO fresh (document, change) VALUES (?1, (SELECT max(seq) FROM change))
         ON CONFLICT (document) DO UPDATE SET change = excluded.change",
    )?;
    note.execute([id])?;
    Ok(())
}

/// Up to this change all is in the log.
pub(super) fn forget_fresh(turn: &Turn<'_>, change: i64) -> Result<()> {
    let mut forget = turn
        .connection
        .prepare_cached("DELETE FROM fresh WHERE change <= ?1")?;
    forget.execute([change])?;
    Ok(())
}

/// Remembers how far all logs are read now. Gives that.
pub(super) fn mark(turn: &Turn<'_>) -> Result<BTreeMap<DeviceName, u64>> {
    let peers = peers::all(turn.connection)?.into_iter();
    let read: BTreeMap<DeviceName, u64> = peers.map(|peer| (peer.device, peer.sequence)).collect();
    let as_json = serde_json::to_string(&read).unwrap_or_default();
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO mark (change, read) VALUES (?1, ?2) ON CONFLICT (change) DO NOTHING",
    )?;
    let sent = outgoing::sent_upto(turn.connection)?;
    put.execute((sent.unwrap_or_default(), as_json))?;
    let count: usize = turn
        .connection
        .query_row("SELECT count(*) FROM mark", [], |row| row.get(0))?;
    if count > MARKS_MAX {
        turn.connection.execute(
            "DELETE FROM mark WHERE change IN (SELECT change FROM (
                 SELECT change, row_number() OVER (ORDER BY change) AS place FROM mark)
             WHERE place % 2 = 0)",
            [],
        )?;
    }
    let long_ago = i64::try_from(turn.now()).unwrap_or(i64::MAX) - LEFT_OUT_FOR_MS;
    turn.connection
        .prepare_cached("DELETE FROM quarantine WHERE unix_ms < ?1")?
        .execute([long_ago])?;
    peers::without_gaps(turn.connection, "main")
}

/// A batch that was left out is waited for as long as a device that is silent, in
/// milliseconds.
const LEFT_OUT_FOR_MS: i64 = SILENT_MAX.as_secs().cast_signed() * 1000;

pub(super) fn marks(connection: &Connection) -> Result<Vec<Mark>> {
    let mut find = connection.prepare("SELECT change, read FROM mark ORDER BY change")?;
    let rows = find.query_map([], |row| {
        let read: String = row.get(1)?;
        Ok((row.get(0)?, read))
    })?;
    let mut marks = Vec::new();
    for row in rows {
        let (change, read) = row?;
        // One that cannot be read is none.
        if let Ok(read) = serde_json::from_str(&read) {
            marks.push(Mark { change, read });
        }
    }
    Ok(marks)
}

pub(super) fn gone(connection: &Connection) -> Result<Hlc> {
    let stored: Option<i64> = meta::read(connection, meta::GONE)?;
    Ok(Hlc::from_stored(stored.unwrap_or_default()).unwrap_or_default())
}

/// Notes the latest stamp of a deletion that goes with this horizon.
pub(super) fn will_be_gone(turn: &Turn<'_>, horizon: i64) -> Result<Hlc> {
    let latest = "SELECT coalesce(max(hlc), 0) FROM document
                  WHERE deleted = 1 AND rowid IN (SELECT document FROM grave WHERE change <= ?1)";
    let latest: i64 = turn
        .connection
        .query_row(latest, [horizon], |row| row.get(0))?;
    let before = gone(turn.connection)?;
    let latest = Hlc::from_stored(latest).unwrap_or_default().max(before);
    if latest > before {
        meta::write(turn.connection, meta::GONE, latest.to_stored())?;
    }
    Ok(latest)
}

/// Lets some go of what was kept until the change `horizon`. Tells whether there
/// may be more.
pub(super) fn collect(turn: &Turn<'_>, horizon: i64) -> Result<bool> {
    let more = embedding::collect(turn, horizon, COLLECTED_AT_ONCE)?;
    let mut take = turn.connection.prepare_cached(
        "DELETE FROM grave WHERE document IN
             (SELECT document FROM grave WHERE change <= ?1 LIMIT ?2)
         RETURNING document",
    )?;
    let rows = take.query_map((horizon, BURIED_AT_ONCE), |row| row.get(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
    let mut bury = turn
        .connection
        .prepare_cached("DELETE FROM document WHERE rowid = ?1 AND deleted = 1")?;
    for row in &rows {
        bury.execute([row])?;
    }
    turn.connection
        .prepare_cached("DELETE FROM mark WHERE change < ?1")?
        .execute([horizon])?;
    Ok(more || rows.len() == BURIED_AT_ONCE)
}
