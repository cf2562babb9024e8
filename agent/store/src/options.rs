//! How a store is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::vector::engine::Engine;

/// Milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What [`Store::open`](crate::Store::open) needs to know.
#[derive(Clone)]
pub struct Options {
    /// The folder of the database and its indexes; made if there is none.
    pub folder: PathBuf,
    /// Which vector engine to use.
    pub engine: Engine,
    /// Where the extension `sqlite-vss` is, if it is the engine.
    pub vss_folder: Option<PathBuf>,
    /// The name of this device, for the rows it changes.
    pub origin: String,
    /// Where SQLite's blocking calls run.
    pub executor: Executor,
    /// The wall clock.
    pub clock: WallClock,
}

impl Options {
    /// The default engine in this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            engine: Engine::default(),
            vss_folder: None,
            origin: String::new(),
            executor: Executor::Threads,
            clock: Arc::new(system_clock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .field("engine", &self.engine)
            .field("vss_folder", &self.vss_folder)
            .field("origin", &self.origin)
            .field("executor", &self.executor)
            .finish_non_exhaustive()
    }
}

/// Where SQLite's blocking calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// Writes on a thread of their own, reads on tokio's blocking threads.
    Threads,
    /// On the caller's thread, which blocks: for simulation, whose paused time
    /// must not wait for threads.
    Inline,
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map(|since| since.as_millis()).unwrap_or_default();
    u64::try_from(millis).unwrap_or(u64::MAX)
}
