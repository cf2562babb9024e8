//! The opening of what this device knows, beside everything else: after an
//! unclean stop all of a store is read before it is used, which may take
//! minutes.
//!
//! The daemon begins it; the local API and the service `knowledge` ask how far
//! it is before each request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ginnel_link::link::Link;
use ginnel_store::Store;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Knowledge;
use super::settings::KnowledgeSettings;
use super::sync::{KnowledgeSync, Parts};
use crate::sync::{Settings, Sync};

/// How long a request waits for the store: most are open by then, and nobody
/// should believe that the daemon hangs.
const WAIT: Duration = Duration::from_secs(2);

/// When to look again whether the store can be opened, at first and at most:
/// whoever has it open is mostly a command.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
const TRY_AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// How long the end of the daemon waits for it. What is cut off then is begun
/// anew at the next start.
const STOP_WAIT: Duration = Duration::from_secs(1);

const BROKEN_OFF: &str = "the opening of the store broke off; hint: the log of ginnel up says why";

/// What this device knows, as soon as its store is open. Cheap to clone; all
/// clones are the same.
#[derive(Debug, Clone)]
pub struct Opening(watch::Receiver<Stage>);

/// How far the opening is.
#[derive(Debug, Clone)]
pub enum Stage {
    /// On the way.
    Opening,
    /// Something is in the way that may pass, such as another process that has
    /// it open: it is tried again every few seconds.
    Waiting(String),
    /// Done.
    Open(Knowledge),
    /// It cannot be opened, for this reason, until the next start.
    Failed(String),
}

impl Opening {
    /// Begins, on a thread of its own: one that reads a large store cannot be
    /// told to stop, and the end of the process must not wait for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn begin(settings: KnowledgeSettings) -> Self {
        let (told, stage) = watch::channel(Stage::Opening);
        let runtime = Handle::current();
        let open = move || {
            let _entered = runtime.enter();
            let opened = open_patiently(&runtime, &settings, &told);
            if let Err(reason) = &opened {
                error!("{reason}");
            }
            told.send_replace(Stage::of(opened));
        };
        let thread = std::thread::Builder::new().name("store opening".to_owned());
        match thread.spawn(open) {
            Ok(_) => Self(stage),
            Err(error) => Self::ended(Err(format!("the store cannot be opened: {error}"))),
        }
    }

    /// One that has ended with this, or with the reason why not.
    #[must_use]
    pub fn ended(opened: Result<Knowledge, String>) -> Self {
        Self(watch::channel(Stage::of(opened)).1)
    }

    /// How far it is now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let is_over = self.0.has_changed().is_err();
        match self.0.borrow().clone() {
            // Its thread panicked, or it would have told.
            Stage::Opening if is_over => Stage::Failed(BROKEN_OFF.to_owned()),
            Stage::Waiting(reason) if is_over => Stage::Failed(reason),
            stage @ (Stage::Opening | Stage::Waiting(_) | Stage::Open(_) | Stage::Failed(_)) => {
                stage
            }
        }
    }

    /// How far it is, after a short wait if it is on the way.
    pub async fn wait(&self) -> Stage {
        let ended = timeout(WAIT, self.end()).await;
        ended.unwrap_or_else(|_| self.stage())
    }

    /// Makes vectors of whatever has none, once it is open, until `stop`.
    pub async fn keep_embedding(&self, stop: CancellationToken) {
        match stop.run_until_cancelled(self.end()).await {
            Some(Stage::Open(knowledge)) => knowledge.keep_embedding(stop).await,
            Some(Stage::Opening | Stage::Waiting(_) | Stage::Failed(_)) => stop.cancelled().await,
            None => {}
        }
    }

    /// Moves artifacts over whatever link is live, once it is open, until
    /// `stop`.
    pub async fn keep_moving(
        &self,
        link: watch::Receiver<Option<Link>>,
        settings: Settings,
        stop: CancellationToken,
    ) {
        match stop.run_until_cancelled(self.end()).await {
            Some(Stage::Open(knowledge)) => {
                let sync = Sync::new(knowledge.models().clone(), link, &settings);
                knowledge.set_sync(sync.clone());
                sync.run(stop).await;
            }
            Some(Stage::Opening | Stage::Waiting(_) | Stage::Failed(_)) => stop.cancelled().await,
            None => {}
        }
    }

    /// Keeps it in step with the user's other devices, once it is open, until
    /// `stop`.
    pub async fn keep_sharing(
        &self,
        parts: impl FnOnce(Store, Arc<OnceLock<Sync>>) -> Parts,
        stop: CancellationToken,
    ) {
        match stop.run_until_cancelled(self.end()).await {
            Some(Stage::Open(knowledge)) => {
                let shared =
                    KnowledgeSync::new(parts(knowledge.store().clone(), knowledge.mover()));
                knowledge.set_shared(shared.clone());
                shared.run(stop).await;
            }
            Some(Stage::Opening | Stage::Waiting(_) | Stage::Failed(_)) => stop.cancelled().await,
            None => {}
        }
    }

    /// Closes what was opened.
    ///
    /// # Errors
    /// As [`Knowledge::close`].
    pub async fn close(&self) -> anyhow::Result<()> {
        match timeout(STOP_WAIT, self.end()).await {
            Ok(Stage::Open(knowledge)) => knowledge.close().await,
            Ok(Stage::Failed(_)) => Ok(()),
            Ok(Stage::Opening | Stage::Waiting(_)) | Err(_) => {
                info!("the store was still being opened, its next opening begins anew");
                Ok(())
            }
        }
    }

    /// What comes of it.
    async fn end(&self) -> Stage {
        let mut stage = self.0.clone();
        let is_over = |stage: &Stage| matches!(stage, Stage::Open(_) | Stage::Failed(_));
        let ended = stage.wait_for(is_over);
        // Told or not, it has ended.
        let _ = ended.await.map(drop);
        self.stage()
    }
}

/// Opens the store, and tries again while something is in the way that may
/// pass and somebody still wants it.
fn open_patiently(
    runtime: &Handle,
    settings: &KnowledgeSettings,
    told: &watch::Sender<Stage>,
) -> Result<Knowledge, String> {
    let mut wait = TRY_AGAIN_AFTER;
    loop {
        let error = match Knowledge::open_blocking(settings) {
            Ok(knowledge) => return Ok(knowledge),
            Err(error) => error,
        };
        let reason = format!("{error:#}");
        let store_error = error.downcast_ref::<ginnel_store::error::Error>();
        if told.is_closed() || !store_error.is_some_and(|error| error.is_retryable()) {
            return Err(reason);
        }
        if wait == TRY_AGAIN_AFTER {
            warn!("{reason}, will be tried again");
        }
        told.send_replace(Stage::Waiting(reason));
        // Over, or nobody wants it any more.
        let _ = runtime.block_on(timeout(wait, told.closed()));
        wait = (wait * 2).min(TRY_AGAIN_AFTER_MAX);
    }
}

impl Stage {
    fn of(opened: Result<Knowledge, String>) -> Self {
        match opened {
            Ok(knowledge) => Self::Open(knowledge),
            Err(reason) => Self::Failed(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_opening_that_breaks_off_is_told_as_failed() {
        let (thread, stage) = watch::channel(Stage::Opening);
        let opening = Opening(stage);
        assert!(matches!(opening.stage(), Stage::Opening));
        drop(thread);
        let Stage::Failed(reason) = opening.wait().await else {
            panic!("{:?}", opening.stage());
        };
        assert!(reason.contains("broke off"), "{reason}");
        opening.close().await.expect("nothing to close");
    }
}
