//! Artifacts on their way to or from the relay: what to do, how far it is, and
//! what to go on with after a break.
//!
//! ```text
//! queued ─▶ running ─▶ done
//!    ▲         │
//!    └─ paused, failed, queued again after a crash
//! ```
//!
//! What was noted as arrived is never taken back: bytes sent only grow, parts
//! and chunks only become more while they are those of one upload or version,
//! and what is done stays done. The database itself refuses anything else.

mod progress;
mod row;

pub use progress::Piece;

use std::fmt;

use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::push::Upload;
use rusqlite::{Connection, OptionalExtension};

use crate::Store;
use crate::artifact::{LocalFile, Remote, catalog};
use crate::blob::path::BlobPath;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{ERROR_MAX, TRANSFERS_KEPT};
use crate::write::Turn;

/// Which transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(i64);

impl TransferId {
    /// A number that was shown to someone.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number, never used again.
    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the relay.
    Push,
    /// To this device.
    Pull,
}

/// How a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// It is being worked on. After a crash, nobody works on it: see
    /// [`Store::requeue_transfers`].
    Running,
    /// Someone stopped it, and has to let it go on.
    Paused,
    /// It cannot go on by itself.
    Failed,
    /// It has arrived.
    Done,
}

/// What is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransfer {
    /// Which way.
    pub direction: Direction,
    /// The artifact.
    pub artifact: Artifact,
    /// The hash of what is moved.
    pub blob: Hash,
    /// Its size in bytes, one or more.
    pub size: u64,
    /// Where it is cut, if that is known.
    pub index: Option<ChunkIndex>,
}

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Which one.
    pub id: TransferId,
    /// Which way.
    pub direction: Direction,
    /// The artifact.
    pub artifact: Artifact,
    /// Where the artifact's file is or will be.
    pub path: BlobPath,
    /// The hash of what is moved.
    pub blob: Hash,
    /// Its size in bytes.
    pub size: u64,
    /// How it is doing.
    pub state: State,
    /// How far it is.
    pub progress: Progress,
    /// Of a push: the bucket's upload to go on with.
    pub upload: Option<Upload>,
    /// The bucket's name for the bytes that a push builds on or a pull
    /// fetches.
    pub etag: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it stopped the last time.
    pub last_error: Option<String>,
    /// When it was asked for, milliseconds since 1970.
    pub created_ms: u64,
    /// When something last became of it, milliseconds since 1970.
    pub updated_ms: u64,
}

/// How far a transfer is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Have to travel, those that did among them.
    pub needed: u64,
    /// Were at the other end already.
    pub reused: u64,
    /// Have arrived. Never becomes less.
    pub sent: u64,
}

/// What becomes of a transfer that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Someone works on it from now on; counts as an attempt. It must be queued.
    Start,
    /// Who worked on it stops, because of this, and it waits for its turn.
    /// Nothing, if it was paused meanwhile.
    BreakOff(String),
    /// It goes on waiting, because of this. Nothing, if it does not wait.
    Wait(String),
    /// It waits for its turn, because of this if it was begun before.
    Queue(Option<String>),
    /// It waits until it is let go on.
    Pause,
    /// Who worked on it cannot go on by itself, because of this. Nothing, if it
    /// was paused meanwhile.
    Fail(String),
}

impl Store {
    /// Notes what is to be moved. A transfer of the same blob, name and
    /// direction that is not done is queued and goes on where it was; one of
    /// another blob is forgotten for this one.
    ///
    /// # Errors
    /// `Invalid`: there are no bytes, or the artifact has no place.
    pub async fn begin_transfer(&self, new: NewTransfer) -> Result<Transfer> {
        let begin = move |turn: &mut Turn<'_>| begin(turn, &new);
        self.inner.writer.run(begin).await
    }

