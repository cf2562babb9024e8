//! The schema: numbered, forward-only migrations.
//!
//! `user_version` is the number of migrations applied. A file with a higher
//! number is refused untouched.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, ErrorKind, Result};

/// `application_id` of the file: "GNLS".
pub(crate) const APPLICATION_ID: i32 = 0x474e_4c53;

/// Every migration ever released, in order. Append only.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_store.sql"),
    include_str!("../migrations/0002_cut_for.sql"),
    include_str!("../migrations/0003_artifact.sql"),
    include_str!("../migrations/0004_vectors_of_files.sql"),
    include_str!("../migrations/0005_sync.sql"),
];

/// The newest schema that this program knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Refuses a file that is another program's, or a newer version's.
///
/// Only reads, so that a refused file stays as it was. Tells whether the file
/// is new.
pub(crate) fn check(connection: &Connection) -> Result<bool> {
    let version = user_version(connection)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let new = application == 0 && version == 0 && tables == 0;
    if (application != APPLICATION_ID && !new) || version < 0 {
        return Err(Error::invalid(format!(
            "not a store but another program's database, application_id={application:#x}, schema={version}"
        )));
    }
    if version > KNOWN {
        return Err(Error::new(
            ErrorKind::Newer,
            format!(
                "store was made by a newer ginnel; hint: upgrade ginnel, schema={version}, known={KNOWN}"
            ),
        ));
    }
    Ok(new)
}

/// Brings an accepted file up to the newest schema.
pub(crate) fn migrate(connection: &mut Connection) -> Result<()> {
    let applied = user_version(connection)?;
    if applied == KNOWN {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
