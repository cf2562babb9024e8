//! Publishes all that is known as one plain database, while this device has the
//! lease: lease → database, in place, and checked → pushed, only changed blocks →
//! manifest. A lease that is lost half-way publishes nothing.

use std::time::Duration;

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::batch::SCHEMA;
use ginnel_proto::sync::lease::{LEASE_FOR, RENEW_EVERY};
use ginnel_proto::sync::manifest::Snapshot;
use ginnel_proto::sync::publishing::Publishing;
use ginnel_proto::sync::seal::Key;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info};

use super::relay::Relay;
use super::{Epoch, KnowledgeSync, moving, now, sealed};
use crate::sync::failure::{Failure, Then};

pub(super) struct Publisher {
    sync: KnowledgeSync,
    publishing: Publishing,
}

impl Publisher {
    pub(super) fn new(sync: KnowledgeSync) -> Self {
        let publishing = Publishing::new(now());
        Self { sync, publishing }
    }

    pub(super) async fn run(mut self) {
        let mut link = self.sync.parts.relay.clone();
        let mut paused = self.sync.shared.paused.subscribe();
        let mut epoch = self.sync.shared.epoch.subscribe();
        let mut moved = self.sync.shared.progress.moved();
        let mut wanted = self.sync.shared.publish.subscribe();
        let mut known = *moved.borrow_and_update();
        self.follow_link();
        loop {
            let due = self.publishing.poll_timeout();
            tokio::select! {
                Ok(()) = link.changed() => self.follow_link(),
                Ok(()) = paused.changed() => self.follow_link(),
                Ok(()) = epoch.changed() => self.follow_link(),
                Ok(()) = moved.changed() => {
                    let bytes = *moved.borrow_and_update();
                    self.publishing.handle_batch(now(), bytes - known);
                    known = bytes;
                }
                Ok(()) = wanted.changed() => {
                    wanted.borrow_and_update();
                    self.publishing.want(now());
                }
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => {
                    self.publish_now().await;
                }
            }
        }
    }

    fn follow_link(&mut self) {
        let knows_epoch = self.sync.shared.epoch.borrow().is_some();
        let linked = self.sync.relay().is_some() && knows_epoch;
        self.publishing.handle_link(linked);
    }

    async fn publish_now(&mut self) {
        let (Some(relay), Some(epoch)) = (self.sync.relay(), self.sync.epoch()) else {
            return self.publishing.handle_link(false);
        };
        match self.publish(&relay, &epoch).await {
            Ok(snapshot) => {
                info!(bytes = snapshot.size, "what this device knows is published");
                self.publishing.handle_published(now(), snapshot.size);
                self.sync.shared.progress.published();
            }
            Err(failure) => {
                debug!(%failure, "not published now; trying again");
                self.sync.shared.progress.not_published(&failure);
                self.publishing.handle_failure(now());
                self.sync.look_after(&failure);
            }
        }
    }

    async fn publish(&self, relay: &Relay, epoch: &Epoch) -> Result<Snapshot, Failure> {
        // The reader goes on meanwhile, and another device may publish.
        until_in_step(&self.sync).await?;
        let _turn = self.sync.shared.publishing.lock().await;
        relay.take_lease(epoch.number).await?;
        tokio::select! {
            snapshot = self.publish_leased(relay, epoch) => snapshot,
            lost = keep_lease(relay, epoch.number) => Err(lost),
        }
    }

    async fn publish_leased(&self, relay: &Relay, epoch: &Epoch) -> Result<Snapshot, Failure> {
        let snapshot = push_snapshot(&self.sync, epoch.key.clone()).await?;
        relay.publish(epoch.number, &snapshot).await?;
        Ok(snapshot)
    }
}

/// Brings the database up to date and pushes what changed of it; encrypted, where
/// there is a key. The caller has the lease.
pub(super) async fn push_snapshot(
    sync: &KnowledgeSync,
    key: Option<Key>,
) -> Result<Snapshot, Failure> {
    let artifacts = sync.parts.artifacts.get();
    let artifacts = artifacts.ok_or_else(|| Failure::retry("transfers are not begun yet"))?;
    let plain = Artifact::Knowledge(Cover::Plain);
    let place = artifacts.place(&plain).await?;
    let written = sync.parts.store.write_published(place.clone()).await?;
    let id = key.as_ref().map(Key::id);
    let artifact = match key {
        None => plain,
        Some(key) => {
            let artifact = Artifact::Knowledge(Cover::Sealed);
            let sealed = artifacts.place(&artifact).await?;
            sealed::seal(key, sync.user(), place, sealed).await?;
            artifact
        }
    };
    let pushed = artifacts.push(artifact.clone()).await?;
    moving::done(sync, artifacts, pushed.id).await?;
    until_sent(sync, written.change).await?;
    let version = artifacts.catalog()?.version(&artifact).await?;
    Ok(Snapshot {
        blob: version.remote.blob,
        size: version.remote.size,
        etag: version.remote.etag,
        schema: SCHEMA.major,
        read: written.read,
        key: id,
    })
}

/// Waits until all that others wrote is read, but for what has to wait, for an
/// upgrade; and until this device has sent all that it had when it joined them.
pub(super) async fn until_in_step(sync: &KnowledgeSync) -> Result<(), Failure> {
    let in_step = async {
        let mut wait = LOOK_FIRST;
        while sync.shared.progress.within_reach() > 0
            || sync.parts.store.sent_upto().await?.is_none()
        {
            sleep(wait).await;
            wait = (wait * 2).min(LOOK_MAX);
        }
        Ok(())
    };
    within(in_step).await
}

/// What is published is in the logs, too: who reads only those lacks nothing.
/// Changes that come meanwhile are in them later.
async fn until_sent(sync: &KnowledgeSync, change: i64) -> Result<(), Failure> {
    let sent = async {
        let mut wait = LOOK_FIRST;
        while sync.parts.store.sent_upto().await? < Some(change) {
            // Whoever begins the next one waits for this.
            if sync.epoch().is_none() {
                return Err(Failure::retry("another epoch began meanwhile"));
            }
            sleep(wait).await;
            wait = (wait * 2).min(LOOK_MAX);
        }
        Ok(())
    };
    within(sent).await
}

async fn within(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let in_time = timeout(IN_STEP_WITHIN, work).await;
    in_time.unwrap_or_else(|_| Err(Failure::retry("devices are not in step; hint: ginnel sync")))
}

/// How long a publication waits for what is on its way, and how soon it looks
/// again: at first, and at most. It doubles.
const IN_STEP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Renews the lease for as long as it is polled; returns when it is lost. What
/// cannot be renewed for a moment may hold still: the relay looks at it again before
/// anything is published.
pub(super) async fn keep_lease(relay: &Relay, epoch: u64) -> Failure {
    let mut renewed = now();
    loop {
        sleep(RENEW_EVERY).await;
        match relay.take_lease(epoch).await {
            Ok(_) => renewed = now(),
            Err(failure) if failure.then == Then::Give || renewed + LEASE_FOR < now() => {
                return failure;
            }
            Err(failure) => debug!(%failure, "the lease is not renewed yet"),
        }
    }
}
