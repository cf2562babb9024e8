//! The newest batches of this device, kept as they were written, for a bucket that
//! loses what it took.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};

use super::{Written, stored_sequence};
use crate::error::Result;
use crate::write::Turn;

/// How many are kept at most, and their bytes: what a bucket may lose when it
/// stops at the wrong moment.
const KEPT_MAX: u64 = 64;
const KEPT_BYTES_MAX: i64 = 16 << 20;

/// Keeps a batch, and lets older ones go for it.
pub(super) fn keep(turn: &Turn<'_>, written: &Written) -> Result<()> {
    let sequence = stored_sequence(written.sequence)?;
    turn.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO written (sequence, first, last, object)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            sequence,
            written.first.to_stored(),
            written.last.to_stored(),
            &*written.object,
        ))?;
    let first = stored_sequence(written.sequence.saturating_sub(KEPT_MAX - 1))?;
    turn.connection
        .prepare_cached(
            "DELETE FROM written WHERE sequence < ?1 OR sequence < (
                 SELECT max(sequence) FROM (
                     SELECT sequence, sum(length(object)) OVER (ORDER BY sequence DESC) AS bytes
                     FROM written
                 ) WHERE bytes > ?2 AND sequence <> ?3
             ) + 1",
        )?
        .execute((first, KEPT_BYTES_MAX, sequence))?;
    Ok(())
}

/// A batch as it was written, if it is kept.
pub(super) fn find(connection: &Connection, sequence: u64) -> Result<Option<Bytes>> {
    let mut find = connection.prepare_cached("SELECT object FROM written WHERE sequence = ?1")?;
    let found = find.query_row([stored_sequence(sequence)?], |row| row.get(0));
    Ok(found.optional()?.map(|object: Vec<u8>| object.into()))
}
