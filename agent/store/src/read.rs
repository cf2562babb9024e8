//! Readers: connections that only read, each query on one snapshot.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection;
use crate::error::{Error, Result};
use crate::limits::READERS_MAX;
use crate::options::Executor;

/// A pool of connections. More callers than connections wait.
#[derive(Debug)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
    executor: Executor,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// As many permits as connections; closed with the store.
    permits: Arc<Semaphore>,
    /// Those that are open and not in use.
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Of a file that exists.
    pub(crate) fn new(path: PathBuf, executor: Executor) -> Self {
        let shared = Shared {
            path,
            permits: Arc::new(Semaphore::new(READERS_MAX)),
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            executor,
        }
    }

    /// Runs a query on one snapshot. Dropped, it is interrupted.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = self.shared.permit().await?;
        let connection = self.shared.connection()?;
        self.run_with(permit, connection, work).await
    }

    /// As [`Readers::run`], on a connection that has read nothing yet. Some of
    /// what FTS5 read for earlier queries it takes for true, so a check of its
    /// index must not begin where a search ended.
    pub(crate) async fn run_anew<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = self.shared.permit().await?;
        // So that no more are open than may be.
        self.shared.take_idle();
        let connection = connection::open_reader(&self.shared.path)?;
        self.run_with(permit, connection, work).await
    }

    async fn run_with<T, W>(
        &self,
        permit: OwnedSemaphorePermit,
        connection: Connection,
        work: W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (interrupt, running) = interrupt(&connection);
        let shared = Arc::clone(&self.shared);
        let query = move || {
            let out = on_snapshot(&connection, work);
            running.end();
            if !out.as_ref().is_err_and(Error::loses_connection) {
                shared.give_back(connection);
            }
            drop(permit);
            out
        };
        let _interrupt = interrupt;
        match self.executor {
            Executor::Inline => query(),
            Executor::Threads => {
                let ended = tokio::task::spawn_blocking(query).await;
                ended.map_err(|_| Error::closed())?
            }
        }
    }

    /// As [`Readers::run`], on a thread that may block, with a connection that
    /// is not of the pool: for long work.
    pub(crate) fn run_apart<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        on_snapshot(&connection::open_reader(&self.shared.path)?, work)
    }

    /// As [`Readers::run_apart`], outside any transaction.
    pub(crate) fn run_plain<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&connection::open_reader(&self.shared.path)?)
    }

    /// Lets nobody in any more, and waits for those inside.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(READERS_MAX).unwrap_or(u32::MAX);
        if let Ok(all) = self.shared.permits.acquire_many(all).await {
            self.shared.permits.close();
            drop(all);
        }
        self.shared.take_idle();
    }
}

impl Shared {
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| Error::closed())
    }

    fn connection(&self) -> Result<Connection> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| connection::open_reader(&self.path), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
    }

    fn take_idle(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.clear();
    }
}

fn on_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    // Dropped without a commit, which for a reader is the same.
    let transaction = connection.unchecked_transaction()?;
    work(&transaction)
}

/// Stops a query when its caller goes, and nothing once the query has ended:
/// the connection may be another's by then.
struct Interrupt(Running);

/// Whether a query runs, and how to stop it.
#[derive(Clone)]
struct Running(Arc<Mutex<Option<InterruptHandle>>>);

fn interrupt(connection: &Connection) -> (Interrupt, Running) {
    let handle = connection.get_interrupt_handle();
    let running = Running(Arc::new(Mutex::new(Some(handle))));
    (Interrupt(running.clone()), running)
}

impl Running {
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let Running(handle) = &self.0;
        if let Some(handle) = &*handle.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}
