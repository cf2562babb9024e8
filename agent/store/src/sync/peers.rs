//! How far the log of each device has been read, and what was not applied.

use std::collections::BTreeMap;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::hlc::Hlc;
use rusqlite::{Connection, Row};

use super::{Written, meta, stored_sequence};
use crate::error::{Error, Result};
use crate::write::Turn;

/// How far a device's log has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The device; this one's own log is among them.
    pub device: DeviceName,
    /// Its last batch that was read.
    pub sequence: u64,
    /// That batch's BLAKE3, or [`NOT_READ`].
    pub hash: Hash,
    /// Its latest stamp.
    pub last: Hlc,
}

/// What stands for the hash of a batch that was not read.
pub const NOT_READ: Hash = Hash::from_bytes([0; Hash::LENGTH]);

/// A batch that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose.
    pub device: DeviceName,
    /// Which of its batches.
    pub sequence: u64,
    /// Why.
    pub reason: String,
    /// When that was noticed, milliseconds since 1970.
    pub unix_ms: u64,
}

pub(super) fn read(turn: &Turn<'_>, peer: &Peer) -> Result<()> {
    put(turn.connection, peer)?;
    meta::write(turn.connection, meta::SYNCED, turn.last_stamp().to_stored())
}

/// Notes how far a log has been read, unless that is less than before.
pub(super) fn put(connection: &Connection, peer: &Peer) -> Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO peer (device, sequence, hash, hlc) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (device) DO UPDATE SET sequence = excluded.sequence,
             hash = excluded.hash, hlc = max(hlc, excluded.hlc)
         WHERE excluded.sequence > sequence",
    )?;
    let device = peer.device.as_str();
    let sequence = stored_sequence(peer.sequence)?;
    put.execute((
        device,
        sequence,
        peer.hash.as_bytes(),
        peer.last.to_stored(),
    ))?;
    connection
        .prepare_cached("DELETE FROM quarantine WHERE device = ?1 AND sequence = ?2")?
        .execute((device, sequence))?;
    Ok(())
}

/// What was left out up to there is known now in another way.
pub(super) fn release(connection: &Connection, device: &DeviceName, sequence: u64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM quarantine WHERE device = ?1 AND sequence <= ?2")?
        .execute((device.as_str(), stored_sequence(sequence)?))?;
    Ok(())
}

/// No log has been read.
pub(super) fn forget(turn: &Turn<'_>) -> Result<()> {
    turn.connection.execute_batch(
        "DELETE FROM peer; DELETE FROM quarantine; DELETE FROM mark; DELETE FROM written;",
    )?;
    Ok(())
}

/// A batch of this device is in the bucket.
pub(super) fn read_own(turn: &Turn<'_>, written: &Written) -> Result<()> {
    let device = DeviceName::parse(turn.origin);
    let peer = Peer {
        device: device.map_err(|reason| Error::invalid(reason.to_string()))?,
        sequence: written.sequence,
        hash: written.hash,
        last: written.last,
    };
    read(turn, &peer)
}

/// Goes on behind a batch that was not applied.
pub(super) fn skip(turn: &Turn<'_>, device: &DeviceName, sequence: u64) -> Result<()> {
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO peer (device, sequence, hash, hlc) VALUES (?1, ?2, ?3, 0)
         ON CONFLICT (device) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
         WHERE excluded.sequence > sequence",
    )?;
    let sequence = stored_sequence(sequence)?;
    put.execute((device.as_str(), sequence, NOT_READ.as_bytes()))?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Peer>> {
    let mut find = connection
        .prepare_cached("SELECT device, sequence, hash, hlc FROM peer ORDER BY device")?;
    let mut rows = find.query([])?;
    let mut peers = Vec::new();
    while let Some(row) = rows.next()? {
        peers.push(Peer {
            device: device(row)?,
            sequence: row.get(1)?,
            hash: Hash::from_bytes(row.get(2)?),
            last: Hlc::from_stored(row.get(3)?)
                .map_err(|reason| Error::corrupt(reason.to_string()))?,
        });
    }
    Ok(peers)
}

/// How far each log is read without a gap, in the database `schema`: what was left
/// out may still come, and nothing it could revive is let go before that.
pub(super) fn without_gaps(
    connection: &Connection,
    schema: &str,
) -> Result<BTreeMap<DeviceName, u64>> {
    let mut find = connection.prepare(&format!(
        "SELECT device, min(sequence, coalesce(
             (SELECT min(sequence) - 1 FROM {schema}.quarantine AS left_out
              WHERE left_out.device = peer.device), sequence))
         FROM {schema}.peer"
    ))?;
    let mut rows = find.query([])?;
    let mut read = BTreeMap::new();
    while let Some(row) = rows.next()? {
        read.insert(device(row)?, row.get(1)?);
    }
    Ok(read)
}

pub(super) fn quarantine(
    turn: &Turn<'_>,
    device: &DeviceName,
    sequence: u64,
    reason: &str,
) -> Result<()> {
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO quarantine (device, sequence, reason, unix_ms)
             SELECT ?1, ?2, ?3, ?4
             WHERE (SELECT count(*) FROM quarantine WHERE device = ?1) < ?5
         ON CONFLICT (device, sequence) DO UPDATE SET reason = excluded.reason",
    )?;
    let now = i64::try_from(turn.now()).unwrap_or(i64::MAX);
    let device = device.as_str();
    let sequence = stored_sequence(sequence)?;
    put.execute((device, sequence, reason, now, QUARANTINED_MAX))?;
    Ok(())
}

/// Batches of one device that are noted: the first of them say from where on
/// something is missing.
const QUARANTINED_MAX: i64 = 1024;

pub(super) fn quarantined(connection: &Connection) -> Result<Vec<Quarantined>> {
    let mut find = connection.prepare_cached(
        "SELECT device, sequence, reason, unix_ms FROM quarantine ORDER BY device, sequence",
    )?;
    let mut rows = find.query([])?;
    let mut quarantined = Vec::new();
    while let Some(row) = rows.next()? {
        quarantined.push(Quarantined {
            device: device(row)?,
            sequence: row.get(1)?,
            reason: row.get(2)?,
            unix_ms: row.get(3)?,
        });
    }
    Ok(quarantined)
}

pub(super) fn device(row: &Row<'_>) -> Result<DeviceName> {
    let device: String = row.get(0)?;
    DeviceName::parse(&device).map_err(|reason| Error::corrupt(reason.to_string()))
}
