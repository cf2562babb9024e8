//! Keeps what this device knows in step with the user's other devices.
//!
//! ```text
//! store ─ outgoing ─▶ writer ─▶ batch ─▶ relay ─▶ bucket
//! store ◀─ apply ──── reader ◀─ batch ◀─ relay ◀─    │
//!                        ▲────── news, head, list ───┘
//! ```
//!
//! * [`writer`] writes this device's log, [`reader`] reads those of others. When
//!   each does what is decided in [`ginnel_proto::sync`].
//! * [`publisher`] publishes all as one database; [`bootstrap`] begins with it, and
//!   with the [`base`] of an epoch.
//! * [`cover`] encrypts all that leaves this device, with one of its [`keys`];
//!   [`sealed`] does so with a whole database.
//! * [`lost`] writes again what the bucket has lost.
//! * [`garbage`] lets go what all devices know.
//! * [`relay`] is what they ask over the link.
//! * [`status`] is what people are told.

mod base;
mod bootstrap;
mod cover;
mod garbage;
pub mod keys;
mod lost;
mod moving;
mod publisher;
mod reader;
pub mod relay;
mod sealed;
pub mod status;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ginnel_link::driver::WallClock;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::control::KNOWLEDGE;
use ginnel_proto::id::{DeviceName, UserName};
use ginnel_proto::sync::seal::Key;
use ginnel_store::Store;
use ginnel_store::sync::{Identity, KnownEpoch};
use ginnel_store::transfer::{State, Transfer};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::keys::KeyFile;
use self::publisher::Publisher;
use self::reader::Reader;
use self::relay::Relay;
use self::status::{MovingStatus, Progress, QuarantineStatus, SyncState, SyncStatus, Task};
use self::writer::Writer;
use crate::heard::{Heard, Said};
use crate::sync::Sync;
use crate::sync::failure::{Failure, Then};

/// The note in the store that says that a person has stopped it.
const PAUSED: &str = "sync_paused";

/// The note that says what was left out when this device last began anew.
const INCOMPLETE: &str = "sync_incomplete";

/// Milliseconds by which the relay's clock is ahead of this machine's, once it
/// is known.
pub type ClockOffset = Arc<dyn Fn() -> Option<i64> + Send + std::marker::Sync>;

/// What it works with.
#[derive(Clone)]
pub struct Parts {
    /// What is kept in step.
    pub store: Store,
    /// As whom.
    pub identity: Identity,
    /// The relay at the end of the live link.
    pub relay: watch::Receiver<Option<Relay>>,
    /// What the relay says.
    pub heard: Heard,
    /// See [`ClockOffset`].
    pub clock_offset: ClockOffset,
    /// This machine's clock, milliseconds since 1970.
    pub wall_clock: WallClock,
    /// What moves artifacts, once that is begun.
    pub artifacts: Arc<OnceLock<Sync>>,
    /// With what all is encrypted that leaves this device, if it is.
    pub keys: KeyFile,
}

/// Keeps what this device knows in step. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct KnowledgeSync {
    parts: Parts,
    shared: Arc<Shared>,
}

/// What writer, reader and callers have in common.
#[derive(Debug)]
struct Shared {
    progress: Progress,
    paused: watch::Sender<bool>,
    /// The epoch that the relay names, once it was asked.
    epoch: watch::Sender<Option<Epoch>>,
    /// What is kept is encrypted, or is not, and that cannot be.
    locked: AtomicBool,
    /// Whoever writes the database that is published.
    publishing: tokio::sync::Mutex<()>,
    /// There is something to send that no change tells of.
    again: Notify,
    /// Somebody wants all to be looked at now.
    now: Notify,
    /// Somebody wants all to be published now; how often that was.
    publish: watch::Sender<u64>,
}

/// In which epoch to write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Epoch {
    number: u64,
    /// With which key, if all is encrypted.
    key: Option<Key>,
}

impl Epoch {
    /// As the store remembers it.
    fn known(&self) -> KnownEpoch {
        KnownEpoch {
            number: self.number,
            key: self.key.as_ref().map(Key::id),
        }
    }
}

