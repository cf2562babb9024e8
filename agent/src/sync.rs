//! Artifacts between this device and the relay.
//!
//! ```text
//! asked for ─▶ transfer (a row of the store) ─▶ worker ─▶ push or pull ─▶ done
//!                                                 ▲                │
//!                                                 └── waits, again ┘
//! ```
//!
//! * [`push`] and [`pull`] are the two ways; [`catalog`] asks the relay.
//! * [`worker`] takes transfers in their order, and again those that broke off.
//! * [`pace`] is the one budget for all of them.
//!
//! What a transfer goes on with is in the store: the relay keeps nothing.

pub(crate) mod ask;
mod bases;
pub mod catalog;
pub mod failure;
pub mod fetch;
mod flow;
pub mod pace;
mod pull;
mod push;
mod records;
mod reuse;
pub mod schedule;
pub mod worker;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ginnel_blob::hash::Hash;
use ginnel_link::link::Link;
use ginnel_proto::artifact::Artifact;
use ginnel_store::Store;
use ginnel_store::blob::BlobFolder;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::transfer::{Direction, NewTransfer, State, Step, Transfer, TransferId};
use tokio::sync::{Notify, watch};

use self::catalog::{Catalog, Listed, Listing};
use self::failure::{Failure, Then};
use self::fetch::{Way, Web};
use self::pace::Pace;
use self::schedule::Schedule;
use crate::models::room::RelayHas;
use crate::models::{Models, ModelsError};

/// How often a pull looks which version is published, while others are.
const PULL_TRIES: u32 = 5;

/// What a person sets about transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The most that travels, both ways together, in bytes a second.
    pub bandwidth: Option<u64>,
    /// Which way pulls take.
    pub way: Way,
    /// When artifacts travel; always if not set.
    pub schedule: Option<Schedule>,
}

/// Moves artifacts. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Sync {
    models: Models,
    store: Store,
    link: watch::Receiver<Option<Link>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pace: Pace,
    web: Web,
    way: Way,
    schedule: Option<Schedule>,
    /// Pulls that may replace changes; after a restart they may not.
    forced: Mutex<HashSet<TransferId>>,
    /// Something is to be looked at: a new transfer, or one that changed.
    changed: Notify,
}

impl Sync {
    /// Moves artifacts between a device's models and whatever link is live.
    #[must_use]
    pub fn new(models: Models, link: watch::Receiver<Option<Link>>, settings: &Settings) -> Self {
        let shared = Shared {
            pace: Pace::new(settings.bandwidth),
            web: Web::new(),
            way: settings.way,
            schedule: settings.schedule,
            forced: Mutex::default(),
            changed: Notify::new(),
        };
        Self {
            store: models.store().clone(),
            models,
            link,
            shared: Arc::new(shared),
        }
    }

    /// Queues a push: reads the file, unless it was read and is the same.
    ///
    /// # Errors
    /// There is no such file, or it is none that may be pushed.
    pub async fn push(&self, artifact: Artifact) -> Result<Transfer, Failure> {
        let (_, index) = self.models.index(&artifact, |_| {}).await?;
        let new = NewTransfer {
            direction: Direction::Push,
            artifact,
            blob: index.blob(),
            size: index.size(),
            index: Some(index),
        };
        self.begin(new).await
    }

    /// Queues a pull of what is published now. If another version is published
    /// at this moment, it is that one.
    ///
    /// # Errors
    /// There is no link, the relay has no such artifact, or the file here has
    /// changes that were never pushed.
    pub async fn pull(&self, artifact: Artifact, over: Changes) -> Result<Transfer, Failure> {
        let mut tries = 1;
        loop {
            match self.try_pull(&artifact, over).await {
                Err(failure) if failure.then == Then::Anew && tries < PULL_TRIES => tries += 1,
                begun => return begun,
            }
        }
    }

    async fn try_pull(&self, artifact: &Artifact, over: Changes) -> Result<Transfer, Failure> {
        let catalog = self.catalog()?;
        let version = catalog.version(artifact).await?;
        if over == Changes::Keep && self.has_changes(artifact, version.remote.blob).await? {
            return Err(Failure::give(format_args!(
                "the file here has changes that were never pushed, name={artifact}; hint: push it, \
                 or let the published version replace it with --force"
            )));
        }
        let index = catalog.index(artifact, &version).await?;
        let new = NewTransfer {
            direction: Direction::Pull,
            artifact: artifact.clone(),
            blob: version.remote.blob,
            size: version.remote.size,
            index: Some(index),
        };
        let transfer = self.store.begin_transfer(new).await?;
        self.shared.allow(transfer.id, over);
        self.shared.changed.notify_waiters();
        Ok(transfer)
    }

