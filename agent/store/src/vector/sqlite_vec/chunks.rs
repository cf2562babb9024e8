//! The chunks in which `vec0` 0.1.9 stores rows, each with a checksum of ours:
//! SQLite has none, and a flipped bit in a vector would hide its passage from
//! every search.
//!
//! ```text
//! vectors_chunks            chunk_id, size, validity (a bit a slot), rowids (8 bytes a slot)
//! vectors_vector_chunks00   rowid = chunk_id, vectors (4 bytes a dimension and slot)
//! vectors_rowids            rowid → chunk_id, chunk_offset
//! checks (ours)             chunk → CRC-32 of validity, rowids and vectors
//! ```

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use crate::error::Result;

const CHUNK: &str = "SELECT validity, rowids, vectors FROM vectors_chunks
     JOIN vectors_vector_chunks00 ON vectors_vector_chunks00.rowid = chunk_id
     WHERE chunk_id = ?";

/// Makes the table of checksums.
///
/// # Errors
/// It cannot be written.
pub(super) fn create(connection: &Connection) -> Result<()> {
    let table = "CREATE TABLE checks(chunk INTEGER PRIMARY KEY, crc INTEGER NOT NULL)";
    Ok(connection.execute_batch(table)?)
}

/// Chunks that a transaction changes.
#[derive(Debug, Default)]
pub(super) struct Touched(BTreeSet<i64>);

impl Touched {
    /// Adds the chunk that a passage is in now, if it is in one.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn add(&mut self, connection: &Connection, passage: i64) -> Result<()> {
        let place = "SELECT chunk_id FROM vectors_rowids WHERE rowid = ?";
        let mut statement = connection.prepare_cached(place)?;
        let chunk = statement.query_row([passage], |row| row.get::<_, i64>(0));
        self.0.extend(chunk.optional()?);
        Ok(())
    }

    /// Writes their checksums, or takes those away of chunks that are gone.
    ///
    /// # Errors
    /// A chunk cannot be read, or the table not written.
    pub(super) fn write_checks(&self, connection: &Connection) -> Result<()> {
        for chunk in &self.0 {
            match read(connection, *chunk)? {
                Some(found) => connection
                    .prepare_cached("INSERT OR REPLACE INTO checks VALUES (?, ?)")?
                    .execute([*chunk, i64::from(found.crc)])?,
                None => connection
                    .prepare_cached("DELETE FROM checks WHERE chunk = ?")?
                    .execute([chunk])?,
            };
        }
        Ok(())
    }
}

/// Whether every chunk is as it was written, and every row where it should be.
/// Reads the whole file.
///
/// # Errors
/// The file cannot be read.
pub(super) fn are_whole(connection: &Connection) -> Result<bool> {
    let mut checks = connection.prepare("SELECT chunk, crc FROM checks")?;
    let mut checks = checks.query([])?;
    let (mut chunks, mut rows) = (0_u64, 0_u64);
    while let Some(check) = checks.next()? {
        let (chunk, crc): (i64, i64) = (check.get(0)?, check.get(1)?);
        let Some(found) = read(connection, chunk)? else {
            return Ok(false);
        };
        if i64::from(found.crc) != crc || !found.is_where_rows_say(connection, chunk)? {
            return Ok(false);
        }
        chunks += 1;
        rows += found.passages().count() as u64;
    }
    let all = number(connection, "SELECT count(*) FROM vectors_chunks")?;
    Ok(chunks == all && rows == number(connection, "SELECT count(*) FROM vectors_rowids")?)
}

/// Rows, and slots that hold none any more. Free slots of the last chunk are
/// still to be filled.
///
/// # Errors
/// The file cannot be read.
pub(super) fn count(connection: &Connection) -> Result<(u64, u64)> {
    let rows = number(connection, "SELECT count(*) FROM vectors_rowids")?;
    let last = "(SELECT max(chunk_id) FROM vectors_chunks)";
    let slots = format!("SELECT ifnull(sum(size), 0) FROM vectors_chunks WHERE chunk_id < {last}");
    let filled = format!("SELECT count(*) FROM vectors_rowids WHERE chunk_id < {last}");
    let dead = number(connection, &slots)?.saturating_sub(number(connection, &filled)?);
    Ok((rows, dead))
}

fn number(connection: &Connection, query: &str) -> Result<u64> {
    let number: i64 = connection.query_row(query, [], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// What a chunk holds.
struct Chunk {
    validity: Vec<u8>,
    rowids: Vec<u8>,
    crc: u32,
}

fn read(connection: &Connection, chunk: i64) -> Result<Option<Chunk>> {
    let mut statement = connection.prepare_cached(CHUNK)?;
    let found = statement.query_row([chunk], |row| {
        let (validity, rowids): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&validity);
        crc.update(&rowids);
        crc.update(row.get_ref(2)?.as_blob()?);
        Ok(Chunk {
            validity,
            rowids,
            crc: crc.finalize(),
        })
    });
    Ok(found.optional()?)
}

impl Chunk {
    /// The passages in it, with their slots.
    fn passages(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let (rowids, _) = self.rowids.as_chunks();
        let slots = rowids.iter().zip(0_i64..).enumerate();
        slots.filter_map(|(at, (rowid, slot))| {
            let valid = self.validity.get(at / 8)? >> (at % 8) & 1 == 1;
            valid.then(|| (i64::from_le_bytes(*rowid), slot))
        })
    }

    fn is_where_rows_say(&self, connection: &Connection, chunk: i64) -> Result<bool> {
        let place = "SELECT count(*) FROM vectors_rowids
             WHERE rowid = ? AND chunk_id = ? AND chunk_offset = ?";
        let mut statement = connection.prepare_cached(place)?;
        for (passage, slot) in self.passages() {
            let there: i64 = statement.query_row([passage, chunk, slot], |row| row.get(0))?;
            if there != 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
