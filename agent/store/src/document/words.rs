//! The words of new passages, into the full-text index: those of a transaction at
//! its end, together.

use rusqlite::Connection;

use crate::error::Result;

/// Indexes what came in this transaction.
pub(crate) fn index(connection: &Connection) -> Result<()> {
    let mut some = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM unindexed)")?;
    if !some.query_row([], |row| row.get(0))? {
        return Ok(());
    }
    let mut index = connection.prepare_cached(
        "INSERT INTO passage_text_index (rowid, text)
         SELECT passage.rowid, passage.text FROM unindexed
         JOIN passage ON passage.rowid = unindexed.passage ORDER BY passage.rowid",
    )?;
    index.execute([])?;
    connection
        .prepare_cached("DELETE FROM unindexed")?
        .execute([])?;
    Ok(())
}

/// Notes that no passage is indexed.
pub(crate) fn note_all(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM unindexed;
         INSERT INTO unindexed SELECT rowid FROM main.passage WHERE deleted = 0;",
    )?;
    Ok(())
}

/// Indexes everything anew.
pub(crate) fn rebuild(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM unindexed;
         INSERT INTO passage_text_index (passage_text_index) VALUES ('rebuild');",
    )?;
    Ok(())
}
