//! Batches of this device that the bucket took and does not have any more: it lost
//! its newest writes, as disks do that said too early that all is safe.

use std::collections::BTreeMap;

use ginnel_proto::id::DeviceName;
use tracing::warn;

use super::KnowledgeSync;
use super::relay::{Put, Relay};
use crate::sync::failure::Failure;

/// How far back this device looks at its own log. More is not lost by a stop at
/// the wrong moment.
const LOOKED_AT: u64 = 64;

/// Whose log is behind what was read, and behind what this device looks at of its
/// own.
pub(super) fn behind(
    own: &DeviceName,
    read: &BTreeMap<DeviceName, u64>,
) -> BTreeMap<DeviceName, u64> {
    let mut asked = read.clone();
    if let Some(sequence) = asked.get_mut(own) {
        *sequence = sequence.saturating_sub(LOOKED_AT);
    }
    asked
}

/// Writes again what is lost. What was deleted meanwhile is not kept for that:
/// then all that this device wrote is sent once more. `newest` is its last batch
/// when the logs were listed; up to `done` nothing has to be looked at. Gives up to
/// which batch that is so from here on.
pub(super) async fn write_again(
    sync: &KnowledgeSync,
    relay: &Relay,
    epoch: u64,
    (newest, listed, done): (u64, &[u64], u64),
) -> Result<u64, Failure> {
    let first = newest.saturating_sub(LOOKED_AT).max(done) + 1;
    let mut missing: Vec<u64> = (first..=newest)
        .filter(|sequence| listed.binary_search(sequence).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(done);
    }
    // Old batches go on purpose, once they are in all that is published.
    let published = relay.manifest().await?.snapshot;
    let published = published.and_then(|it| it.read.get(sync.device()).copied());
    missing.retain(|sequence| *sequence > published.unwrap_or_default());
    let mut is_gone = false;
    for sequence in &missing {
        match sync.parts.store.written(*sequence).await? {
            Some(object) => {
                if relay.write(epoch, *sequence, object).await? == Put::Written {
                    warn!(
                        sequence,
                        "the bucket had lost a batch of this device; it is there again"
                    );
                }
            }
            None => is_gone = true,
        }
    }
    if !is_gone {
        return Ok(done);
    }
    warn!("the bucket has lost batches of this device; all its rows are sent again");
    sync.parts.store.send_again().await?;
    sync.shared.again.notify_one();
    Ok(newest)
}
