//! Where the running daemon says that it is, for its command line.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use ginnel_daemon::running::{self, LockError, Names, RunLock, Running};
use serde::{Deserialize, Serialize};

const NAMES: Names = Names {
    lock: "daemon.lock",
    note: "daemon.json",
};

/// Where the running daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonNote {
    /// Its process.
    pub pid: u32,
    /// Where its local API listens.
    pub local: SocketAddr,
}

/// Makes this process the one daemon of a state folder, which is made if there
/// is none.
///
/// # Errors
/// Another daemon runs, or the system refuses.
pub async fn lock(state: &Path) -> anyhow::Result<RunLock> {
    match RunLock::take(state, NAMES).await {
        Ok(lock) => Ok(lock),
        Err(LockError::Running) => bail!(
            "ginnel is running already, state={}; hint: ginnel down",
            state.display()
        ),
        Err(error) => Err(error).with_context(|| format!("state={}", state.display())),
    }
}

/// Looks for the daemon of a state folder.
///
/// # Errors
/// The system refuses to tell.
pub fn find(state: &Path) -> io::Result<Running<DaemonNote>> {
    running::find(state, NAMES)
}

/// Whether a daemon runs on a state folder.
///
/// # Errors
/// The system refuses to tell.
pub fn is_running(state: &Path) -> io::Result<bool> {
    running::is_running(state, NAMES)
}
