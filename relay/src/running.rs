//! Where the running relay says that it is, for its command line.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use ginnel_daemon::running::{LockError, Names, RunLock, Running};
use serde::{Deserialize, Serialize};

const NAMES: Names = Names {
    lock: "relay.lock",
    note: "relay.json",
};

/// Where the running relay is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayNote {
    /// Its process.
    pub pid: u32,
    /// What join codes say: `HOST:PORT`.
    pub advertise: String,
    /// Where this machine reaches its admin listener.
    pub admin: SocketAddr,
}

/// Makes this process the one relay of a state folder.
///
/// # Errors
/// Another relay runs on it, or the system refuses.
pub(crate) async fn lock(state: &Path) -> anyhow::Result<RunLock> {
    match RunLock::take(state, NAMES).await {
        Ok(lock) => Ok(lock),
        Err(LockError::Running) => bail!(
            "a relay runs on this state folder already, or is about to stop, state={}",
            state.display()
        ),
        Err(error) => Err(error.into()),
    }
}

/// Looks for the relay of a state folder.
///
/// # Errors
/// The system refuses to tell.
pub(crate) fn find(state: &Path) -> anyhow::Result<Running<RelayNote>> {
    let found = ginnel_daemon::running::find(state, NAMES);
    found.with_context(|| format!("cannot find the running relay, state={}", state.display()))
}
