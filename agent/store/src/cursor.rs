//! How far readers of the change log have come, and other small things that
//! last.

use rusqlite::{Connection, OptionalExtension};

use crate::error::Result;
use crate::write::Turn;

pub(crate) fn read(connection: &Connection, name: &str) -> Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT seq FROM cursor WHERE name = ?1")?;
    Ok(find.query_row([name], |row| row.get(0)).optional()?)
}

/// Moves a cursor; changes behind it may be forgotten from now on.
pub(crate) fn set(turn: &Turn<'_>, name: &str, seq: i64) -> Result<()> {
    put(turn.connection, name, seq)
}

/// As [`set`], in a transaction of the caller's.
pub(crate) fn put(connection: &Connection, name: &str, seq: i64) -> Result<()> {
    let mut set = connection.prepare_cached(
        "INSERT INTO cursor (name, seq) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET seq = excluded.seq",
    )?;
    set.execute((name, seq))?;
    Ok(())
}

/// Takes a cursor away: nobody waits for it any more.
pub(crate) fn remove(turn: &Turn<'_>, name: &str) -> Result<()> {
    let mut remove = turn
        .connection
        .prepare_cached("DELETE FROM cursor WHERE name = ?1")?;
    remove.execute([name])?;
    Ok(())
}

pub(crate) fn note(connection: &Connection, key: &str) -> Result<Option<String>> {
    let mut find = connection.prepare_cached("SELECT value FROM meta WHERE key = 'note:' || ?1")?;
    Ok(find.query_row([key], |row| row.get(0)).optional()?)
}

pub(crate) fn set_note(turn: &Turn<'_>, key: &str, value: &str) -> Result<()> {
    let mut set = turn.connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('note:' || ?1, ?2)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    set.execute((key, value))?;
    Ok(())
}
