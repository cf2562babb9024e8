//! What is remembered about sharing, in the table `meta`.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};

use crate::error::Result;

/// With whose devices the rows are shared: `USER@DOMAIN`.
pub(super) const USER: &str = "sync_user";

/// Under which name.
pub(super) const DEVICE: &str = "sync_device";

/// The table whose rows are being sent for the first time, and the rowid up to
/// which they are; missing once all are.
pub(super) const SCAN_TABLE: &str = "sync_scan_table";
pub(super) const SCAN_ROW: &str = "sync_scan_row";

/// What the entry begins with that says up to which rowid that is, of each
/// table: later rows are in the change log.
pub(super) const SCAN_LAST: &str = "sync_scan_last_";

/// In which epoch, and with which key all is encrypted in it; missing if it is not.
pub(super) const EPOCH: &str = "sync_epoch";
pub(super) const EPOCH_KEY: &str = "sync_epoch_key";

/// The clock when rows were last sent or applied. Whatever other devices know
/// of this one's rows is no later.
pub(super) const SYNCED: &str = "sync_hlc";

/// The latest stamp of a deletion that was let go.
pub(super) const GONE: &str = "sync_gone";

pub(super) fn read<T: FromSql>(connection: &Connection, key: &str) -> Result<Option<T>> {
    let mut find = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(find.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn write(connection: &Connection, key: &str, value: impl ToSql) -> Result<()> {
    let mut keep = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?;
    keep.execute((key, value))?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, key: &str) -> Result<()> {
    let mut remove = connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?;
    remove.execute([key])?;
    Ok(())
}
