//! Keeps a vector index for each model in step with the rows.
//!
//! ```text
//! opened ──▶ has every change? ──yes──▶ live: follows each commit
//!               │ no                       │ cannot be written
//!               ▼                          ▼
//!            behind: searches read the rows; a thread catches up
//! ```
//!
//! An index that is behind, damaged or being made anew is never asked: then
//! every row is read, which is slow and right.

mod catch_up;
mod engines;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filters;
use crate::id::ModelId;
use crate::model::{self, Model};
use crate::options::Executor;
use crate::rows::ModelRows;
use crate::vector::engine::Engine;
use crate::vector::exact::Exact;
use crate::vector::{Neighbour, Request, Spec, Stats, VectorIndex};
use crate::write::{self, Followers};
use engines::Opened;

/// Changes that an index takes in at once: bounds the memory, at 8,192
/// dimensions 128 MiB.
const CHANGES_AT_ONCE: i64 = 4096;

/// The indexes of all models.
#[derive(Debug)]
pub(crate) struct Indexes {
    place: Place,
    by_model: RwLock<HashMap<ModelId, Arc<ModelIndex>>>,
    /// Held by whoever brings indexes up to date.
    catching_up: Mutex<()>,
    /// Whether catching up should end soon.
    closing: AtomicBool,
    /// Filters whose answers are kept follow the same commits.
    pub(crate) filters: Filters,
    /// Wakes the thread that catches up.
    behind: Arc<tokio::sync::Notify>,
    /// Told the number of the last change of each commit.
    committed: tokio::sync::watch::Sender<i64>,
}

/// Where indexes are, and of which kind.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) engine: Engine,
    /// Where the extension sqlite-vss is.
    pub(crate) vss_folder: Option<PathBuf>,
    pub(crate) executor: Executor,
    /// The id of the database.
    pub(crate) database: [u8; 16],
}

/// The index of one model.
#[derive(Debug)]
pub(crate) struct ModelIndex {
    pub(crate) model: Model,
    spec: Spec,
    index: Box<dyn VectorIndex>,
    /// Why the engine that was chosen is not the one that answers.
    problem: Option<String>,
    /// The number of the last change that it has.
    applied: AtomicI64,
    /// Whether it has every change that was committed.
    live: AtomicBool,
    /// Whether it can take in the rest at the next commit and be live.
    joining: AtomicBool,
    /// Whether it has to be made anew.
    damaged: AtomicBool,
    /// Held by whoever changes the index, which one may do at a time.
    changing: Mutex<()>,
    /// Wakes the thread that catches up.
    behind: Arc<tokio::sync::Notify>,
}

impl Indexes {
    /// Opens the index of every model. Those that are behind are caught up by
    /// [`Indexes::catch_up`].
    pub(crate) fn open(place: Place, connection: &Connection) -> Result<Self> {
        let (committed, _) = tokio::sync::watch::channel(write::last_change(connection)?);
        let indexes = Self {
            place,
            by_model: RwLock::default(),
            catching_up: Mutex::default(),
            closing: AtomicBool::new(false),
            filters: Filters::default(),
            behind: Arc::default(),
            committed,
        };
        engines::prepare(&indexes.place, &model::list(connection)?)?;
        indexes.follow_models(connection)?;
        Ok(indexes)
    }

    /// The index of a model.
    pub(crate) fn of(&self, model: ModelId) -> Result<Arc<ModelIndex>> {
        let by_model = self.by_model.read().unwrap_or_else(PoisonError::into_inner);
        by_model.get(&model).map(Arc::clone).ok_or_else(|| {
            Error::new(ErrorKind::Missing, "model is not known").with("model", &model)
        })
    }

    /// The engine that was chosen.
    pub(crate) fn chosen(&self) -> Engine {
        self.place.engine
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<ModelIndex>> {
        let by_model = self.by_model.read().unwrap_or_else(PoisonError::into_inner);
        by_model.values().map(Arc::clone).collect()
    }

    /// Ends catching up, and lets nobody begin. Blocks until that is so.
    pub(crate) fn stop_catching_up(&self) {
        self.closing.store(true, Ordering::Release);
        drop(self.catching_up());
    }

    fn catching_up(&self) -> MutexGuard<'_, ()> {
        self.catching_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Told when an index falls behind.
    pub(crate) fn behind(&self) -> Arc<tokio::sync::Notify> {
        Arc::clone(&self.behind)
    }

    /// The number of the last change, whenever there are new ones.
    pub(crate) fn committed(&self) -> tokio::sync::watch::Receiver<i64> {
        self.committed.subscribe()
    }

    /// Opens the indexes of new models, and forgets those of models that are
    /// gone.
    fn follow_models(&self, connection: &Connection) -> Result<()> {
        let models = model::list(connection)?;
        let mut by_model = self
            .by_model
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        by_model.retain(|id, index| {
            let kept = models.iter().any(|model| model.id == *id);
            if !kept {
                engines::remove(&self.place, index);
            }
            kept
        });
        for model in models {
            if !by_model.contains_key(&model.id) {
                let index = ModelIndex::open(&self.place, model, connection, self.behind())?;
                by_model.insert(index.model.id, Arc::new(index));
            }
        }
        Ok(())
    }
}

impl Followers for Indexes {
    fn committed(&self, connection: &Connection, from: i64, to: i64) {
        if let Err(error) = self.filters.follow(connection, from, to) {
            tracing::warn!(error = %error, "kept filters cannot follow, forgetting them");
            self.filters.forget();
        }
        match models_changed(connection, from, to) {
            Ok(false) => {}
            changed => {
                let followed = changed.and_then(|_| self.follow_models(connection));
                if let Err(error) = followed {
                    tracing::warn!(error = %error, "models cannot be followed");
                }
            }
        }
        for index in self.all() {
            if !index.follow_commit(connection, to) {
                self.behind.notify_one();
            }
        }
        self.committed
            .send_if_modified(|last| std::mem::replace(last, to) != to);
    }
}

fn models_changed(connection: &Connection, from: i64, to: i64) -> Result<bool> {
    let mut changed = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM change WHERE seq BETWEEN ?1 AND ?2 AND \"table\" = 'model')",
    )?;
    Ok(changed.query_row([from, to], |row| row.get(0))?)
}