    /// All transfers: those that are not done in the order in which they
    /// came, then the last ones that are, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transfers(&self) -> Result<Vec<Transfer>> {
        self.inner.readers.run(list).await
    }

    /// A transfer, if it is not forgotten.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transfer(&self, id: TransferId) -> Result<Option<Transfer>> {
        let find = move |connection: &_| find(connection, id);
        self.inner.readers.run(find).await
    }

    /// Has something become of a transfer.
    ///
    /// # Errors
    /// `Missing` if there is none, `Invalid` if it is done.
    pub async fn step_transfer(&self, id: TransferId, step: Step) -> Result<Transfer> {
        let step = move |turn: &mut Turn<'_>| step_to(turn, id, &step);
        self.inner.writer.run(step).await
    }

    /// Queues the transfers that were being worked on: for the start of the
    /// program that works on them. Gives how many those were.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn requeue_transfers(&self) -> Result<usize> {
        let requeue = |turn: &mut Turn<'_>| {
            let mut requeue = turn.connection.prepare_cached(
                "UPDATE transfer SET state = 'queued', updated_ms = ?1 WHERE state = 'running'",
            )?;
            Ok(requeue.execute([turn.now()])?)
        };
        self.inner.writer.run(requeue).await
    }

    /// A push has arrived: notes what is published, in one step with the end
    /// of the transfer.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer; as
    /// [`Store::keep_artifact_remote`].
    pub async fn finish_push(&self, id: TransferId, remote: Remote) -> Result<Transfer> {
        let finish = move |turn: &mut Turn<'_>| {
            let transfer = unfinished(turn, id, Direction::Push, remote.blob)?;
            catalog::keep_remote(turn, &transfer.artifact, &remote)?;
            finish(turn, id)
        };
        self.inner.writer.run(finish).await
    }

    /// A pull has arrived and its file is in its place: notes both, in one
    /// step with the end of the transfer.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer, `Internal` if the file is
    /// another blob; as [`Store::keep_artifact_file`].
    pub async fn finish_pull(
        &self,
        id: TransferId,
        file: LocalFile,
        remote: Remote,
    ) -> Result<Transfer> {
        let finish = move |turn: &mut Turn<'_>| {
            let transfer = unfinished(turn, id, Direction::Pull, remote.blob)?;
            if file.blob != Some(transfer.blob) {
                return Err(other_blob(id, transfer.blob));
            }
            catalog::keep_file(turn, &transfer.artifact, &file, None)?;
            catalog::keep_remote(turn, &transfer.artifact, &remote)?;
            finish(turn, id)
        };
        self.inner.writer.run(finish).await
    }

    /// Forgets a transfer, and what it could have gone on with. Tells whether
    /// it was there.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_transfer(&self, id: TransferId) -> Result<bool> {
        let forget = move |turn: &mut Turn<'_>| {
            let was_there = delete(turn, id)?;
            catalog::drop_indexes(turn)?;
            Ok(was_there)
        };
        self.inner.writer.run(forget).await
    }
}

fn begin(turn: &mut Turn<'_>, new: &NewTransfer) -> Result<Transfer> {
    if new.size == 0 {
        return Err(Error::invalid(format!(
            "file is empty, name={}",
            new.artifact
        )));
    }
    let path = BlobPath::of(&new.artifact)?;
    let mut waiting = turn.connection.prepare_cached(
        "SELECT id, blob FROM transfer
         WHERE artifact = ?1 AND direction = ?2 AND state <> 'done'",
    )?;
    let key = (new.artifact.to_string(), new.direction.as_str());
    let waiting: Option<(i64, [u8; 32])> = waiting
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let id = match waiting {
        Some((id, blob)) if blob == *new.blob.as_bytes() => {
            let id = TransferId(id);
            set_state(turn, id, State::Queued, None)?;
            id
        }
        other => {
            if let Some((id, _)) = other {
                delete(turn, TransferId(id))?;
            }
            insert(turn, new, &path)?
        }
    };
    catalog::keep_index(turn, new.blob, new.index.as_ref())?;
    catalog::drop_indexes(turn)?;
    expect(turn, id)
}

