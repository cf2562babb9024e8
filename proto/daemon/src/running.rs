//! How a command line finds its running daemon, and that there is only one.
//!
//! The daemon holds a lock in its state folder while it runs; the system lets
//! go of it when the process ends, however it ends. A note beside it says where
//! it listens and counts only while the lock is held, so that a token is never
//! sent to another program that took over the port.
//!
//! ```text
//! daemon    lock ── remove old note ── listen ── announce … retract ── close ── unlock
//! asking    find ── connect ── find again: the same? ── send the token
//! ```
//!
//! What is announced is listening, so a connection made between two finds of
//! the same daemon is a connection to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ginnel_certs::error::Error;
use ginnel_certs::private_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest note, in bytes.
const NOTE_MAX: usize = 4096;

/// How often and how long a starting daemon tries to get the lock: those who
/// ask whether a daemon runs hold it for a moment.
const TRIES: u32 = 20;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// What a daemon's files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The file whose lock says that a daemon runs.
    pub lock: &'static str,
    /// The file in which it says where.
    pub note: &'static str,
}

/// Whether a daemon runs on a state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running<T> {
    /// None does.
    No,
    /// One does that starts or stops, and does not say where.
    Silent,
    /// One does, and says so.
    Listening(T),
}

/// The right to be the daemon of a state folder, until dropped.
#[derive(Debug)]
pub struct RunLock {
    note: PathBuf,
    /// Held open, and with it the lock.
    _file: File,
}

/// Why this process cannot be the daemon of a state folder.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process is, or was a moment ago.
    #[error("another daemon runs on the state folder")]
    Running,
    /// The system refuses.
    #[error("cannot lock the state folder")]
    Refused(#[from] io::Error),
    /// The state folder or the lock cannot be made.
    #[error(transparent)]
    File(#[from] Error),
}

impl RunLock {
    /// Makes this process the one daemon of a state folder, which is made if
    /// there is none.
    ///
    /// # Errors
    /// See [`LockError`].
    pub async fn take(state: &Path, names: Names) -> Result<Self, LockError> {
        private_file::create_dir_private(state)?;
        let file = make_lock(&state.join(names.lock))?;
        let note = state.join(names.note);
        for _ in 0..TRIES {
            if try_take(&file, &note)? {
                return Ok(Self { note, _file: file });
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
        Err(LockError::Running)
    }

    /// Tells command lines where the daemon listens. Blocks on the disk.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn announce(&self, note: &impl Serialize) -> Result<(), LockError> {
        let text = serde_json::to_vec(note).map_err(io::Error::other)?;
        Ok(private_file::write(&self.note, &text)?)
    }

    /// Retracts, and keeps the lock until the process has ended, for a daemon
    /// of which something still runs: a thread that cannot be told to stop may
    /// hold files that the next one needs.
    pub fn keep_until_exit(self) {
        self.retract();
        std::mem::forget(self);
    }

    /// From now on nobody is sent to the addresses, which others may take
    /// over. Without the lock the note means nothing, so failing is harmless.
    pub fn retract(&self) {
        let _ = std::fs::remove_file(&self.note);
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        self.retract();
    }
}

fn make_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Takes the lock if no daemon holds it.
fn try_take(file: &File, note: &Path) -> io::Result<bool> {
    // What a crashed daemon left goes before the lock says that one runs. A
    // shared lock proves that none does.
    if !got(file.try_lock_shared())? {
        return Ok(false);
    }
    match std::fs::remove_file(note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Not every system turns a shared lock into one's own.
    file.unlock()?;
    got(file.try_lock())
}

/// Whether a lock was free, and is ours now.
fn got(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Looks for the daemon of a state folder.
///
/// # Errors
/// The system refuses to tell.
pub fn find<T: DeserializeOwned>(state: &Path, names: Names) -> io::Result<Running<T>> {
    if !is_running(state, names)? {
        return Ok(Running::No);
    }
    match private_file::read(&state.join(names.note), NOTE_MAX) {
        Ok(bytes) => Ok(Running::Listening(serde_json::from_slice(&bytes)?)),
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Running::Silent)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether a daemon runs on a state folder.
///
/// # Errors
/// The system refuses to tell.
pub fn is_running(state: &Path, names: Names) -> io::Result<bool> {
    let lock = match File::open(state.join(names.lock)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A shared lock, so that those who ask do not see each other.
    Ok(!got(lock.try_lock_shared())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        lock: "daemon.lock",
        note: "daemon.json",
    };

    fn found(state: &Path) -> Running<String> {
        find(state, NAMES).expect("told")
    }

    fn note() -> String {
        "127.0.0.1:7411".to_owned()
    }

    #[tokio::test]
    async fn a_daemon_is_found_while_it_holds_the_lock() {
        let dir = tempfile::tempdir().expect("folder");
        let state = dir.path().join("a/b");
        assert_eq!(found(&state), Running::No);
        let lock = RunLock::take(&state, NAMES).await.expect("free");
        assert!(is_running(&state, NAMES).expect("told"));
        assert_eq!(found(&state), Running::Silent);
        lock.announce(&note()).expect("written");
        assert_eq!(found(&state), Running::Listening(note()));
        lock.retract();
        assert_eq!(found(&state), Running::Silent);
        lock.announce(&note()).expect("written");
        drop(lock);
        assert_eq!(found(&state), Running::No);
        assert!(!state.join(NAMES.note).exists());
    }

    #[tokio::test]
    async fn a_daemon_that_ends_is_there_until_its_process_is_not() {
        let dir = tempfile::tempdir().expect("folder");
        let lock = RunLock::take(dir.path(), NAMES).await.expect("free");
        lock.announce(&note()).expect("written");
        lock.keep_until_exit();
        assert_eq!(found(dir.path()), Running::Silent);
    }

    #[tokio::test]
    async fn a_note_left_by_a_crash_counts_for_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let left = serde_json::to_vec(&note()).expect("JSON");
        private_file::write(&dir.path().join(NAMES.note), &left).expect("written");
        make_lock(&dir.path().join(NAMES.lock)).expect("made");
        assert_eq!(found(dir.path()), Running::No);
        // Nor is it taken for what the next daemon says.
        let _lock = RunLock::take(dir.path(), NAMES).await.expect("free");
        assert_eq!(found(dir.path()), Running::Silent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_daemon_is_refused_and_leaves_the_first_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let first = RunLock::take(dir.path(), NAMES).await.expect("free");
        first.announce(&note()).expect("written");
        let error = RunLock::take(dir.path(), NAMES).await.expect_err("taken");
        assert!(matches!(error, LockError::Running), "{error}");
        assert_eq!(found(dir.path()), Running::Listening(note()));
        drop(first);
        RunLock::take(dir.path(), NAMES).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn asking_does_not_stop_a_daemon_from_starting() {
        let dir = tempfile::tempdir().expect("folder");
        let asking = make_lock(&dir.path().join(NAMES.lock)).expect("made");
        asking.try_lock_shared().expect("free");
        let release = async {
            tokio::time::sleep(2 * TRY_AGAIN_AFTER).await;
            drop(asking);
        };
        let (taken, ()) = tokio::join!(RunLock::take(dir.path(), NAMES), release);
        taken.expect("free in time");
    }
}
