//! The id of a database: tells its indexes from those of another.

use rusqlite::{Connection, OptionalExtension};

use crate::error::{Error, Result};

/// The id, which a new database is given.
pub(crate) fn of(connection: &Connection) -> Result<[u8; 16]> {
    connection.execute(
        "INSERT INTO meta (key, value) VALUES ('database', ?1) ON CONFLICT DO NOTHING",
        [fresh()],
    )?;
    let id: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM meta WHERE key = 'database'", [], |row| {
            row.get(0)
        })
        .optional()?;
    let id = id.and_then(|id| <[u8; 16]>::try_from(id).ok());
    id.ok_or_else(|| Error::corrupt("id of the database is not 16 bytes"))
}

/// Makes a copy another database, whose indexes are its own.
pub(crate) fn renew(connection: &Connection) -> Result<()> {
    connection.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'database'",
        [fresh()],
    )?;
    Ok(())
}

fn fresh() -> [u8; 16] {
    fastrand::u128(..).to_le_bytes()
}
