//! Writes this device's log: what changed here, in batches, each exactly once.
//!
//! A batch whose answer was lost is found in its place. If something else is
//! found there, this device's store is older than its log, as after a restored
//! backup: then the log is read like that of another device, and goes on behind
//! it.

use std::time::Duration;

use bytes::Bytes;
use ginnel_proto::sync::batch::{self, Batch, BatchPlace, decode};
use ginnel_proto::sync::reading::FIRST;
use ginnel_proto::sync::sending::{Sending, Wrote};
use ginnel_store::error::ErrorKind;
use ginnel_store::sync::{Outgoing, Written};
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info, warn};

use super::relay::{Put, Relay};
use super::status::Task;
use super::{Epoch, KnowledgeSync, now};
use crate::sync::failure::Failure;

pub(super) struct Writer {
    sync: KnowledgeSync,
    sending: Sending,
}

impl Writer {
    pub(super) fn new(sync: KnowledgeSync) -> Self {
        let sending = Sending::new(now());
        Self { sync, sending }
    }

    pub(super) async fn run(mut self) {
        let mut changes = self.sync.parts.store.changes();
        let mut link = self.sync.parts.relay.clone();
        let mut heard = self.sync.parts.heard.subscribe();
        let mut paused = self.sync.shared.paused.subscribe();
        let mut epoch = self.sync.shared.epoch.subscribe();
        loop {
            let due = self.sending.poll_timeout();
            tokio::select! {
                Ok(()) = changes.changed() => {
                    changes.borrow_and_update();
                    self.sending.handle_change(now());
                }
                () = self.sync.shared.again.notified() => self.sending.handle_change(now()),
                Ok(()) = link.changed() => self.follow_link(),
                Ok(()) = heard.changed() => {
                    // News come often, and change nothing here.
                    heard.borrow_and_update();
                }
                Ok(()) = paused.changed() => self.follow_link(),
                // Before the first listing nobody knows in which epoch to write.
                Ok(()) = epoch.changed() => self.follow_link(),
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => {
                    self.write_if_due().await;
                }
            }
        }
    }

    fn follow_link(&mut self) {
        let linked = self.sync.relay().is_some() && self.sync.epoch().is_some();
        self.sending.handle_link(linked);
    }

    async fn write_if_due(&mut self) {
        let (Some(relay), Some(epoch)) = (self.sync.relay(), self.sync.epoch()) else {
            return self.sending.handle_link(false);
        };
        if !self.sending.poll(now()) {
            return;
        }
        match self.write(&relay, &epoch).await {
            Ok(wrote) => self.sending.handle_written(now(), wrote),
            Err(failure) => {
                debug!(%failure, "cannot write to the log; trying again");
                self.sync.shared.progress.fail(Task::Write, &failure);
                self.sending.handle_failure(now());
                self.sync.look_after(&failure);
            }
        }
    }

    async fn write(&self, relay: &Relay, epoch: &Epoch) -> Result<Wrote, Failure> {
        let store = &self.sync.parts.store;
        let Some(Outgoing { rows, upto }) = store.outgoing().await? else {
            return Ok(Wrote::Nothing);
        };
        if rows.is_empty() {
            store.sent(upto, None).await?;
            return Ok(Wrote::More);
        }
        let (place, previous) = self.next_place(epoch.number).await?;
        let sequence = place.sequence;
        let (first, last) = rows.stamps().unwrap_or_default();
        let key = epoch.key.clone();
        let packing = store.apart(move || {
            let packed = batch::encode(&place, previous, &rows);
            let covered = packed.map(|(batch, hash)| (place.cover(key.as_ref(), batch), hash));
            (place, covered)
        });
        let (place, covered) = packing.await?;
        let (bytes, hash) = covered.map_err(Failure::retry)?;
        let length = bytes.len();
        if relay.write(epoch.number, sequence, bytes.clone()).await? == Put::Taken
            && !self.settle(relay, epoch, &place, &bytes).await?
        {
            return Ok(Wrote::More);
        }
        let written = Written {
            epoch: epoch.number,
            sequence,
            hash,
            first,
            last,
            object: bytes,
        };
        store.sent(upto, Some(written)).await?;
        self.sync.shared.progress.sent(length);
        debug!(sequence, bytes = length, "wrote to the log");
        match store.outgoing_backlog().await? {
            0 => Ok(Wrote::All),
            _ => Ok(Wrote::More),
        }
    }

    async fn next_place(
        &self,
        epoch: u64,
    ) -> Result<(BatchPlace, ginnel_blob::hash::Hash), Failure> {
        let peers = self.sync.parts.store.peers().await?;
        let own = peers.iter().find(|peer| peer.device == *self.sync.device());
        let place = BatchPlace {
            user: self.sync.user().clone(),
            epoch,
            device: self.sync.device().clone(),
            sequence: own.map_or(0, |own| own.sequence) + 1,
        };
        Ok((place, own.map_or(FIRST, |own| own.hash)))
    }

    /// Looks what is in the place of a batch. Whether it is that batch; if not,
    /// it is taken over, and the log goes on behind it.
    async fn settle(
        &self,
        relay: &Relay,
        epoch: &Epoch,
        place: &BatchPlace,
        ours: &Bytes,
    ) -> Result<bool, Failure> {
        let sequence = place.sequence;
        let mut damage = String::new();
        // It may have been damaged on its way only.
        for attempt in 1..=TRIES {
            let found = relay.batch(place.epoch, &place.device, sequence).await?;
            let Some(found) = found else {
                return Err(Failure::retry(format_args!(
                    "the relay has and has not batch {sequence} of this device"
                )));
            };
            if found == ours {
                return Ok(true);
            }
            let batch = place.uncover(epoch.key.as_ref(), &found);
            match batch.and_then(|batch| decode(&batch, place)) {
                Ok(batch) => return self.take_back(batch).await.map(|()| false),
                Err(error) => damage = error.to_string(),
            }
            debug!(
                sequence,
                attempt, damage, "what is in the place of a batch cannot be read"
            );
            sleep(TRY_EVERY).await;
        }
        self.pass_over(sequence, damage).await?;
        Ok(false)
    }

    /// Reads a batch of this device that its store does not know.
    async fn take_back(&self, batch: Batch) -> Result<(), Failure> {
        let sequence = batch.header.place.sequence;
        info!(
            sequence,
            "the log of this device is ahead of its store; reading it"
        );
        match self.sync.parts.store.apply(batch).await {
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.pass_over(sequence, error.to_string()).await
            }
            applied => Ok(applied.map(drop)?),
        }
    }

    async fn pass_over(&self, sequence: u64, reason: String) -> Result<(), Failure> {
        warn!(
            sequence,
            reason, "the log of this device has a damaged batch; going on behind it"
        );
        let (store, device) = (&self.sync.parts.store, self.sync.device());
        store.quarantine(device.clone(), sequence, reason).await?;
        Ok(store.skip(device.clone(), sequence).await?)
    }
}

/// How often a batch in the place of this device's own is read before it is taken
/// for damaged, and how long between.
const TRIES: u32 = 3;
const TRY_EVERY: Duration = Duration::from_millis(300);
