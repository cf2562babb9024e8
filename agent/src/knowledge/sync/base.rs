//! Batches of the epoch before that belong to the one that began: what was changed
//! up to the moment to which all was restored, or while all was encrypted.

use std::collections::BTreeMap;
use std::time::Duration;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::{BadBatch, Batch, BatchPlace, decode};
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::manifest::Base as Named;
use ginnel_proto::sync::seal::Key;
use ginnel_store::error::ErrorKind;
use ginnel_store::sync::KnownEpoch;
use tokio::time::sleep;
use tracing::warn;

use super::cover::lacks;
use super::relay::Relay;
use super::{INCOMPLETE, KnowledgeSync};
use crate::sync::failure::Failure;

/// How often a batch is fetched that is damaged, before it is left out, and how long
/// this device waits at first. It doubles.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_secs(1);

/// Batches that may be read.
pub(super) struct Base<'a> {
    named: &'a Named,
    /// With which key they are encrypted, if they are.
    key: Option<Key>,
    /// What was left out, for people.
    left_out: Vec<String>,
}

impl<'a> Base<'a> {
    /// Those that the relay names, if this device may believe them: encrypted as all
    /// is now, or as all was in that epoch, in which it was itself. Else whoever has
    /// the objects could make up some, with no key or one that was given up.
    pub(super) async fn find(
        sync: &KnowledgeSync,
        relay: &Relay,
        named: &'a Named,
        key: Option<&Key>,
        known: Option<KnownEpoch>,
    ) -> Result<Self, Failure> {
        let listed = relay.logs_of(named.epoch, &named.read).await?;
        let is_empty = listed.logs.values().all(Vec::is_empty);
        let is_as_now = named.key == key.map(Key::id);
        let was_there =
            known.is_some_and(|known| known.number == named.epoch && known.key == named.key);
        let key = match named.key {
            _ if is_as_now || is_empty => key.cloned(),
            _ if !was_there => {
                return Err(Failure::retry(
                    "how all is encrypted was changed, and this device waits until one that was there publishes; hint: ginnel sync publish there",
                ));
            }
            None => None,
            Some(id) => Some(
                sync.read_keys()
                    .await?
                    .any(id)
                    .cloned()
                    .ok_or_else(|| lacks(id))?,
            ),
        };
        Ok(Self {
            named,
            key,
            left_out: Vec::new(),
        })
    }

    /// Applies them. What is damaged is left out, and told.
    pub(super) async fn read(mut self, sync: &KnowledgeSync, relay: &Relay) -> Result<(), Failure> {
        let mut read = self.named.read.clone();
        // The last batch of each that was read here, which the next one follows.
        let mut last = BTreeMap::<DeviceName, (u64, Hash)>::new();
        loop {
            let listed = relay.logs_of(self.named.epoch, &read).await?;
            if listed.logs.values().all(Vec::is_empty) {
                break;
            }
            for (device, sequences) in listed.logs {
                for sequence in sequences {
                    read.insert(device.clone(), sequence);
                    let place = BatchPlace {
                        user: sync.user().clone(),
                        epoch: self.named.epoch,
                        device: device.clone(),
                        sequence,
                    };
                    let before = last.remove(&device);
                    let follows = before.filter(|(before, _)| before + 1 == sequence);
                    if let Some((before, _)) = before.filter(|(before, _)| before + 1 < sequence) {
                        self.leave_out(&place, &format_args!("those behind {before} are missing"));
                    }
                    let hash = self.read_one(sync, relay, place, follows.map(|(_, hash)| hash));
                    if let Some(hash) = hash.await? {
                        last.insert(device.clone(), (sequence, hash));
                    }
                }
            }
        }
        let text = self.left_out.join("; ");
        let store = &sync.parts.store;
        Ok(store.set_note(INCOMPLETE.to_owned(), text).await?)
    }

    /// Applies one batch. Gives its hash, or nothing if it is left out.
    async fn read_one(
        &mut self,
        sync: &KnowledgeSync,
        relay: &Relay,
        place: BatchPlace,
        follows: Option<Hash>,
    ) -> Result<Option<Hash>, Failure> {
        match self.fetch(relay, &place, follows).await? {
            // In its log it would wait; here everything would wait for it.
            Ok(batch) if batch.header.stamps.1 > Hlc::latest_at(sync.relay_ms()) => {
                self.leave_out(&place, &"its stamps are of the future");
                Ok(None)
            }
            Ok(batch) => {
                let hash = batch.hash;
                let store = &sync.parts.store;
                match store.apply_of_before(batch, self.named.until_unix_ms).await {
                    Err(error) if error.kind() == ErrorKind::Invalid => {
                        self.leave_out(&place, &error);
                        Ok(None)
                    }
                    applied => Ok(applied.map(|_| Some(hash))?),
                }
            }
            Err(damage) => {
                self.leave_out(&place, &damage);
                Ok(None)
            }
        }
    }

    /// A batch, or what is wrong with it after some tries.
    async fn fetch(
        &self,
        relay: &Relay,
        place: &BatchPlace,
        follows: Option<Hash>,
    ) -> Result<Result<Batch, BadBatch>, Failure> {
        let mut wait = WAIT;
        let mut tries = 1;
        loop {
            let bytes = relay
                .batch(place.epoch, &place.device, place.sequence)
                .await?;
            let Some(bytes) = bytes else {
                return Err(Failure::retry(format_args!(
                    "a batch of before is missing, object={}",
                    place.object()
                )));
            };
            let batch = place.uncover(self.key.as_ref(), &bytes);
            let damage = match batch.and_then(|batch| decode(&batch, place)) {
                Ok(batch) if follows.is_none_or(|hash| hash == batch.header.previous) => {
                    return Ok(Ok(batch));
                }
                Ok(_) => BadBatch::Damaged("it does not follow the one before"),
                Err(error @ BadBatch::Newer { .. }) => {
                    return Err(Failure::give(format_args!(
                        "{error}, object={}",
                        place.object()
                    )));
                }
                Err(error) => error,
            };
            if tries == TRIES {
                return Ok(Err(damage));
            }
            tries += 1;
            sleep(wait).await;
            wait *= 2;
        }
    }

    fn leave_out(&mut self, place: &BatchPlace, why: &dyn std::fmt::Display) {
        let object = place.object();
        warn!(object, reason = %why, "a batch of before is left out");
        if self.left_out.len() < LEFT_OUT_MAX {
            self.left_out.push(format!("{object}: {why}"));
        }
    }
}

/// How many batches that were left out are told.
const LEFT_OUT_MAX: usize = 8;
