//! How syncing goes, for people and programs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ginnel_proto::sync::batch::BatchPlace;
use ginnel_store::sync::{Identity, Peer, Quarantined};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock;

/// How it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncStatus {
    /// As whom: USER/DEVICE.
    pub device: String,
    /// What it does now.
    pub state: SyncState,
    /// Which epoch, once the relay was asked.
    pub epoch: Option<u64>,
    /// Which key encrypts all that leaves this device, if it is encrypted.
    pub key: Option<String>,
    /// Changes here that were not looked at yet, whether they are to be sent.
    pub backlog: u64,
    /// Batches of other devices that are known and not read yet, those among them
    /// that have to wait.
    pub behind: u64,
    /// The published database, while it is on its way.
    #[serde(default)]
    pub moving: Option<MovingStatus>,
    /// Batches and their bytes that were sent since the start.
    pub sent_batches: u64,
    /// See `sent_batches`.
    pub sent_bytes: u64,
    /// Batches and their bytes that were read since the start.
    pub read_batches: u64,
    /// See `read_batches`.
    pub read_bytes: u64,
    /// Rows of those that are what the store has now.
    pub rows_applied: u64,
    /// When something was last sent, read or found to be as it should, in
    /// milliseconds since 1970.
    pub last_unix_ms: Option<u64>,
    /// When all logs were last listed, in milliseconds since 1970.
    #[serde(default)]
    pub listed_unix_ms: Option<u64>,
    /// When this device last published all as one database, in milliseconds since
    /// 1970.
    pub published_unix_ms: Option<u64>,
    /// Why this device did not publish when it wanted to.
    pub unpublished: Option<String>,
    /// What goes wrong, while it does.
    pub problem: Option<String>,
    /// What was left out when this device last began with what is published.
    #[serde(default)]
    pub incomplete: Option<String>,
    /// How far the log of each device has been read.
    pub logs: Vec<LogStatus>,
    /// Batches that were not applied.
    pub quarantined: Vec<QuarantineStatus>,
}

impl SyncStatus {
    /// Changes with everything that moves.
    pub(crate) fn moved(&self) -> [u64; 5] {
        [
            self.moving.as_ref().map_or(0, |moving| moving.sent),
            self.backlog,
            self.behind,
            self.sent_batches,
            self.read_batches,
        ]
    }
}

/// What it does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// A person stopped it.
    Paused,
    /// It waits for a link.
    NoLink,
    /// The relay keeps no logs.
    NotKept,
    /// It is encrypted with a key that this device does not have, or is not
    /// encrypted although this device has one.
    Locked,
    /// Something is on its way.
    Syncing,
    /// All that is known of is here, and all that is here is there.
    InStep,
}

/// How far the published database is on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MovingStatus {
    /// `push` to the relay, or `pull` to this device.
    pub direction: String,
    /// Bytes that arrived.
    pub sent: u64,
    /// Bytes that have to travel, those among them.
    pub needed: u64,
}

/// How far a log has been read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogStatus {
    /// Whose.
    pub device: String,
    /// Its last batch that was read; of this device: that was written.
    pub sequence: u64,
    /// When its newest row was changed, in milliseconds since 1970.
    pub changed_unix_ms: u64,
}

/// A batch that was not applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Whose.
    pub device: String,
    /// Which of its batches.
    pub sequence: u64,
    /// The object in the bucket, once the epoch is known.
    #[serde(default)]
    pub object: Option<String>,
    /// Why.
    pub reason: String,
    /// When that was noticed, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// What can go wrong, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// To begin to share.
    Begin,
    /// To list all logs, and what is done then.
    List,
    /// To read batches.
    Read,
    /// To write batches.
    Write,
    /// To look at the head.
    Look,
    /// To join the other devices.
    Join,
}

/// What is counted since the start.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent_batches: AtomicU64,
    sent_bytes: AtomicU64,
    read_batches: AtomicU64,
    read_bytes: AtomicU64,
    rows_applied: AtomicU64,
    behind: AtomicU64,
    within_reach: AtomicU64,
    listed_unix_ms: AtomicU64,
    published_unix_ms: AtomicU64,
    /// Bytes that were sent and read together, for whoever waits for that.
    moved: watch::Sender<u64>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    unix_ms: Option<u64>,
    problems: BTreeMap<Task, String>,
    unpublished: Option<String>,
}

