//! As whom the rows are shared.

use ginnel_proto::id::{DeviceName, Domain, UserName};
use rusqlite::Connection;

use super::{joining, meta, outgoing};
use crate::cursor;
use crate::error::{Error, Result};
use crate::write::{Turn, last_change};

/// As whom the rows are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The relay's.
    pub domain: Domain,
    /// Whose knowledge it is.
    pub user: UserName,
    /// This device.
    pub device: DeviceName,
}

/// Whether other devices may have the rows too.
pub(crate) fn is_shared(connection: &Connection) -> Result<bool> {
    Ok(meta::read::<String>(connection, meta::USER)?.is_some())
}

/// Under which name the rows are shared, if they are.
pub(crate) fn device(connection: &Connection) -> Result<Option<String>> {
    meta::read(connection, meta::DEVICE)
}

pub(super) fn begin(turn: &mut Turn<'_>, identity: &Identity) -> Result<()> {
    let Identity {
        domain,
        user,
        device,
    } = identity;
    if device.as_str() != turn.origin {
        return Err(Error::invalid(format!(
            "store was opened under another name, opened={:?}, device={device}",
            turn.origin
        )));
    }
    let whose = format!("{user}@{domain}");
    let known: Option<String> = meta::read(turn.connection, meta::USER)?;
    match known {
        None => begin_anew(turn)?,
        Some(known) if known != whose => {
            return Err(Error::invalid(format!(
                "store is shared with the devices of another user, user={known}, now={whose}; hint: use another state folder, or join as {known} again"
            )));
        }
        Some(_) => {
            let before: Option<String> = meta::read(turn.connection, meta::DEVICE)?;
            if let Some(before) = before.filter(|before| before != turn.origin) {
                outgoing::rename(turn, &before)?;
            }
        }
    }
    meta::write(turn.connection, meta::USER, whose)?;
    meta::write(turn.connection, meta::DEVICE, turn.origin)
}

/// All rows are this device's, and are to be sent.
fn begin_anew(turn: &Turn<'_>) -> Result<()> {
    // Not by changes of each row, for nothing that follows them is concerned.
    let triggers = take_triggers(turn.connection, "name LIKE '%_changed'")?;
    for table in outgoing::TABLES {
        let adopt = format!("UPDATE {table} SET origin = ?1 WHERE origin <> ?1");
        turn.connection.execute(&adopt, [turn.origin])?;
    }
    for trigger in triggers {
        turn.connection.execute_batch(&trigger)?;
    }
    let last = last_change(turn.connection)?;
    turn.connection.execute(
        "INSERT INTO fresh (document, change) SELECT id, ?1 FROM document WHERE deleted = 0
         ON CONFLICT DO NOTHING",
        [last],
    )?;
    joining::begin(turn.connection)?;
    outgoing::begin_scan(turn.connection)?;
    cursor::set(turn, outgoing::CURSOR, last)
}

/// Drops the triggers of which this holds, and gives what makes them again.
pub(super) fn take_triggers(connection: &Connection, which: &str) -> Result<Vec<String>> {
    take(connection, "trigger", which)
}

/// Drops the indexes of shared tables, but for those that keep rows unique, and
/// gives what makes them again.
pub(super) fn take_indexes(connection: &Connection) -> Result<Vec<String>> {
    let tables = outgoing::TABLES
        .map(|table| format!("'{table}'"))
        .join(", ");
    let which = format!("tbl_name IN ({tables}) AND sql IS NOT NULL");
    take(connection, "index", &which)
}

fn take(connection: &Connection, kind: &str, which: &str) -> Result<Vec<String>> {
    let mut find = connection.prepare(&format!(
        "SELECT name, sql FROM main.sqlite_schema WHERE type = '{kind}' AND ({which})"
    ))?;
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = found.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    drop(find);
    let mut made = Vec::new();
    for (name, sql) in found {
        connection.execute_batch(&format!("DROP {kind} {name}"))?;
        made.push(sql);
    }
    Ok(made)
}