impl ModelIndex {
    fn open(
        place: &Place,
        model: Model,
        connection: &Connection,
        behind: Arc<tokio::sync::Notify>,
    ) -> Result<Self> {
        let spec = Spec {
            database: place.database,
            model: *model.id.as_bytes(),
            dimensions: model.dimensions,
            metric: model.metric,
        };
        let Opened { index, problem } = engines::open(place, &model, &spec);
        let durable = i64::try_from(index.durable()).unwrap_or(i64::MAX);
        let index = Self {
            model,
            spec,
            index,
            problem,
            applied: AtomicI64::new(durable),
            live: AtomicBool::new(false),
            joining: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            changing: Mutex::default(),
            behind,
        };
        index.go_live_if_near(connection)?;
        Ok(index)
    }

    /// The passages nearest to a query, by the index or by every row.
    ///
    /// `connection` must see at least what was committed when this was called.
    pub(crate) fn search(
        &self,
        connection: &Connection,
        request: Request<'_>,
    ) -> Result<Vec<Neighbour>> {
        let rows = ModelRows {
            connection,
            model: &self.model,
        };
        if self.live.load(Ordering::Acquire) {
            match self.index.search(request, &rows) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(error = %error, "vector index is damaged, reading every row");
                    self.give_up();
                }
                found => return found,
            }
        }
        Exact::new(self.spec.clone()).search(request, &rows)
    }

    /// Which engine it has.
    pub(crate) fn engine(&self) -> Engine {
        self.index.engine()
    }

    /// Why the engine that was chosen is not the one that answers.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether its engine reads the rows themselves.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.index.durable() == u64::MAX
    }

    /// Whether it has every change.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// The number of the last change that it has.
    pub(crate) fn applied(&self) -> i64 {
        self.applied.load(Ordering::Acquire)
    }

    /// What the index holds and takes.
    pub(crate) fn stats(&self) -> Result<Stats> {
        self.index.stats()
    }

    /// The number of the last change that a restart finds in it.
    pub(crate) fn durable(&self) -> i64 {
        i64::try_from(self.index.durable()).unwrap_or(i64::MAX)
    }

    /// Writes what is only in memory. If the files are not those that were
    /// written, the index is not asked any more, and will be made anew.
    pub(crate) fn flush(&self) -> Result<()> {
        let flushed = self.index.flush();
        let damaged = |error: &Error| error.kind() == ErrorKind::Corrupt;
        if flushed.as_ref().is_err_and(damaged) {
            self.give_up();
        }
        flushed
    }

    /// Looks for damage in the index's files. If there is, it is not asked any
    /// more, and will be made anew.
    pub(crate) fn verify(&self) -> Result<()> {
        let verified = self.index.verify();
        if verified.is_err() {
            self.give_up();
        }
        verified
    }

    /// Whether it was found damaged, and is not yet made anew.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Is not asked any more until it is made anew, which is to begin now.
    fn give_up(&self) {
        self.damaged.store(true, Ordering::Release);
        self.live.store(false, Ordering::Release);
        self.behind.notify_one();
    }

    /// Is asked again, unless somebody else has found damage meanwhile.
    fn stay_live(&self) {
        self.live.store(true, Ordering::Release);
        if self.is_damaged() {
            self.live.store(false, Ordering::Release);
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a commit in, if it is live or about to be. Gives `false` if it
    /// cannot.
    fn follow_commit(&self, connection: &Connection, to: i64) -> bool {
        let joins = self.joining.swap(false, Ordering::AcqRel);
        if !joins && !self.live.load(Ordering::Acquire) {
            return true;
        }
        let followed = self.follow(connection, to);
        if let Err(error) = &followed {
            tracing::warn!(
                error = %error,
                model = self.model.name,
                "vector index cannot follow, searches read every row until it can"
            );
        }
        match followed {
            Ok(()) => self.stay_live(),
            Err(_) => self.live.store(false, Ordering::Release),
        }
        self.is_live()
    }

    /// Takes all changes up to `to` in.
    fn follow(&self, connection: &Connection, to: i64) -> Result<()> {
        let rows = ModelRows {
            connection,
            model: &self.model,
        };
        let mut applied = self.applied.load(Ordering::Acquire);
        if applied < to && !write::reaches_back(connection, applied + 1)? {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "rows came that the log of changes does not name",
            ));
        }
        while applied < to {
            let (changes, last) = rows.changes(applied + 1, to, CHANGES_AT_ONCE)?;
            let _changing = self.changing();
            let taken = self.index.apply(&changes, last.unsigned_abs());
            if let Err(error) = taken {
                if error.kind() == ErrorKind::Corrupt {
                    self.give_up();
                }
                return Err(error);
            }
            self.applied.store(last, Ordering::Release);
            applied = last;
        }
        Ok(())
    }
}
