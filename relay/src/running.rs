//! How the command line finds the running relay, and that there is only one.
//!
//! The relay holds a lock on `relay.lock` while it runs; the system lets go of
//! it when the process ends, however it ends. `relay.json` says where it
//! listens and counts only while the lock is held, so that the admin token is
//! never sent to another program that took over the port.
//!
//! ```text
//! relay     lock ── remove old file ── listen ── announce … retract ── close ── unlock
//! asking    find ── connect ── find again: the same? ── send the token
//! ```
//!
//! What is announced is listening, so a connection made between two finds of
//! the same relay is a connection to it.

use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use ginnel_certs::error::Error;
use ginnel_certs::private_file;
use serde::{Deserialize, Serialize};

/// What the relay writes about itself in the state folder.
const FILE_NAME: &str = "relay.json";

/// The file whose lock says that a relay runs.
const LOCK_NAME: &str = "relay.lock";

/// Longest [`FILE_NAME`], in bytes.
const FILE_MAX: usize = 4096;

/// How often and how long a starting relay tries to get the lock: those who
/// ask whether a relay runs hold it for a moment.
const TRIES: u32 = 20;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// Where the running relay is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayFile {
    /// Its process.
    pub pid: u32,
    /// What join codes say: `HOST:PORT`.
    pub advertise: String,
    /// Where this machine reaches its admin listener.
    pub admin: SocketAddr,
}

/// Whether a relay runs on a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Running {
    /// None does.
    No,
    /// One does that starts or stops.
    Silent,
    /// One does.
    Listening(RelayFile),
}

/// The right to be the relay of a state folder, until dropped.
#[derive(Debug)]
pub(crate) struct RelayLock {
    state: PathBuf,
    /// Held open, and with it the lock.
    _file: File,
}

impl RelayLock {
    /// Makes this process the one relay of a state folder.
    ///
    /// # Errors
    /// Another relay runs on it, or the system refuses.
    pub(crate) async fn take(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(LOCK_NAME);
        private_file::create_empty(&path)?;
        let file = File::open(&path).context("cannot open relay.lock")?;
        for _ in 0..TRIES {
            if try_take(state, &file)? {
                return Ok(Self {
                    state: state.to_owned(),
                    _file: file,
                });
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
        bail!(
            "a relay runs on this state folder already, or is about to stop, state={}",
            state.display()
        )
    }

    /// Tells the command line where the relay listens. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn announce(&self, relay: &RelayFile) -> anyhow::Result<()> {
        let text = serde_json::to_vec(relay)?;
        Ok(private_file::write(&self.state.join(FILE_NAME), &text)?)
    }

    /// From now on nobody is sent to the addresses, which others may take
    /// over. Without the lock the file means nothing, so failing is harmless.
    pub(crate) fn retract(&self) {
        let _ = std::fs::remove_file(self.state.join(FILE_NAME));
    }
}

impl Drop for RelayLock {
    fn drop(&mut self) {
        self.retract();
    }
}

/// Takes the lock if no relay holds it.
fn try_take(state: &Path, file: &File) -> anyhow::Result<bool> {
    // What a crashed relay left goes before the lock says that one runs. A
    // shared lock proves that none does.
    if !got(file.try_lock_shared())? {
        return Ok(false);
    }
    match std::fs::remove_file(state.join(FILE_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot remove an old relay.json");
        }
        Ok(()) | Err(_) => {}
    }
    // Not every system turns a shared lock into one's own.
    file.unlock().context("cannot unlock relay.lock")?;
    got(file.try_lock())
}

/// Whether a lock was free, and is ours now.
fn got(tried: Result<(), TryLockError>) -> anyhow::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock relay.lock"),
    }
}

/// Looks for the relay of a state folder.
///
/// # Errors
/// The system refuses to tell.
pub(crate) fn find(state: &Path) -> anyhow::Result<Running> {
    let lock = match File::open(state.join(LOCK_NAME)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Running::No),
        Err(error) => return Err(error).context("cannot open relay.lock"),
    };
    // A shared lock, so that those who ask do not see each other.
    if got(lock.try_lock_shared())? {
        return Ok(Running::No);
    }
    match private_file::read(&state.join(FILE_NAME), FILE_MAX) {
        Ok(bytes) => {
            let file = serde_json::from_slice(&bytes).context("relay.json cannot be read")?;
            Ok(Running::Listening(file))
        }
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Running::Silent)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_relay_is_found_while_it_holds_the_lock() {
        let dir = tempfile::tempdir().expect("folder");
        let found = || find(dir.path()).expect("told");
        assert_eq!(found(), Running::No);
        let lock = RelayLock::take(dir.path()).await.expect("free");
        assert_eq!(found(), Running::Silent);
        lock.announce(&file()).expect("written");
        assert_eq!(found(), Running::Listening(file()));
        lock.retract();
        assert_eq!(found(), Running::Silent);
        lock.announce(&file()).expect("written");
        drop(lock);
        assert_eq!(found(), Running::No);
        assert!(!dir.path().join(FILE_NAME).exists());
    }

    #[tokio::test]
    async fn a_file_left_by_a_crash_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let left = serde_json::to_vec(&file()).expect("JSON");
        private_file::write(&dir.path().join(FILE_NAME), &left).expect("written");
        private_file::create_empty(&dir.path().join(LOCK_NAME)).expect("made");
        assert_eq!(find(dir.path()).expect("told"), Running::No);
        // Nor is it taken for what the next relay says.
        let _lock = RelayLock::take(dir.path()).await.expect("free");
        assert_eq!(find(dir.path()).expect("told"), Running::Silent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_relay_is_refused_and_leaves_the_first_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let first = RelayLock::take(dir.path()).await.expect("free");
        first.announce(&file()).expect("written");
        let error = RelayLock::take(dir.path()).await.expect_err("taken");
        assert!(
            error.to_string().contains("runs on this state folder"),
            "{error:#}"
        );
        let found = find(dir.path()).expect("told");
        assert_eq!(found, Running::Listening(file()));
        drop(first);
        RelayLock::take(dir.path()).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn asking_does_not_stop_a_relay_from_starting() {
        let dir = tempfile::tempdir().expect("folder");
        private_file::create_empty(&dir.path().join(LOCK_NAME)).expect("made");
        let asking = File::open(dir.path().join(LOCK_NAME)).expect("opened");
        asking.try_lock_shared().expect("free");
        let release = async {
            tokio::time::sleep(2 * TRY_AGAIN_AFTER).await;
            drop(asking);
        };
        let (taken, ()) = tokio::join!(RelayLock::take(dir.path()), release);
        taken.expect("free in time");
    }

    fn file() -> RelayFile {
        RelayFile {
            pid: 7,
            advertise: "127.0.0.2:17443".to_owned(),
            admin: "127.0.0.2:7490".parse().expect("an address"),
        }
    }
}