impl Progress {
    pub(super) fn sent(&self, bytes: usize) {
        self.sent_batches.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved.send_modify(|all| *all += bytes as u64);
        self.well(Task::Write);
    }

    pub(super) fn read(&self, bytes: usize, rows: usize) {
        self.read_batches.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.rows_applied.fetch_add(rows as u64, Ordering::Relaxed);
        self.moved.send_modify(|all| *all += bytes as u64);
        self.well(Task::Read);
    }

    /// Tells when something was sent or read.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// All was published just now.
    pub(super) fn published(&self) {
        self.published_unix_ms
            .store(clock::unix_ms(), Ordering::Relaxed);
        self.last().unpublished = None;
    }

    /// Nothing was published.
    pub(super) fn not_published(&self, why: &impl std::fmt::Display) {
        self.last().unpublished = Some(why.to_string());
    }

    /// So many batches are known and not read, and so many of them can be.
    pub(super) fn set_behind(&self, batches: u64, within_reach: u64) {
        self.behind.store(batches, Ordering::Relaxed);
        self.within_reach.store(within_reach, Ordering::Relaxed);
    }

    /// How many batches can be read and are not yet.
    pub(super) fn within_reach(&self) -> u64 {
        self.within_reach.load(Ordering::Relaxed)
    }

    /// Whether batches are known that have to wait.
    pub(super) fn is_held(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > self.within_reach()
    }

    /// All logs were listed just now, and what was to be done then is done.
    pub(super) fn listed(&self) {
        self.listed_unix_ms
            .store(clock::unix_ms(), Ordering::Relaxed);
        self.well(Task::List);
    }

    /// This goes well at this moment.
    pub(super) fn well(&self, task: Task) {
        let mut last = self.last();
        last.unix_ms = Some(clock::unix_ms());
        last.problems.remove(&task);
    }

    /// This does not.
    pub(super) fn fail(&self, task: Task, problem: &impl std::fmt::Display) {
        self.last().problems.insert(task, problem.to_string());
    }

    pub(super) fn status(
        &self,
        identity: &Identity,
        state: SyncState,
        peers: Vec<Peer>,
    ) -> SyncStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last = self.last();
        SyncStatus {
            device: format!("{}/{}", identity.user, identity.device),
            state,
            epoch: None,
            key: None,
            backlog: 0,
            behind: count(&self.behind),
            moving: None,
            sent_batches: count(&self.sent_batches),
            sent_bytes: count(&self.sent_bytes),
            read_batches: count(&self.read_batches),
            read_bytes: count(&self.read_bytes),
            rows_applied: count(&self.rows_applied),
            last_unix_ms: last.unix_ms,
            listed_unix_ms: Some(count(&self.listed_unix_ms)).filter(|at| *at > 0),
            published_unix_ms: Some(count(&self.published_unix_ms)).filter(|at| *at > 0),
            unpublished: last.unpublished.clone(),
            problem: last.problems.values().next().cloned(),
            incomplete: None,
            logs: peers.into_iter().map(LogStatus::from).collect(),
            quarantined: Vec::new(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Peer> for LogStatus {
    fn from(peer: Peer) -> Self {
        Self {
            device: peer.device.to_string(),
            sequence: peer.sequence,
            changed_unix_ms: peer.last.millis(),
        }
    }
}

impl QuarantineStatus {
    /// Of a batch of this user, in the present epoch if it is known.
    pub(super) fn new(quarantined: Quarantined, identity: &Identity, epoch: Option<u64>) -> Self {
        let Quarantined {
            device,
            sequence,
            reason,
            unix_ms,
        } = quarantined;
        let place = epoch.map(|epoch| BatchPlace {
            user: identity.user.clone(),
            epoch,
            device: device.clone(),
            sequence,
        });
        Self {
            device: device.to_string(),
            sequence,
            object: place.map(|place| place.object()),
            reason,
            unix_ms,
        }
    }
}
