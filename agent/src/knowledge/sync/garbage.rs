//! Tells how far this device is, and lets go what all devices know.

use ginnel_proto::sync::horizon::{Word, horizon};

use super::KnowledgeSync;
use super::relay::{Relay, Words};
use crate::sync::failure::Failure;

/// Says how far this device is. From then on others keep for it what it has not
/// heard of. Gives what was said.
pub(super) async fn say(sync: &KnowledgeSync, relay: &Relay, epoch: u64) -> Result<Word, Failure> {
    let store = &sync.parts.store;
    let word = Word {
        epoch,
        read: store.mark().await?,
        gone: store.gone().await?,
        unix_ms: 0,
    };
    relay.say(&word).await?;
    Ok(word)
}

/// Lets go what was only kept for others, as far as they said that they know it.
///
/// Whoever is new among them does not hear of deletions that are let go, and has to
/// know until when those were. So that is said first, and then the others' words
/// are read once more: who is not among them will read what was said.
pub(super) async fn collect(
    sync: &KnowledgeSync,
    relay: &Relay,
    said: &Word,
    words: &Words,
) -> Result<(), Failure> {
    let store = &sync.parts.store;
    let marks = store.marks().await?;
    let find = |words: &Words| {
        let (all, now_ms) = (&words.words, words.unix_ms);
        horizon(&marks, all, said.epoch, &said.read, now_ms)
    };
    let Some(mut change) = find(words) else {
        return Ok(());
    };
    let gone = store.will_be_gone(change).await?;
    if gone > said.gone {
        let word = Word {
            gone,
            ..said.clone()
        };
        relay.say(&word).await?;
        match find(&relay.words().await?) {
            Some(again) => change = change.min(again),
            None => return Ok(()),
        }
    }
    Ok(store.collect_garbage(change).await?)
}
