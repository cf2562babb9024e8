//! The schema: numbered, forward-only migrations.
//!
//! `user_version` is the number of migrations applied. A file with a higher
//! number is refused untouched.

use rusqlite::{Connection, TransactionBehavior};

use super::error::{Error, ErrorKind, Result};

/// `application_id` of the file: "GNLR".
pub(super) const APPLICATION_ID: i32 = 0x474e_4c52;

/// Every migration ever released, in order. Append only.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_registry.sql"),
    include_str!("../../migrations/0002_usage_hours.sql"),
    include_str!("../../migrations/0003_loras.sql"),
];

/// The newest schema that this program knows.
const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Refuses a file that is another program's, or a newer relay's.
///
/// Only reads, so that a refused file stays as it was; in one transaction,
/// since another process may be making the file right now.
pub(super) fn check(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction()?;
    check_now(&transaction)
}

fn check_now(connection: &Connection) -> Result<()> {
    let version = user_version(connection)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = application == 0 && version == 0 && tables == 0;
    if (application != APPLICATION_ID && !empty) || version < 0 {
        return Err(Error::invalid(format!(
            "not a registry but another program's database, application_id={application:#x}, schema={version}"
        )));
    }
    if version > KNOWN {
        return Err(Error::new(
            ErrorKind::Newer,
            format!("registry was made by a newer ginnel-relay, schema={version}, known={KNOWN}"),
        ));
    }
    Ok(())
}

/// Brings an accepted file up to the newest schema.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    if user_version(connection)? == KNOWN {
        return Ok(());
    }
    // Another process may be migrating too: look again once the lock is held.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    check_now(&transaction)?;
    let applied = user_version(&transaction)?;
    for (version, migration) in (1..).zip(MIGRATIONS) {
        if version > applied {
            transaction.execute_batch(migration)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", KNOWN)?;
    transaction.commit()?;
    Ok(())
}

fn user_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
