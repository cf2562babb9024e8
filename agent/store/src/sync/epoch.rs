//! In which epoch the rows are shared, and how it is covered.

use ginnel_proto::sync::seal::KeyId;
use rusqlite::Connection;

use super::{meta, stored_sequence};
use crate::error::{Error, Result};

/// The epoch in which this device last read and wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEpoch {
    /// Which.
    pub number: u64,
    /// With which key all was encrypted, if it was.
    pub key: Option<KeyId>,
}

pub(super) fn read(connection: &Connection) -> Result<Option<KnownEpoch>> {
    let Some(number) = meta::read(connection, meta::EPOCH)? else {
        return Ok(None);
    };
    let key: Option<String> = meta::read(connection, meta::EPOCH_KEY)?;
    let key = key.map(|key| key.parse()).transpose();
    let key = key.map_err(|_| Error::corrupt("key of the epoch cannot be read"))?;
    Ok(Some(KnownEpoch { number, key }))
}

/// Whether this is the epoch, as far as one is known: whoever asks may not have
/// heard yet that another has begun.
pub(super) fn check(connection: &Connection, number: u64) -> Result<()> {
    match read(connection)? {
        Some(known) if known.number != number => Err(Error::unavailable(format!(
            "another epoch has begun, epoch={}",
            known.number
        ))),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn write(connection: &Connection, epoch: KnownEpoch) -> Result<()> {
    meta::write(connection, meta::EPOCH, stored_sequence(epoch.number)?)?;
    match epoch.key {
        Some(key) => meta::write(connection, meta::EPOCH_KEY, key.to_string()),
        None => meta::remove(connection, meta::EPOCH_KEY),
    }
}
