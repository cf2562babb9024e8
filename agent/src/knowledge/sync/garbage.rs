//! Tells how far this device is, and lets go what all devices know.

use ginnel_proto::sync::horizon::{Word, horizon};

use super::KnowledgeSync;
use super::relay::Relay;
use crate::sync::failure::Failure;

/// Says how far this device is, hears what others say, and lets go what was only
/// kept for them.
pub(super) async fn collect(
    sync: &KnowledgeSync,
    relay: &Relay,
    epoch: u64,
) -> Result<(), Failure> {
    let store = &sync.parts.store;
    let read = store.mark().await?;
    let word = Word {
        epoch,
        read: read.clone(),
        unix_ms: 0,
    };
    relay.say(&word).await?;
    let said = relay.words().await?;
    let marks = store.marks().await?;
    if let Some(change) = horizon(&marks, &said.words, epoch, &read, said.unix_ms) {
        store.collect_garbage(change).await?;
    }
    Ok(())
}