    /// Whether the file here is neither what was last pushed or pulled, nor
    /// what is published now. It is read if it was written to since.
    async fn has_changes(&self, artifact: &Artifact, published: Hash) -> Result<bool, Failure> {
        let (entry, index) = match self.models.index(artifact, |_| {}).await {
            Ok(found) => found,
            Err(ModelsError::Missing(_) | ModelsError::NoFile(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let blob = index.blob();
        let synced = entry.remote.map(|remote| remote.blob);
        Ok(blob != published && Some(blob) != synced)
    }

    /// What the relay has for this device.
    ///
    /// # Errors
    /// There is no link, or the relay's.
    pub async fn list(&self) -> Result<Listing, Failure> {
        self.catalog()?.list().await
    }

    /// What the relay has at this moment, if it can be asked.
    pub async fn relay_has(&self) -> RelayHas {
        let Ok(listing) = self.list().await else {
            return RelayHas::Unknown;
        };
        let known = |listed: &Listed| Some((listed.name.parse().ok()?, listed.blob.parse().ok()?));
        RelayHas::These(listing.artifacts.iter().filter_map(known).collect())
    }

    /// Takes an artifact away from the relay; the file here stays.
    ///
    /// # Errors
    /// There is no link, or the relay's.
    pub async fn remove_remote(&self, artifact: Artifact) -> Result<(), Failure> {
        self.catalog()?.remove(&artifact).await?;
        Ok(self.store.drop_artifact_remote(artifact).await?)
    }

    /// All transfers, the newest last.
    ///
    /// # Errors
    /// The store's.
    pub async fn transfers(&self) -> Result<Vec<Transfer>, Failure> {
        Ok(self.store.transfers().await?)
    }

    /// One transfer.
    ///
    /// # Errors
    /// The store's.
    pub async fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, Failure> {
        Ok(self.store.transfer(id).await?)
    }

    /// Where an artifact's file lies. What a user knows lies in a folder for this
    /// device's owner only.
    ///
    /// # Errors
    /// The models folder cannot be made.
    pub async fn place(&self, artifact: &Artifact) -> Result<PathBuf, Failure> {
        let path = BlobPath::of(artifact)?;
        let place = self.models.blobs().await?.place_of(&path);
        let folder = place.parent().map(ToOwned::to_owned);
        let is_private = matches!(artifact, Artifact::Knowledge(_));
        let make = move || folder.map_or(Ok(()), |folder| make_folder(&folder, is_private));
        let made = tokio::task::spawn_blocking(make).await;
        made.map_err(Failure::retry)?.map_err(Failure::give)?;
        Ok(place)
    }

    /// Waits until a transfer is done, has failed, or a person stopped it.
    ///
    /// # Errors
    /// It was cancelled, or the store's.
    pub async fn end_of(&self, id: TransferId) -> Result<Transfer, Failure> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // From here on nothing is missed.
            changed.as_mut().enable();
            let Some(transfer) = self.store.transfer(id).await? else {
                return Err(Failure::retry("the transfer was cancelled"));
            };
            match transfer.state {
                State::Done | State::Failed | State::Paused => return Ok(transfer),
                State::Queued | State::Running => changed.await,
            }
        }
    }

    /// Stops a transfer until it is let go on.
    ///
    /// # Errors
    /// There is none, or it is done.
    pub async fn pause(&self, id: TransferId) -> Result<Transfer, Failure> {
        self.step(id, Step::Pause).await
    }

    /// Lets a transfer go on that was stopped, or failed.
    ///
    /// # Errors
    /// There is none, or it is done.
    pub async fn resume(&self, id: TransferId) -> Result<Transfer, Failure> {
        self.step(id, Step::Queue(None)).await
    }

    /// Forgets a transfer, and what it had.
    ///
    /// # Errors
    /// There is none, or the store's.
    pub async fn cancel(&self, id: TransferId) -> Result<(), Failure> {
        let Some(transfer) = self.store.transfer(id).await? else {
            return Err(Failure::give(format_args!(
                "no such transfer, transfer={id}"
            )));
        };
        self.store.forget_transfer(id).await?;
        self.shared.changed.notify_waiters();
        if transfer.direction == Direction::Pull && transfer.state != State::Done {
            let (path, blob) = (transfer.path, transfer.blob);
            let discard = move |folder: &BlobFolder, _: &_| folder.discard_unfinished(&path, blob);
            self.models.blobs().await?.apart(discard).await?;
        }
        Ok(())
    }

    /// Sets the most that travels in bytes a second, until the next start.
    pub fn set_bandwidth(&self, limit: Option<u64>) {
        self.shared.pace.set_limit(limit);
    }

    /// Waits until something may have become of a transfer.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    async fn step(&self, id: TransferId, step: Step) -> Result<Transfer, Failure> {
        let transfer = self.store.step_transfer(id, step).await?;
        self.shared.changed.notify_waiters();
        Ok(transfer)
    }

    async fn begin(&self, new: NewTransfer) -> Result<Transfer, Failure> {
        let transfer = self.store.begin_transfer(new).await?;
        self.shared.changed.notify_waiters();
        Ok(transfer)
    }

    /// The relay's catalog.
    ///
    /// # Errors
    /// There is no link.
    pub fn catalog(&self) -> Result<Catalog, Failure> {
        let link = self.link.borrow().clone();
        let link = link.ok_or_else(|| {
            Failure::retry("there is no link to the relay; hint: ginnel status says why")
        })?;
        Ok(Catalog::new(link))
    }
}

fn make_folder(folder: &Path, is_private: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    #[cfg(unix)]
    if is_private {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

impl Shared {
    /// Notes what a pull may do with changes.
    fn allow(&self, id: TransferId, over: Changes) {
        let mut forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
        match over {
            Changes::Replace => forced.insert(id),
            Changes::Keep => forced.remove(&id),
        };
    }

    fn allowed(&self, id: TransferId) -> Changes {
        let forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
        match forced.contains(&id) {
            true => Changes::Replace,
            false => Changes::Keep,
        }
    }
}

/// What becomes of changes that were never pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// They are kept: nothing replaces them.
    Keep,
    /// The published version replaces them.
    Replace,
}
