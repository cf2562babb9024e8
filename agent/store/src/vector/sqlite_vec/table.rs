//! The `vec0` table: what is asked of it, in SQL.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::rc::Rc;

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, ffi, params};

use super::chunks;
use crate::error::{Error, ErrorKind, Result};
use crate::vector::exact::settle::{Answer, Found, Rest};
use crate::vector::metric::Metric;
use crate::vector::sidecar::to_bytes;
use crate::vector::{Change, Entry, Request, Spec};

/// The version of these tables and of the extension that reads them.
pub(super) const FORMAT: &str = "sqlite-vec-0.1.9-1";

/// About how large a chunk of rows is, in bytes: the default of 1,024 rows of
/// 384 dimensions. A change rewrites parts of one, and reads all of it.
const CHUNK_BYTES: usize = 1024 * 384 * 4;

/// Makes the extension known to this connection only, so that no other
/// connection of the process has its functions.
///
/// # Errors
/// SQLite cannot take it.
pub(super) fn register(connection: &Connection) -> Result<()> {
    type Init = unsafe extern "C" fn(
        *mut ffi::sqlite3,
        *mut *mut c_char,
        *const ffi::sqlite3_api_routines,
    ) -> c_int;
    let mut message = ptr::null_mut();
    #[expect(
        unsafe_code,
        reason = "the extension is C code linked into the program"
    )]
    // SAFETY: the crate declares the function without its arguments; these are
    // the ones it has in the C source, as of every extension's entry point. The
    // handle is open as long as the connection is borrowed. Built with
    // SQLITE_CORE, the extension calls SQLite by name and never looks at the
    // routines. The message, if any, is a string that SQLite allocated and that
    // is freed once, after it was copied.
    let (code, reason) = unsafe {
        let init: Init = std::mem::transmute(sqlite_vec::sqlite3_vec_init as *const ());
        let code = init(connection.handle(), &raw mut message, ptr::null());
        let reason =
            (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned());
        ffi::sqlite3_free(message.cast());
        (code, reason)
    };
    if code != ffi::SQLITE_OK {
        let reason = reason.unwrap_or_default();
        return Err(Error::new(
            ErrorKind::Internal,
            format!("sqlite-vec cannot be used, code={code}, reason={reason}"),
        ));
    }
    Ok(())
}

/// Makes the tables.
///
/// # Errors
/// They cannot be written.
pub(super) fn create(connection: &Connection, spec: &Spec) -> Result<()> {
    let dimensions = spec.dimensions;
    let metric = match spec.metric {
        Metric::Cosine | Metric::Dot => "cosine",
        Metric::Euclidean => "L2",
    };
    // The extension wants a multiple of 8, and 4,096 at most.
    let rows = (CHUNK_BYTES / 4 / dimensions.max(1)).clamp(8, 1024) / 8 * 8;
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE vectors USING vec0(
             passage INTEGER PRIMARY KEY,
             vector FLOAT[{dimensions}] distance_metric={metric},
             +embedding INTEGER,
             +crc INTEGER,
             chunk_size={rows}
         );"
    ))?;
    chunks::create(connection)
}

/// Takes changes in, and notes what the chunks they touched are like now.
///
/// # Errors
/// They cannot be written.
pub(super) fn apply(transaction: &Transaction<'_>, changes: &[Change]) -> Result<()> {
    let mut touched = chunks::Touched::default();
    for change in changes {
        match change {
            Change::Upsert(entry) => {
                upsert(transaction, entry)?;
                touched.add(transaction, entry.passage)?;
            }
            Change::Delete { passage } => {
                touched.add(transaction, *passage)?;
                let delete = "DELETE FROM vectors WHERE passage = ?";
                transaction.prepare_cached(delete)?.execute([passage])?;
            }
        }
    }
    touched.write_checks(transaction)
}

/// In place if it is there, which leaves no hole in its chunk.
fn upsert(transaction: &Transaction<'_>, entry: &Entry) -> Result<()> {
    let crc = crc_of(entry.passage, entry.embedding);
    let values = params![entry.passage, to_bytes(&entry.vector), entry.embedding, crc];
    let update = "UPDATE vectors SET vector = ?2, embedding = ?3, crc = ?4 WHERE passage = ?1";
    if transaction.prepare_cached(update)?.execute(values)? == 0 {
        let insert = "INSERT INTO vectors(passage, vector, embedding, crc) VALUES (?1, ?2, ?3, ?4)";
        transaction.prepare_cached(insert)?.execute(values)?;
    }
    Ok(())
}

/// The nearest rows that pass the filter, by the extension's arithmetic.
///
/// # Errors
/// The table cannot be read.
pub(super) fn nearest(
    connection: &Connection,
    metric: Metric,
    request: Request<'_>,
    limit: usize,
) -> Result<Answer> {
    let query = to_bytes(request.query);
    let k = i64::try_from(limit).unwrap_or(i64::MAX);
    let all = "SELECT passage, embedding, distance, crc FROM vectors
         WHERE vector MATCH ?1 AND k = ?2";
    let found = match request.filter {
        None => read(connection, all, params![query, k], metric)?,
        Some(passing) => {
            let passing: Vec<_> = passing.iter().map(Value::from).collect();
            let some = format!("{all} AND passage IN (SELECT value FROM rarray(?3))");
            read(
                connection,
                &some,
                params![query, k, Rc::new(passing)],
                metric,
            )?
        }
    };
    let rest = match found.last() {
        Some(last) if found.len() >= limit => Rest::AtMost(last.score),
        Some(_) | None => Rest::None,
    };
    Ok(Answer {
        found,
        rest,
        longest: 1.0,
    })
}

fn read(
    connection: &Connection,
    select: &str,
    values: &[&dyn rusqlite::ToSql],
    metric: Metric,
) -> Result<Vec<Found>> {
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (passage, embedding, crc): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(3)?);
        if crc != crc_of(passage, embedding) {
            return Err(Error::corrupt(format!(
                "index is damaged; hint: ginnel store rebuild-index, passage={passage}"
            )));
        }
        let distance: f64 = row.get(2)?;
        let score = match metric {
            Metric::Cosine | Metric::Dot => 1.0 - distance,
            Metric::Euclidean => -distance,
        };
        found.push(Found {
            passage,
            embedding,
            score,
        });
    }
    Ok(found)
}

/// A checksum of what leads from a passage to its row: the wrong row may well
/// be there, and no row at all looks as if it had been deleted.
fn crc_of(passage: i64, embedding: i64) -> i64 {
    let bytes = [passage.to_le_bytes(), embedding.to_le_bytes()].concat();
    crc32fast::hash(&bytes).into()
}
