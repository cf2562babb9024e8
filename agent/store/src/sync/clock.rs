//! This device's clock, corrected by the relay's.

use ginnel_proto::sync::extra::{floor, with_floor};
use ginnel_proto::sync::hlc::Hlc;
use rusqlite::Connection;

use super::{identity, meta, outgoing, published};
use crate::cursor;
use crate::error::Result;
use crate::write::Turn;

/// A correction by less than this changes no stamp that was made: as much two
/// machines differ that both ask the time.
const FAR_OFF_MS: u64 = 5_000;

/// Corrects the clock. Stamps that nobody has seen move with it if it was far
/// off, so that they say when the change was made: not after now, and not
/// before what this device knew by then, which the change came after.
pub(super) fn correct(turn: &mut Turn<'_>, offset_ms: i64) -> Result<usize> {
    let by = offset_ms.saturating_sub(turn.clock_offset());
    if by.unsigned_abs() < FAR_OFF_MS {
        turn.set_clock(offset_ms, turn.last_stamp());
        return Ok(0);
    }
    let synced: Option<i64> = meta::read(turn.connection, meta::SYNCED)?;
    let now = turn.now().saturating_add_signed(by);
    let shift = Shift {
        by: by.saturating_mul(1 << 16),
        least: synced.unwrap_or_default().saturating_add(1),
        most: Hlc::of_parts(now, 0).unwrap_or(Hlc::LAST).to_stored(),
        origin: turn.origin.to_owned(),
    };
    // What was never sent is sent anyhow, and only a published database has stamps too.
    let is_published = cursor::read(turn.connection, published::CURSOR)?.is_some();
    let triggers = match is_published {
        true => Vec::new(),
        false => identity::take_triggers(turn.connection, "name LIKE '%_changed'")?,
    };
    let mut moved = 0;
    let mut last = Hlc::from_stored(synced.unwrap_or_default()).unwrap_or_default();
    for table in 0..outgoing::TABLES.len() {
        let (rows, latest) = shift.apply(turn.connection, table)?;
        moved += rows;
        last = last.max(latest);
    }
    for trigger in triggers {
        turn.connection.execute_batch(&trigger)?;
    }
    shift.lower_floors(turn.connection)?;
    turn.connection.execute("DELETE FROM late", [])?;
    turn.set_clock(offset_ms, last);
    tracing::info!(
        by_ms = by,
        rows = moved,
        "clock was corrected by the relay's"
    );
    Ok(moved)
}

/// How stamps move, as they are stored.
struct Shift {
    by: i64,
    least: i64,
    most: i64,
    origin: String,
}

impl Shift {
    /// Moves what is unsent of a table. Gives how many rows that were, and the
    /// latest stamp among them.
    fn apply(&self, connection: &Connection, table: usize) -> Result<(usize, Hlc)> {
        let unsent = outgoing::unsent(connection, table)?;
        let table = outgoing::TABLES[table];
        let mut shift = connection.prepare(&format!(
            "UPDATE {table} SET hlc = max(?1, min(?2, ?3 + coalesce(
                 (SELECT unix_ms << 16 FROM late WHERE late.hlc = {table}.hlc), hlc)))
             WHERE origin = ?4 AND {unsent} RETURNING hlc"
        ))?;
        let columns = (self.least, self.most.max(self.least), self.by, &self.origin);
        let stamps = shift.query_map(columns, |row| row.get::<_, i64>(0))?;
        let mut latest = Hlc::default();
        let mut rows = 0;
        for stamp in stamps {
            rows += 1;
            latest = latest.max(Hlc::from_stored(stamp?).unwrap_or_default());
        }
        Ok((rows, latest))
    }

    /// What was let go was let go by now.
    fn lower_floors(&self, connection: &Connection) -> Result<()> {
        let most = Hlc::from_stored(self.most).unwrap_or_default();
        let mut find = connection.prepare("SELECT rowid, extra FROM model WHERE extra NOT NULL")?;
        let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found = found.collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
        for (rowid, extra) in found {
            if floor(&extra) > most {
                let lower = "UPDATE model SET extra = ?2 WHERE rowid = ?1";
                connection.execute(lower, (rowid, with_floor(&extra, most)))?;
            }
        }
        Ok(())
    }
}
