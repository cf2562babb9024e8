//! How the command line finds the running daemon, and that there is only one.
//!
//! The daemon holds a lock on `daemon.lock` while it runs; the system lets go
//! of it when the process ends, however it ends. `daemon.json` says where it
//! listens and counts only while the lock is held, so that a token is never
//! sent to another program that took over the port.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ginnel_certs::error::Error;
use ginnel_certs::private_file;
use serde::{Deserialize, Serialize};

/// What the daemon writes about itself in the state folder.
pub const FILE_NAME: &str = "daemon.json";

/// The file whose lock says that a daemon runs.
pub const LOCK_NAME: &str = "daemon.lock";

/// Longest [`FILE_NAME`], in bytes.
const FILE_MAX: usize = 4096;

/// How often and how long a starting daemon tries to get the lock: those who
/// ask whether a daemon runs hold it for a moment.
const TRIES: u32 = 20;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// Where the running daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFile {
    /// Its process.
    pub pid: u32,
    /// Where its local API listens.
    pub local: SocketAddr,
}

/// Whether a daemon runs on a state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// None does.
    Stopped,
    /// One does, and does not listen yet.
    Starting,
    /// One does.
    Listening(DaemonFile),
}

/// The right to be the daemon of a state folder, until dropped.
#[derive(Debug)]
pub struct DaemonLock {
    state: PathBuf,
    /// Held open, and with it the lock.
    _file: File,
}

/// Why this process cannot be the daemon of a state folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process is.
    #[error("ginnel is running already, state={}; hint: ginnel down", .0.display())]
    Running(PathBuf),
    /// The system refuses.
    #[error("cannot lock the state folder, state={}", .0.display())]
    Refused(PathBuf, #[source] io::Error),
    /// The daemon's place cannot be told.
    #[error(transparent)]
    Write(#[from] Error),
}

impl DaemonLock {
    /// Makes this process the one daemon of a state folder, which is made if
    /// there is none.
    ///
    /// # Errors
    /// Another daemon runs, or the system refuses.
    pub async fn take(state: &Path) -> Result<Self, LockError> {
        private_file::create_dir_private(state)?;
        let refused = |error| LockError::Refused(state.to_owned(), error);
        let file = open_lock(state).map_err(refused)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        state: state.to_owned(),
                        _file: file,
                    });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
        Err(LockError::Running(state.to_owned()))
    }

    /// Tells the command line where the daemon listens. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, daemon: &DaemonFile) -> Result<(), LockError> {
        let text = serde_json::to_vec(daemon).unwrap_or_default();
        private_file::write(&self.state.join(FILE_NAME), &text)?;
        Ok(())
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        // Without the lock the file means nothing, so failing is harmless.
        let _ = std::fs::remove_file(self.state.join(FILE_NAME));
    }
}

impl Daemon {
    /// Looks for the daemon of a state folder.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn find(state: &Path) -> io::Result<Self> {
        if !is_running(state)? {
            return Ok(Self::Stopped);
        }
        let bytes = match private_file::read(&state.join(FILE_NAME), FILE_MAX) {
            Ok(bytes) => bytes,
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::Starting);
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let file = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        Ok(Self::Listening(file))
    }
}

/// Whether a daemon runs on a state folder.
///
/// # Errors
/// The system refuses to tell.
pub fn is_running(state: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(state.join(LOCK_NAME))
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A shared lock, so that those who ask do not see each other.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open_lock(state: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(state.join(LOCK_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_is_found_while_it_holds_the_lock() {
        let dir = tempfile::tempdir().expect("folder");
        let state = dir.path().join("a/b");
        assert_eq!(Daemon::find(&state).expect("told"), Daemon::Stopped);

        let lock = DaemonLock::take(&state).await.expect("free");
        assert!(is_running(&state).expect("told"));
        assert_eq!(Daemon::find(&state).expect("told"), Daemon::Starting);
        let daemon = DaemonFile {
            pid: 7,
            local: "127.0.0.1:7411".parse().expect("an address"),
        };
        lock.announce(&daemon).expect("written");
        let found = Daemon::find(&state).expect("told");
        assert_eq!(found, Daemon::Listening(daemon));

        drop(lock);
        assert_eq!(Daemon::find(&state).expect("told"), Daemon::Stopped);
    }

    #[tokio::test]
    async fn a_file_left_by_a_crash_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let left = br#"{"pid":7,"local":"127.0.0.1:7411"}"#;
        private_file::write(&dir.path().join(FILE_NAME), left).expect("written");
        private_file::write(&dir.path().join(LOCK_NAME), b"").expect("written");
        assert_eq!(Daemon::find(dir.path()).expect("told"), Daemon::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_daemon_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("folder");
        let first = DaemonLock::take(dir.path()).await.expect("free");
        let error = DaemonLock::take(dir.path()).await.expect_err("taken");
        assert!(matches!(error, LockError::Running(_)), "{error}");
        drop(first);
        DaemonLock::take(dir.path()).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn asking_does_not_stop_a_daemon_from_starting() {
        let dir = tempfile::tempdir().expect("folder");
        let asking = open_lock(dir.path()).expect("opened");
        asking.try_lock_shared().expect("free");
        let release = async {
            tokio::time::sleep(2 * TRY_AGAIN_AFTER).await;
            drop(asking);
        };
        let (taken, ()) = tokio::join!(DaemonLock::take(dir.path()), release);
        taken.expect("free in time");
    }
}