fn insert(turn: &Turn<'_>, new: &NewTransfer, path: &BlobPath) -> Result<TransferId> {
    let mut insert = turn.connection.prepare_cached(
        "INSERT INTO transfer (direction, artifact, path, blob, size, created_ms, updated_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) RETURNING id",
    )?;
    let row = (
        new.direction.as_str(),
        new.artifact.to_string(),
        path.as_str(),
        new.blob.as_bytes(),
        new.size,
        turn.now(),
    );
    Ok(TransferId(insert.query_row(row, |row| row.get(0))?))
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<Transfer>> {
    let mut transfers = Vec::new();
    for which in [
        "WHERE state <> 'done' ORDER BY id",
        "WHERE state = 'done' ORDER BY updated_ms DESC, id DESC",
    ] {
        let mut find = connection.prepare_cached(&row::select(which))?;
        let rows = find.query_map([], row::Row::read)?;
        for row in rows {
            transfers.push(row?.transfer()?);
        }
    }
    Ok(transfers)
}

fn find(connection: &Connection, id: TransferId) -> Result<Option<Transfer>> {
    let mut find = connection.prepare_cached(&row::select("WHERE id = ?1"))?;
    let found = find.query_row([id.0], row::Row::read).optional()?;
    found.map(row::Row::transfer).transpose()
}

/// The transfer, which has to be there.
fn expect(turn: &Turn<'_>, id: TransferId) -> Result<Transfer> {
    find(turn.connection, id)?.ok_or_else(|| {
        let message = format!("no such transfer, transfer={id}");
        Error::new(ErrorKind::Missing, message)
    })
}

/// The transfer, which has to be there and not be done.
fn expect_unfinished(turn: &Turn<'_>, id: TransferId) -> Result<Transfer> {
    let transfer = expect(turn, id)?;
    match transfer.state {
        State::Done => Err(Error::invalid(format!("transfer is done, transfer={id}"))),
        State::Queued | State::Running | State::Paused | State::Failed => Ok(transfer),
    }
}

/// The same, of a direction and blob.
fn unfinished(
    turn: &Turn<'_>,
    id: TransferId,
    direction: Direction,
    blob: Hash,
) -> Result<Transfer> {
    let transfer = expect_unfinished(turn, id)?;
    match transfer.direction == direction && transfer.blob == blob {
        true => Ok(transfer),
        false => Err(other_blob(id, transfer.blob)),
    }
}

fn other_blob(id: TransferId, blob: Hash) -> Error {
    let message = format!("transfer is of another blob or direction, transfer={id}, blob={blob}");
    Error::new(ErrorKind::Internal, message)
}

fn step_to(turn: &mut Turn<'_>, id: TransferId, step: &Step) -> Result<Transfer> {
    let transfer = expect_unfinished(turn, id)?;
    match step {
        // Somebody may have paused it meanwhile, and then it stays so.
        Step::Start if transfer.state != State::Queued => {
            let message = format!("transfer is not queued, transfer={id}");
            return Err(Error::invalid(message));
        }
        Step::BreakOff(_) | Step::Fail(_) if transfer.state != State::Running => {}
        Step::Wait(_) if transfer.state != State::Queued => {}
        Step::Start => {
            set_state(turn, id, State::Running, None)?;
            let mut count = turn
                .connection
                .prepare_cached("UPDATE transfer SET attempts = attempts + 1 WHERE id = ?1")?;
            count.execute([id.0])?;
        }
        Step::Queue(reason) => set_state(turn, id, State::Queued, reason.as_deref())?,
        Step::BreakOff(reason) | Step::Wait(reason) => {
            set_state(turn, id, State::Queued, Some(reason))?
        }
        // Why it stopped before that is still worth knowing.
        Step::Pause => set_state(turn, id, State::Paused, transfer.last_error.as_deref())?,
        Step::Fail(reason) => set_state(turn, id, State::Failed, Some(reason))?,
    }
    expect(turn, id)
}

fn set_state(turn: &Turn<'_>, id: TransferId, state: State, error: Option<&str>) -> Result<()> {
    let mut set = turn.connection.prepare_cached(
        "UPDATE transfer SET state = ?2, last_error = ?3, updated_ms = ?4 WHERE id = ?1",
    )?;
    let error = error.map(|error| {
        let end = error.floor_char_boundary(ERROR_MAX);
        error.get(..end).unwrap_or_default()
    });
    set.execute((id.0, state.as_str(), error, turn.now()))?;
    Ok(())
}

/// Ends a transfer. What it would have gone on with goes, and so do old ones.
fn finish(turn: &Turn<'_>, id: TransferId) -> Result<Transfer> {
    set_state(turn, id, State::Done, None)?;
    let mut clear = turn.connection.prepare_cached(
        "UPDATE transfer SET upload = NULL, fence = NULL, part_size = NULL, chunks = NULL
         WHERE id = ?1",
    )?;
    clear.execute([id.0])?;
    let mut clear = turn
        .connection
        .prepare_cached("DELETE FROM transfer_part WHERE transfer = ?1")?;
    clear.execute([id.0])?;
    let mut old = turn.connection.prepare_cached(
        "DELETE FROM transfer WHERE state = 'done' AND id NOT IN (
             SELECT id FROM transfer WHERE state = 'done'
             ORDER BY updated_ms DESC, id DESC LIMIT ?1)",
    )?;
    old.execute([TRANSFERS_KEPT])?;
    catalog::drop_indexes(turn)?;
    expect(turn, id)
}

fn delete(turn: &Turn<'_>, id: TransferId) -> Result<bool> {
    let mut delete = turn
        .connection
        .prepare_cached("DELETE FROM transfer WHERE id = ?1")?;
    Ok(delete.execute([id.0])? > 0)
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ }) => {
        impl $type {
            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn of_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

names!(Direction {
    Push = "push",
    Pull = "pull"
});
names!(State {
    Queued = "queued",
    Running = "running",
    Paused = "paused",
    Failed = "failed",
    Done = "done"
});
