//! A device whose rows no other has heard of joins those that have gone on without
//! it: they may have deleted a document that it has, and let go even that.
//!
//! Until it has read all logs it writes nothing, and notes which of its documents
//! the others know. Those that they do not, and that are older than the last
//! deletion that was let go, get a stamp that is just later: a deletion of which
//! nobody can tell any more does not count. Otherwise one device would take them
//! for new and another for deleted, by the order in which they hear of it.

use ginnel_proto::sync::hlc::Hlc;
use rusqlite::Connection;

use super::{meta, outgoing};
use crate::error::Result;
use crate::id::DocumentId;
use crate::write::Turn;

/// In `meta` while this device has not joined.
const NEW: &str = "sync_new";

/// From here on it is to join.
pub(super) fn begin(connection: &Connection) -> Result<()> {
    meta::write(connection, NEW, 1)
}

pub(super) fn is_new(connection: &Connection) -> Result<bool> {
    Ok(meta::read::<i64>(connection, NEW)?.is_some())
}

/// Others know a document, in an older state than this device has.
pub(super) fn note_met(connection: &Connection, id: DocumentId) -> Result<()> {
    let mut note = connection.prepare_cached("INSERT OR IGNORE INTO met (document) VALUES (?1)")?;
    note.execute([id])?;
    Ok(())
}

/// This device has read all that others wrote, who let deletions go that are no
/// later than `gone`: it may write.
pub(super) fn join(turn: &mut Turn<'_>, gone: Hlc) -> Result<()> {
    // Nobody has deleted anything later than now, whatever is said.
    let gone = gone.min(Hlc::of_parts(turn.now(), 0).unwrap_or(Hlc::LAST));
    turn.observe(gone.next())?;
    renew(turn, gone)?;
    turn.connection.execute("DELETE FROM met", [])?;
    meta::remove(turn.connection, NEW)
}

fn renew(turn: &Turn<'_>, gone: Hlc) -> Result<()> {
    let stamp = gone.next().to_stored();
    let (connection, origin) = (turn.connection, turn.origin);
    let unsent = outgoing::unsent(connection, outgoing::DOCUMENT)?;
    connection.execute(
        &format!(
            "CREATE TEMP TABLE unheard AS SELECT id FROM document
             WHERE origin = ?1 AND deleted = 0 AND hlc < ?2 AND {unsent}
               AND id NOT IN (SELECT document FROM met)"
        ),
        (origin, stamp),
    )?;
    let renewed = connection.execute(
        "UPDATE document SET hlc = ?1 WHERE id IN (SELECT id FROM unheard)",
        [stamp],
    );
    let renewed = renewed.and_then(|_| {
        connection.execute(
            "UPDATE passage SET hlc = ?1 WHERE document_id IN (SELECT id FROM unheard)",
            [stamp],
        )
    });
    connection.execute("DROP TABLE unheard", [])?;
    renewed?;
    Ok(())
}
