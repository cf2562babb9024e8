//! What a store does beside its callers' work: catching indexes up, writing
//! them, indexing words that could wait, forgetting changes that everybody knows,
//! giving space back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::backup;
use crate::document::words;
use crate::error::{Error, ErrorKind, Result};
use crate::model;
use crate::options::Executor;
use crate::write::Turn;
use crate::{Inner, Store};

/// How often indexes are written: what is not is replayed after a stop, some
/// ten thousand changes a second.
const EVERY: Duration = Duration::from_secs(30);

/// How long to wait before an index that could not be written is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Pages given back to the disk at a time: 4 MiB, some milliseconds.
const FREE_PAGES: u32 = 512;

/// The task, until the store is closed.
#[derive(Debug, Default)]
pub(crate) struct Upkeep(Mutex<Option<JoinHandle<()>>>);

/// Starts the task; inline, does what is to be done at once.
pub(crate) fn start(store: &Store) -> Result<()> {
    if store.inner.executor == Executor::Inline {
        store.inner.catch_up()?;
        return store.inner.index_words();
    }
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            "store is opened outside a tokio runtime",
        )
    })?;
    let weak = Arc::downgrade(&store.inner);
    let task = runtime.spawn(run(weak, store.inner.indexes.behind()));
    *lock(&store.inner.upkeep.0) = Some(task);
    Ok(())
}

/// Ends the task, and writes the indexes a last time.
pub(crate) async fn stop(store: &Store) {
    let task = lock(&store.inner.upkeep.0).take();
    if let Some(task) = task {
        task.abort();
        let _ = task.await;
    }
    // What it had begun on another thread goes on until it is told.
    let ended = blocking(&store.inner, |store| {
        store.indexes.stop_catching_up();
        Ok(())
    });
    warned(ended.await);
    warned(blocking(&store.inner, Inner::write_indexes).await);
}

/// Holds the store only while it works, so that it ends with the last clone.
async fn run(store: Weak<Inner>, behind: Arc<Notify>) {
    let mut wait = Duration::ZERO;
    let mut verified = false;
    loop {
        tokio::select! {
            () = behind.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        let Some(store) = store.upgrade() else {
            return;
        };
        if !std::mem::replace(&mut verified, true) {
            // After what is needed at once, the first search among it.
            warned(blocking(&store, Inner::verify).await);
            warned(blocking(&store, Inner::purge).await);
        }
        wait = EVERY;
        if !warned(blocking(&store, Inner::catch_up).await) {
            wait = TRY_AGAIN_AFTER;
        }
        if !warned(blocking(&store, Inner::index_words).await) {
            wait = TRY_AGAIN_AFTER;
        }
        warned(blocking(&store, Inner::write_indexes).await);
    }
}

/// Makes all vector indexes anew.
pub(crate) async fn rebuild(store: &Arc<Inner>) -> Result<()> {
    blocking(store, |store| {
        store.indexes.distrust(&store.writer)?;
        store.catch_up()
    })
    .await
}

/// Lets searches read the rows until all vector indexes are made anew.
pub(crate) async fn distrust_indexes(store: &Arc<Inner>) -> Result<()> {
    blocking(store, |store| store.indexes.distrust(&store.writer)).await
}

/// Lets all indexes be made of rows that took the place of others; inline, makes
/// them at once.
pub(crate) async fn make_indexes(store: &Arc<Inner>) -> Result<()> {
    blocking(store, |store| {
        store.indexes.distrust(&store.writer)?;
        match store.executor {
            Executor::Inline => {
                store.catch_up()?;
                store.index_words()
            }
            Executor::Threads => {
                store.indexes.behind().notify_one();
                Ok(())
            }
        }
    })
    .await
}

/// Indexes all words that wait.
pub(crate) async fn index_words(store: &Arc<Inner>) -> Result<()> {
    blocking(store, Inner::index_words).await
}

/// Copies the database.
pub(crate) async fn backup(store: &Arc<Inner>, target: PathBuf) -> Result<u64> {
    let copy = move |store: &Inner| {
        store
            .readers
            .run_plain(|connection| backup::backup(connection, &target))
    };
    blocking(store, copy).await
}

async fn blocking<T, W>(store: &Arc<Inner>, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(&Inner) -> Result<T> + Send + 'static,
{
    match store.executor {
        Executor::Inline => work(store),
        Executor::Threads => {
            let store = Arc::clone(store);
            let done = tokio::task::spawn_blocking(move || work(&store)).await;
            done.map_err(|_| Error::closed())?
        }
    }
}

/// Whether it was done; says so if not.
fn warned(done: Result<()>) -> bool {
    match done {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = %error, "upkeep of the store failed, will be tried again");
            false
        }
    }
}

impl Inner {
    fn catch_up(&self) -> Result<()> {
        self.indexes.catch_up(&self.readers, &self.writer)
    }

    /// Indexes the words that wait, and lets others write in between.
    fn index_words(&self) -> Result<()> {
        if self.readers.run_plain(words::waiting)? == 0 {
            return Ok(());
        }
        let some = |turn: &mut Turn<'_>| words::index_some(turn.connection);
        while self.writer.run_blocking(some)? {}
        Ok(())
    }

    /// Takes the vectors of models away whose deletion was cut off.
    fn purge(&self) -> Result<()> {
        for id in self.readers.run_plain(model::unpurged)? {
            let mut after = Some(0);
            while let Some(from) = after {
                let purge = move |turn: &mut Turn<'_>| model::purge(turn, id, from);
                after = self.writer.run_blocking(purge)?;
            }
        }
        Ok(())
    }

    /// Looks for damage in the indexes; those that have any are made anew.
    fn verify(&self) -> Result<()> {
        let verified = self.indexes.all().into_iter().map(|index| index.verify());
        verified.fold(Ok(()), Result::and)
    }

    /// Writes the indexes, and forgets changes that all of them know for good.
    pub(crate) fn write_indexes(&self) -> Result<()> {
        // What is committed together with this has not been told to anybody yet.
        let mut known = *self.indexes.committed().borrow();
        for index in self.indexes.all() {
            index.flush()?;
            known = known.min(index.durable());
        }
        self.writer.run_blocking(move |turn| {
            forget_changes(turn, known)?;
            free_pages(turn)
        })
    }
}

/// Forgets changes up to `known` that every cursor has passed. The last one
/// stays, so that its number is not given again.
fn forget_changes(turn: &Turn<'_>, known: i64) -> Result<()> {
    let mut forget = turn.connection.prepare_cached(
        "DELETE FROM change WHERE seq <= min(?1, coalesce((SELECT min(seq) FROM cursor), ?1))
             AND seq < (SELECT max(seq) FROM change)",
    )?;
    forget.execute([known])?;
    Ok(())
}

fn free_pages(turn: &Turn<'_>) -> Result<()> {
    let mut free = turn
        .connection
        .prepare_cached(&format!("PRAGMA incremental_vacuum({FREE_PAGES})"))?;
    let mut rows = free.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
