//! The words of new passages, into the full-text index: those of a transaction at
//! its end, together; those of a database that was taken over little by little,
//! while the store is used.

use rusqlite::Connection;

use crate::error::Result;

/// Passages whose words are indexed in one transaction, of those that can wait:
/// some 50 ms, for which other jobs wait.
const AT_A_TIME: usize = 2048;

/// The entry of `meta` with the last passage whose words can wait. Passages that
/// come later have greater numbers.
const CAN_WAIT: &str = "words_can_wait";

/// SQLite keeps to the order of a `CROSS JOIN`: by itself it may go through all
/// passages, to find the few that are new.
/// <https://www.sqlite.org/optoverview.html#manual_control_of_query_plans_using_cross_join>
pub(crate) const INDEX_NEW: &str = "INSERT INTO passage_text_index (rowid, text)
     SELECT passage.rowid, passage.text
     FROM unindexed CROSS JOIN passage ON passage.rowid = unindexed.passage
     WHERE unindexed.passage > (SELECT coalesce(max(value), 0) FROM meta WHERE key = ?1)
     ORDER BY unindexed.passage";
pub(crate) const INDEX_SOME: &str = "INSERT INTO passage_text_index (rowid, text)
     SELECT passage.rowid, passage.text
     FROM unindexed CROSS JOIN passage ON passage.rowid = unindexed.passage
     WHERE unindexed.passage <= ?1 ORDER BY unindexed.passage";

/// Indexes what came in this transaction.
pub(crate) fn index(connection: &Connection) -> Result<()> {
    let mut some = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM unindexed WHERE passage >
             (SELECT coalesce(max(value), 0) FROM meta WHERE key = ?1))",
    )?;
    if !some.query_row([CAN_WAIT], |row| row.get(0))? {
        return Ok(());
    }
    let mut index = connection.prepare_cached(INDEX_NEW)?;
    index.execute([CAN_WAIT])?;
    let mut indexed = connection.prepare_cached(
        "DELETE FROM unindexed WHERE passage >
             (SELECT coalesce(max(value), 0) FROM meta WHERE key = ?1)",
    )?;
    indexed.execute([CAN_WAIT])?;
    Ok(())
}

/// Lets all passages that are there wait: none is in the index.
pub(crate) fn put_off(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM unindexed;
         INSERT INTO unindexed SELECT rowid FROM main.passage WHERE deleted = 0;",
    )?;
    connection.execute(
        "INSERT INTO meta (key, value)
             SELECT ?1, coalesce(max(rowid), 0) FROM main.passage WHERE true
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [CAN_WAIT],
    )?;
    Ok(())
}

/// Indexes some of those that wait. Gives whether there are more.
pub(crate) fn index_some(connection: &Connection) -> Result<bool> {
    let mut next = connection.prepare_cached(
        "SELECT max(passage), count(*) FROM
             (SELECT passage FROM unindexed ORDER BY passage LIMIT ?1)",
    )?;
    let (last, count): (Option<i64>, usize) =
        next.query_row([AT_A_TIME], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut index = connection.prepare_cached(INDEX_SOME)?;
    index.execute([last])?;
    let mut indexed = connection.prepare_cached("DELETE FROM unindexed WHERE passage <= ?1")?;
    indexed.execute([last])?;
    if count == AT_A_TIME {
        return Ok(true);
    }
    let mut done = connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?;
    done.execute([CAN_WAIT])?;
    Ok(false)
}

/// How many passages are not in the index yet.
pub(crate) fn waiting(connection: &Connection) -> Result<u64> {
    let mut count = connection.prepare_cached("SELECT count(*) FROM unindexed")?;
    Ok(count.query_row([], |row| row.get(0))?)
}

/// Indexes everything anew.
pub(crate) fn rebuild(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM unindexed;
         INSERT INTO passage_text_index (passage_text_index) VALUES ('rebuild');",
    )?;
    connection.execute("DELETE FROM meta WHERE key = ?1", [CAN_WAIT])?;
    Ok(())
}
