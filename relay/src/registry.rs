//! The registry: who may use this relay, and what they used.
//!
//! [`Registry`] is the async face of one SQLite file, `relay.db`. It knows
//! users, devices, invitations (join codes), API keys and usage; each has its
//! own file below with its rows and its part of `impl Registry`. The command
//! line opens the same file from its own process while the relay runs, and the
//! relay notices by polling [`Registry::changed`].
//!
//! It does not read the clock: every method takes `now_ms`, unix milliseconds.
//! It does not issue certificates: redeeming a join code takes a closure that
//! does. It does not decide what a request may reach: it only says whose key it
//! carries and which scopes that key has.

pub mod api_key;
pub mod api_keys;
pub mod connection;
pub mod devices;
pub mod error;
pub mod executor;
pub mod join_codes;
pub mod key_ring;
pub mod limits;
pub mod loras;
pub mod pepper;
pub mod redeem;
pub mod scope;
pub mod serial;
pub mod usage;
pub mod users;

mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rusqlite::{Connection, Transaction};

use connection::{Database, Location};
use error::{Error, Result};
use executor::{Executor, Worker};
use pepper::{Hasher, Pepper};

/// What [`Registry::open`] needs to know.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Where the rows live.
    pub location: Location,
    /// The relay's secret under which all other secrets are hashed.
    pub pepper: Pepper,
    /// Where SQLite's blocking calls run.
    pub executor: Executor,
}

/// The relay's users, devices, join codes, API keys and usage.
///
/// Cheap to clone; all clones share one connection. An acknowledged write is
/// on disk. A call that is dropped before it returns may still take effect.
#[derive(Debug, Clone)]
pub struct Registry {
    worker: Arc<Worker>,
    hasher: Arc<Hasher>,
}

impl Registry {
    /// Opens the registry, creating or migrating the file as needed.
    ///
    /// After an unclean stop the file is checked first, which reads all of it.
    ///
    /// # Errors
    /// `Newer` when a newer relay made the file, `Corrupt` when the check
    /// fails, `Denied` when the pepper is not the one the file was made with,
    /// `Invalid` when the file is some other program's database, `Unavailable`
    /// when it cannot be opened.
    pub async fn open(options: OpenOptions) -> Result<Self> {
        let OpenOptions {
            location,
            pepper,
            executor,
        } = options;
        let hasher = Arc::new(Hasher::new(&pepper));
        let worker = Worker::start(executor, location).await?;
        let registry = Self {
            worker: Arc::new(worker),
            hasher,
        };
        let hasher = Arc::clone(&registry.hasher);
        registry
            .worker
            .run(move |database| pepper::check(database, &hasher))
            .await?;
        Ok(registry)
    }

    /// Whether another connection, usually another process, has changed the
    /// registry since the last call.
    ///
    /// Writes made through this handle and its clones do not count, so reload
    /// the key ring after those yourself. The answer is given once: one task
    /// polls.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn changed(&self) -> Result<bool> {
        self.worker.run(Database::changed).await
    }

    /// Finishes the queued work, folds the log into the file and closes it.
    ///
    /// Later calls through any clone answer `Closed`. Without this call the
    /// file is closed when the last clone is dropped, at some later moment.
    ///
    /// # Errors
    /// `Unavailable` when the last writes could not be folded into the file;
    /// they are still in its log. `Closed` when it was closed before.
    pub async fn close(&self) -> Result<()> {
        self.worker.close().await
    }

    /// Runs a query on the registry's connection.
    async fn read<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.worker
            .run(move |database| work(database.connection()?))
            .await
    }

    /// Runs `work` in one write transaction, kept only if `work` succeeds.
    async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.worker
            .run(move |database| database.write::<T, Error>(work))
            .await
    }
}
