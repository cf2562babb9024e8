//! Makes vectors of passages that have none: of new ones, of those that came
//! without, and of all of them when the model changes.
//!
//! ```text
//! open the model ──▶ sweep all passages once ──▶ follow the changes
//!                     (an older model serves until that is done)
//! ```

mod problem;
mod serving;
mod work;

use std::sync::Arc;
use std::time::Duration;

use ginnel_store::Store;
use ginnel_store::id::ModelId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::embed::{EmbedSettings, Embedder};

pub use problem::Problem;

/// How long to wait after the first failure, and at the most.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
const TRY_AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);

/// What makes vectors, and how far it is.
#[derive(Debug)]
pub struct Embedding {
    store: Store,
    settings: Option<EmbedSettings>,
    state: watch::Sender<State>,
    progress: watch::Sender<Progress>,
    /// Ends the wait after a failure.
    try_again: Notify,
}

/// What questions are embedded with.
#[derive(Debug, Clone)]
pub enum State {
    /// Nothing: no model was named.
    Off,
    /// Nothing yet.
    Opening,
    /// This one. While the model is being changed it is the old one.
    Ready(Arc<dyn Embedder>),
    /// Nothing, for this reason; it is tried again.
    Failed(String),
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The model that makes vectors, once it is open.
    pub model: Option<ModelId>,
    /// Texts that got a vector since the start.
    pub embedded: u64,
    /// Texts that could not be embedded since the start.
    pub failed: u64,
    /// Whether that model has seen every passage there was.
    pub has_seen_all: bool,
    /// Every change up to this one is done.
    pub reached: i64,
    /// How often it failed since the start.
    pub failures: u64,
    /// Why it does not go on right now.
    pub problem: Option<Problem>,
}

impl Embedding {
    /// Begins with [`Embedding::run`].
    #[must_use]
    pub fn new(store: Store, settings: Option<EmbedSettings>) -> Self {
        let state = match settings {
            Some(_) => State::Opening,
            None => State::Off,
        };
        Self {
            store,
            settings,
            state: watch::Sender::new(state),
            progress: watch::Sender::default(),
            try_again: Notify::new(),
        }
    }

    /// What questions are embedded with now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What questions are embedded with, once that is known.
    pub async fn opened(&self) -> State {
        let mut state = self.state.subscribe();
        let opened = state
            .wait_for(|state| !matches!(state, State::Opening))
            .await;
        opened.map_or(State::Off, |state| state.clone())
    }

    /// Whether the model is in a folder, and soon open. An endpoint may keep
    /// one waiting.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.settings, Some(EmbedSettings::Folder(_)))
    }

    /// Whether a model that answers has seen every passage, but for those that
    /// came just now.
    #[must_use]
    pub fn has_seen_all(&self, model: ModelId) -> bool {
        let progress = self.progress.borrow();
        // Any other has been replaced, or is about to be.
        progress.model != Some(model) || progress.has_seen_all
    }

    /// How far it is, whenever that changes.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What was set, in words.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        self.settings.as_ref().map(EmbedSettings::describe)
    }

    /// Tries again now what failed last: somebody waits for it, who may have
    /// put it right.
    pub fn try_again(&self) {
        if self.progress.borrow().problem.is_some() {
            self.try_again.notify_one();
        }
    }

    /// Makes vectors for ever.
    pub async fn run(&self) {
        let Some(settings) = &self.settings else {
            if let Err(problem) = self.leave_changes_to(None).await {
                tracing::warn!(%problem, "changes are kept for a model that is set no more");
            }
            return std::future::pending().await;
        };
        let mut wait = TRY_AGAIN_AFTER;
        loop {
            let (begun, embedded) = (Instant::now(), self.progress.borrow().embedded);
            let Err(problem) = self.try_run(settings).await;
            tracing::warn!(
                %problem,
                embedder = settings.describe(),
                "no vectors are made, will be tried again"
            );
            if !matches!(self.state(), State::Ready(_)) {
                self.state.send_replace(State::Failed(problem.to_string()));
            }
            let worked = self.progress.borrow().embedded > embedded;
            self.progress.send_modify(|progress| {
                progress.failures += 1;
                progress.problem = Some(problem);
            });
            if worked || begun.elapsed() > TRY_AGAIN_AFTER_MAX {
                wait = TRY_AGAIN_AFTER;
            }
            // Over or asked for, it tries again.
            let _ = tokio::time::timeout(wait, self.try_again.notified()).await;
            wait = (wait * 2).min(TRY_AGAIN_AFTER_MAX);
        }
    }

    async fn try_run(&self, settings: &EmbedSettings) -> Result<std::convert::Infallible, Problem> {
        let opened = settings.open().await;
        let embedder = opened.map_err(|error| Problem::of_embedding(&error, settings))?;
        self.store.put_model(embedder.model().clone()).await?;
        let model = Some(embedder.model().id);
        self.progress.send_modify(|progress| progress.model = model);
        self.leave_changes_to(model).await?;
        self.serve(settings, &embedder).await?;
        self.work(settings, &embedder).await
    }
}
