//! What this device knows: documents, found by their words and their meaning.
//!
//! ```text
//! add ──▶ read files ──▶ cut ──▶ store ──▶ found by words at once
//!                                  │
//!                            embedding task ──▶ vectors ──▶ found by meaning
//! ```
//!
//! The daemon has one, and commands open one where no daemon runs. It puts the
//! store, the embedder and the reading of files together; each of these knows
//! nothing of the others.

pub mod add;
pub mod embedding;
pub mod opening;
pub mod search;
pub mod settings;
pub mod sync;

pub(crate) mod files;
#[cfg(test)]
pub(crate) mod tests;
pub mod too_long;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use ginnel_store::Store;
use ginnel_store::options::Options;
use ginnel_store::stats::Stats;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::models::Models;
use crate::sync::Sync;
use embedding::Embedding;
use settings::KnowledgeSettings;
use sync::KnowledgeSync;

/// Questions from outside at once: half of what the store answers at once, so
/// that programs of this machine never wait for them.
const OUTSIDE_MAX: usize = 4;

/// How long callers from outside are told the same counts.
const COUNTS_LAST: Duration = Duration::from_secs(5);

/// What this device knows. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Knowledge {
    store: Store,
    models: Models,
    sync: Arc<OnceLock<Sync>>,
    shared: Arc<OnceLock<KnowledgeSync>>,
    embedding: Arc<Embedding>,
    /// What was counted last, and when.
    counted: Arc<Mutex<Option<(Instant, Stats)>>>,
    /// Room for questions from outside.
    outside: Arc<Semaphore>,
}

impl Knowledge {
    /// Opens the store, on a thread that may block. Vectors are made by
    /// [`Knowledge::keep_embedding`].
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn open(settings: &KnowledgeSettings) -> anyhow::Result<Self> {
        let settings = settings.clone();
        let open = move || Self::open_blocking(&settings);
        tokio::task::spawn_blocking(open).await?
    }

    /// As [`Knowledge::open`], on this thread, which must belong to a runtime.
    fn open_blocking(settings: &KnowledgeSettings) -> anyhow::Result<Self> {
        let mut options = Options::new(&settings.folder);
        options.engine = settings.engine;
        options.vss_folder.clone_from(&settings.vss_dir);
        options.origin.clone_from(&settings.origin);
        let store = Store::open(options).context("the store cannot be opened")?;
        let embedding = Embedding::new(store.clone(), settings.embed.clone());
        let models = Models::new(store.clone(), settings.models.clone());
        Ok(Self {
            store,
            models,
            sync: Arc::default(),
            shared: Arc::default(),
            embedding: Arc::new(embedding),
            counted: Arc::default(),
            outside: Arc::new(Semaphore::new(OUTSIDE_MAX)),
        })
    }

    /// The documents and their index.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the store holds, as it was a short time ago: counting reads much of
    /// it, and callers from outside may ask as often as they like.
    ///
    /// # Errors
    /// As [`Store::stats`].
    pub async fn recent_stats(&self) -> Result<Stats, ginnel_store::error::Error> {
        let mut counted = self.counted.lock().await;
        if let Some((at, stats)) = &*counted
            && at.elapsed() < COUNTS_LAST
        {
            return Ok(stats.clone());
        }
        let stats = self.store.stats().await?;
        *counted = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }

    /// Room for questions from outside; each takes one.
    #[must_use]
    pub fn outside(&self) -> &Semaphore {
        &self.outside
    }

    /// The models, whose catalog is in the same store.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// What moves artifacts; `None` without a daemon that joined a relay.
    #[must_use]
    pub fn sync(&self) -> Option<&Sync> {
        self.sync.get()
    }

    /// The place of [`Knowledge::sync`], for those who begin before it is there.
    #[must_use]
    pub fn mover(&self) -> Arc<OnceLock<Sync>> {
        Arc::clone(&self.sync)
    }

    /// Artifacts are moved by this from now on, for good.
    pub fn set_sync(&self, sync: Sync) {
        // The daemon has one.
        let _ = self.sync.set(sync);
    }

    /// What keeps it in step with the user's other devices; `None` without a
    /// daemon that joined a relay.
    #[must_use]
    pub fn shared(&self) -> Option<&KnowledgeSync> {
        self.shared.get()
    }

    /// It is kept in step by this from now on, for good.
    pub fn set_shared(&self, shared: KnowledgeSync) {
        // The daemon has one.
        let _ = self.shared.set(shared);
    }

    /// What makes vectors, and how far it is.
    #[must_use]
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// Makes vectors of whatever has none, until `stop`.
    pub async fn keep_embedding(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.embedding.run()).await;
    }

    /// Writes what is only in memory and closes the store.
    ///
    /// # Errors
    /// The store could not be closed cleanly; nothing that was acknowledged is
    /// lost.
    pub async fn close(&self) -> anyhow::Result<()> {
        let closed = self.store.close().await;
        closed.context("the store was not closed cleanly")
    }
}