impl KnowledgeSync {
    /// Does nothing until [`KnowledgeSync::run`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shared = Shared {
            progress: Progress::default(),
            paused: watch::Sender::new(false),
            epoch: watch::Sender::new(None),
            locked: AtomicBool::new(false),
            publishing: tokio::sync::Mutex::new(()),
            again: Notify::new(),
            now: Notify::new(),
            publish: watch::Sender::new(0),
        };
        Self {
            parts,
            shared: Arc::new(shared),
        }
    }

    /// Keeps in step until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let work = async {
            let mut wait = RETRY;
            while let Err(error) = self.begin().await {
                warn!(%error, "what this device knows cannot be shared");
                self.shared.progress.fail(Task::Begin, &error);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
            self.shared.progress.well(Task::Begin);
            let reader = Reader::new(self.clone());
            let writer = Writer::new(self.clone());
            let publisher = Publisher::new(self.clone());
            tokio::join!(reader.run(), writer.run(), publisher.run());
        };
        // Boxed, for it is large.
        stop.run_until_cancelled(Box::pin(work)).await;
    }

    async fn begin(&self) -> Result<(), Failure> {
        let store = &self.parts.store;
        store.begin_sync(self.parts.identity.clone()).await?;
        let paused = store.note(PAUSED.to_owned()).await?;
        self.shared
            .paused
            .send_replace(paused.as_deref() == Some("yes"));
        Ok(())
    }

    /// Looks at everything now.
    pub fn now(&self) {
        // Kept for a reader that is busy now.
        self.shared.now.notify_one();
    }

    /// Looks at everything after a refusal: another epoch may have begun.
    fn look_after(&self, failure: &Failure) {
        if failure.then == Then::Give {
            self.now();
        }
    }

    /// Publishes all now, if another device does not.
    pub fn publish(&self) {
        self.shared.publish.send_modify(|times| *times += 1);
    }

    /// Stops it, or lets it go on; lasts over restarts.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn set_paused(&self, paused: bool) -> Result<(), Failure> {
        let value = if paused { "yes" } else { "no" };
        let store = &self.parts.store;
        store.set_note(PAUSED.to_owned(), value.to_owned()).await?;
        self.shared.paused.send_replace(paused);
        Ok(())
    }

    /// How it goes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn status(&self) -> Result<SyncStatus, Failure> {
        let backlog = self.parts.store.outgoing_backlog().await?;
        let peers = self.parts.store.peers().await?;
        let quarantined = self.parts.store.quarantined().await?;
        let state = self.state(backlog);
        let progress = &self.shared.progress;
        let identity = &self.parts.identity;
        let mut status = progress.status(identity, state, peers);
        let epoch = self.epoch();
        status.epoch = epoch.as_ref().map(|epoch| epoch.number);
        let quarantined = quarantined.into_iter();
        let quarantined = quarantined.map(|it| QuarantineStatus::new(it, identity, status.epoch));
        status.quarantined = quarantined.collect();
        let incomplete = self.parts.store.note(INCOMPLETE.to_owned()).await?;
        status.incomplete = incomplete.filter(|text| !text.is_empty());
        status.key = epoch.and_then(|epoch| Some(epoch.key?.id().to_string()));
        status.backlog = backlog;
        status.moving = self.moving().await?;
        Ok(status)
    }

    /// How far the published database is, if it is on its way.
    async fn moving(&self) -> Result<Option<MovingStatus>, Failure> {
        let transfers = self.parts.store.transfers().await?;
        let is_moving = |it: &Transfer| {
            it.state == State::Running && matches!(it.artifact, Artifact::Knowledge(_))
        };
        let moving = transfers.into_iter().find(is_moving);
        Ok(moving.map(|moving| MovingStatus {
            direction: moving.direction.as_str().to_owned(),
            sent: moving.progress.sent,
            needed: moving.progress.needed,
        }))
    }

    fn state(&self, backlog: u64) -> SyncState {
        if *self.shared.paused.borrow() {
            return SyncState::Paused;
        }
        let relay = self.parts.relay.borrow().clone();
        let said = self.parts.heard.subscribe().borrow().clone();
        match relay {
            None => SyncState::NoLink,
            Some(_) if !keeps_knowledge(&said) => SyncState::NotKept,
            Some(_) if self.shared.locked.load(Ordering::Relaxed) => SyncState::Locked,
            Some(_) if backlog > 0 || self.shared.progress.within_reach() > 0 => SyncState::Syncing,
            Some(_) if self.shared.epoch.borrow().is_none() => SyncState::Syncing,
            Some(_) => SyncState::InStep,
        }
    }

    fn device(&self) -> &DeviceName {
        &self.parts.identity.device
    }

    fn user(&self) -> &UserName {
        &self.parts.identity.user
    }

    /// The relay, if it keeps logs and nobody has stopped us.
    fn relay(&self) -> Option<Relay> {
        if *self.shared.paused.borrow() || !keeps_knowledge(&self.parts.heard.subscribe().borrow())
        {
            return None;
        }
        self.parts.relay.borrow().clone()
    }

    /// The relay's time as far as it is known, milliseconds since 1970.
    fn relay_ms(&self) -> u64 {
        let offset = (self.parts.clock_offset)().unwrap_or_default();
        (self.parts.wall_clock)().saturating_add_signed(offset)
    }
}

fn keeps_knowledge(said: &Said) -> bool {
    said.capabilities.contains(&KNOWLEDGE)
}

/// How long a store that cannot be shared waits: at first, and at most.
const RETRY: std::time::Duration = std::time::Duration::from_secs(5);
const RETRY_MAX: std::time::Duration = std::time::Duration::from_secs(300);

impl std::fmt::Debug for KnowledgeSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnowledgeSync")
            .field("identity", &self.parts.identity)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The monotonic clock, which tests may pause.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
