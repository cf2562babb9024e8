//! The one writer: jobs of many callers in one commit.
//!
//! ```text
//! callers ──▶ queue ──▶ job · job · job ──▶ commit, fsync ──▶ indexes ──▶ answers
//! ```
//!
//! A job that fails takes back only its own rows. Nobody is answered before the
//! commit is on disk and the indexes have it, so what was acknowledged stays
//! and is found by the next search.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ginnel_proto::sync::hlc::{Clock, Hlc};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::connection;
use crate::document::words;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{GROUP_MAX, GROUP_TIME_MAX, GROUP_TIME_MIN, WRITES_MAX};
use crate::options::{Executor, WallClock};

/// What the writer needs.
pub(crate) struct Setup {
    /// The database.
    pub(crate) path: PathBuf,
    /// Whose changes these are.
    pub(crate) origin: Arc<str>,
    /// Milliseconds since 1970.
    pub(crate) now: WallClock,
    /// Told of every commit, before its callers are.
    pub(crate) followers: Arc<dyn Followers>,
}

/// What follows the commits.
pub(crate) trait Followers: Send + Sync {
    /// The changes numbered `from` to `to` have been committed; none if `to` is
    /// less. Must not fail: the rows are there, and what follows can be made
    /// from them again.
    fn committed(&self, connection: &Connection, from: i64, to: i64);
}

/// The writer, on a thread of its own or on the caller's.
#[derive(Debug)]
pub(crate) enum Writer {
    Thread {
        jobs: mpsc::Sender<Job>,
        /// Taken by whoever closes the store.
        thread: Mutex<Option<JoinHandle<()>>>,
    },
    /// `None` once closed.
    Inline(Mutex<Option<Box<Scribe>>>),
}

/// A job's part of a transaction.
pub(crate) struct Turn<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) origin: &'a str,
    time: &'a mut Time,
    now: u64,
    /// Stamps that do not say when they were made, and when that was.
    late: &'a mut Vec<(Hlc, u64)>,
}

/// What stamps are made of, besides the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    clock: Clock,
    /// The relay's wall clock minus this machine's, milliseconds.
    offset_ms: i64,
}

/// A clock that was set back by more than so many milliseconds is noted beside
/// the stamps, which only count up until it is where it was.
const LATE_MS: u64 = 5_000;

impl Turn<'_> {
    /// A stamp for the rows of one change.
    pub(crate) fn stamp(&mut self) -> Hlc {
        let stamp = self.time.clock.tick(self.now);
        if stamp.millis() > self.now.saturating_add(LATE_MS) {
            self.late.push((stamp, self.now));
        }
        stamp
    }

    /// Milliseconds since 1970, by the relay's clock as far as it is known.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The last stamp that was made or seen.
    pub(crate) fn last_stamp(&self) -> Hlc {
        self.time.clock.last()
    }

    /// Sees to it that later stamps are greater than this one of another device.
    pub(crate) fn observe(&mut self, seen: Hlc) -> Result<()> {
        let observed = self.time.clock.observe(seen, self.now);
        observed.map_err(|ahead| Error::new(ErrorKind::Unavailable, ahead.to_string()))
    }

    /// How far the relay's clock is ahead of this machine's, as far as it is
    /// known, milliseconds.
    pub(crate) fn clock_offset(&self) -> i64 {
        self.time.offset_ms
    }

    /// From the next turn on the clock is ahead by so much, and goes on from the
    /// stamp `last`.
    pub(crate) fn set_clock(&mut self, offset_ms: i64, last: Hlc) {
        self.time.offset_ms = offset_ms;
        self.time.clock = Clock::after(last);
    }
}

pub(crate) enum Job {
    Write(Work),
    /// Work that makes transactions of its own.
    Apart(ApartWork),
    /// The last job: answers when the file is closed.
    Close(oneshot::Sender<Result<()>>),
}

/// See [`Job::Apart`].
type ApartWork = Box<dyn FnOnce(Result<&Connection>) -> Answer + Send>;

/// Does a job's work, if there is a transaction for it, and returns who waits
/// for it; `Err` takes its rows back.
type Work = Box<dyn FnOnce(Result<&mut Turn<'_>>) -> std::result::Result<Answer, Answer> + Send>;

/// Tells the caller: what its work gave, or why the commit failed.
type Answer = Box<dyn FnOnce(std::result::Result<(), &Error>) + Send>;

impl Writer {
    pub(crate) fn start(executor: Executor, setup: Setup) -> Result<Self> {
        let scribe = Scribe::open(setup)?;
        match executor {
            Executor::Inline => Ok(Self::Inline(Mutex::new(Some(Box::new(scribe))))),
            Executor::Threads => {
                let (jobs, queue) = mpsc::channel(WRITES_MAX);
                let thread = std::thread::Builder::new().name("ginnel-store".into());
                let thread = thread.spawn(move || scribe.serve(queue));
                let thread = thread.map_err(|error| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("store thread cannot start, reason={error}"),
                    )
                })?;
                let thread = Mutex::new(Some(thread));
                Ok(Self::Thread { jobs, thread })
            }
        }
    }

    /// Runs one job and returns its answer once it is committed.
    ///
    /// Dropped while it waits for a place in the queue, the job never runs;
    /// dropped later, it runs and its answer is lost.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut Turn<'_>) -> Result<T> + Send + 'static,
    {
        let (work, answered) = answering(work);
        match self {
            Self::Inline(scribe) => {
                let mut scribe = lock(scribe);
                let scribe = scribe.as_mut().ok_or_else(Error::closed)?;
                scribe.commit_group(work, || None);
            }
            Self::Thread { jobs, .. } => {
                let sent = jobs.send(Job::Write(work)).await;
                sent.map_err(|_| Error::closed())?;
            }
        }
        answered.await.map_err(|_| Error::closed())?
    }

    /// As [`Writer::run`], from a thread that may block.
    pub(crate) fn run_blocking<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut Turn<'_>) -> Result<T> + Send + 'static,
    {
        let (work, mut answered) = answering(work);
        match self {
            Self::Inline(scribe) => {
                let mut scribe = lock(scribe);
                let scribe = scribe.as_mut().ok_or_else(Error::closed)?;
                scribe.commit_group(work, || None);
                answered.try_recv().map_err(|_| Error::closed())?
            }
            Self::Thread { jobs, .. } => {
                let sent = jobs.blocking_send(Job::Write(work));
                sent.map_err(|_| Error::closed())?;
                answered.blocking_recv().map_err(|_| Error::closed())?
            }
        }
    }

    /// Runs work on the writer's connection between two commits. It makes
    /// transactions of its own, and must not leave one open.
    pub(crate) async fn run_apart<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: ApartWork = Box::new(move |connection| {
            let done = connection.and_then(work);
            Box::new(move |_| {
                let _ = answer.send(done);
            })
        });
        match self {
            Self::Inline(scribe) => {
                let mut scribe = lock(scribe);
                scribe.as_mut().ok_or_else(Error::closed)?.work_apart(work);
            }
            Self::Thread { jobs, .. } => {
                let sent = jobs.send(Job::Apart(work)).await;
                sent.map_err(|_| Error::closed())?;
            }
        }
        answered.await.map_err(|_| Error::closed())?
    }

    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            Self::Inline(scribe) => {
                let scribe = lock(scribe).take().ok_or_else(Error::closed)?;
                scribe.close()
            }
            Self::Thread { jobs, thread } => {
                let (answer, answered) = oneshot::channel();
                let sent = jobs.send(Job::Close(answer)).await;
                sent.map_err(|_| Error::closed())?;
                let closed = answered.await.map_err(|_| Error::closed())?;
                if let Some(thread) = lock(thread).take() {
                    // Its last act was to answer, so this does not wait.
                    thread.join().map_err(|_| Error::closed())?;
                }
                closed
            }
        }
    }
}

fn answering<T, W>(work: W) -> (Work, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    W: FnOnce(&mut Turn<'_>) -> Result<T> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let work: Work = Box::new(move |turn| {
        // The caller may have gone; the work is done all the same.
        match turn.and_then(work) {
            Ok(out) => Ok(Box::new(move |committed| {
                let _ = answer.send(committed.map(|()| out).map_err(Error::again));
            })),
            Err(error) => Err(Box::new(move |_| {
                let _ = answer.send(Err(error));
            })),
        }
    });
    (work, answered)
}

/// The writer's own state.
pub(crate) struct Scribe {
    setup: Setup,
    /// `None` after an error that makes the connection untrustworthy.
    connection: Option<Connection>,
    time: Time,
    /// The number of the last change that was committed.
    last_change: i64,
    /// How long the last commit took, without the work that it committed.
    commit_took: Duration,
}

impl Scribe {
    fn open(setup: Setup) -> Result<Self> {
        let connection = connection::open_writer(&setup.path)?;
        let time = Time {
            clock: Clock::after(last_stamp(&connection)?),
            offset_ms: clock_offset(&connection)?,
        };
        let last_change = last_change(&connection)?;
        Ok(Self {
            setup,
            connection: Some(connection),
            time,
            last_change,
            commit_took: Duration::ZERO,
        })
    }

    fn serve(mut self, mut queue: mpsc::Receiver<Job>) {
        // What came behind a group and cannot be of it.
        let mut behind = None;
        let closing = loop {
            let Some(job) = behind.take().or_else(|| queue.blocking_recv()) else {
                break None;
            };
            match job {
                Job::Close(answer) => break Some(answer),
                Job::Apart(work) => self.work_apart(work),
                Job::Write(work) => self.commit_group(work, || match queue.try_recv().ok()? {
                    Job::Write(work) => Some(work),
                    other @ (Job::Apart(_) | Job::Close(_)) => {
                        behind = Some(other);
                        None
                    }
                }),
            }
        };
        drop(queue);
        let closed = self.close();
        match closing {
            Some(answer) => {
                let _ = answer.send(closed);
            }
            None => {
                if let Err(error) = closed {
                    tracing::warn!(error = %error, "store was not closed cleanly");
                }
            }
        }
    }

    fn work_apart(&mut self, work: ApartWork) {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connection::open_writer(&self.setup.path),
        };
        let connection = match connection {
            Ok(connection) => &*self.connection.insert(connection),
            Err(error) => return work(Err(error))(Ok(())),
        };
        let answer = work(Ok(connection));
        match (last_change(connection), last_stamp(connection)) {
            (Ok(to), Ok(stamp)) => {
                let from = std::mem::replace(&mut self.last_change, to) + 1;
                self.time.clock = Clock::after(stamp.max(self.time.clock.last()));
                self.setup.followers.committed(connection, from, to);
            }
            (Err(error), _) | (_, Err(error)) => self.judge(&error),
        }
        answer(Ok(()));
    }

    /// Commits a job, and those that wait behind it, together.
    fn commit_group(&mut self, first: Work, mut next: impl FnMut() -> Option<Work>) {
        let mut first = Some(first);
        let mut answers = Vec::new();
        let committed = self.try_commit(&mut first, &mut next, &mut answers);
        if let Err(error) = &committed {
            self.judge(error);
        }
        if let (Ok((from, to)), Some(connection)) = (&committed, &self.connection) {
            self.setup.followers.committed(connection, *from, *to);
        }
        for answer in answers {
            answer(committed.as_ref().map(|_| ()));
        }
        let Err(error) = committed else {
            return;
        };
        // No transaction was to be had. Who waited behind the first waited as
        // long as it did: each would else wait for the next one's time-out too.
        let refused = first.is_some();
        let behind = std::iter::from_fn(|| refused.then(&mut next).flatten());
        for work in first.into_iter().chain(behind.take(WRITES_MAX)) {
            if let Err(answer) = work(Err(error.again())) {
                answer(Err(&error));
            }
        }
    }

    /// The first and last change of the commit. Leaves `first` where it is if
    /// there is no transaction to be had.
    fn try_commit(
        &mut self,
        first: &mut Option<Work>,
        mut next: impl FnMut() -> Option<Work>,
        answers: &mut Vec<Answer>,
    ) -> Result<(i64, i64)> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::open_writer(&self.setup.path)?,
        };
        let connection = self.connection.insert(connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let begun = Instant::now();
        let group_time = self.commit_took.clamp(GROUP_TIME_MIN, GROUP_TIME_MAX);
        let mut work = first.take();
        // Taken over once it is on disk.
        let mut time = self.time;
        let mut late = Vec::new();
        while let Some(job) = work {
            // Not once for the group, which others may have begun earlier.
            let now = (self.setup.now)().saturating_add_signed(time.offset_ms);
            let mut turn = Turn {
                connection: &transaction,
                origin: &self.setup.origin,
                time: &mut time,
                now,
                late: &mut late,
            };
            match answers.is_empty() {
                true => alone(&mut turn, job, answers)?,
                false => in_savepoint(&mut turn, job, answers)?,
            }
            let more = answers.len() < GROUP_MAX && begun.elapsed() < group_time;
            work = more.then(&mut next).flatten();
        }
        let done = Instant::now();
        words::index(&transaction)?;
        keep_late(&transaction, &late)?;
        keep(&transaction, "hlc", time.clock.last().to_stored())?;
        keep(&transaction, CLOCK_OFFSET, time.offset_ms)?;
        let last = last_change(&transaction)?;
        transaction.commit()?;
        self.commit_took = done.elapsed();
        self.time = time;
        let from = std::mem::replace(&mut self.last_change, last) + 1;
        Ok((from, last))
    }

    /// Gives the connection up if `error` says that it cannot be trusted.
    fn judge(&mut self, error: &Error) {
        if error.loses_connection() {
            tracing::warn!(error = %error, "store connection given up, will reopen");
            self.connection = None;
        }
    }

    fn close(self) -> Result<()> {
        let Some(connection) = self.connection else {
            return Ok(());
        };
        // What the planner learned of the tables; cheap, and only if needed.
        connection.execute_batch("PRAGMA optimize")?;
        // SQLite does it by itself only if no reader is there any more, and what was
        // deleted must not stay in the log.
        let mut fold = connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
        fold.query_row([], |_| Ok(()))?;
        drop(fold);
        connection.close().map_err(|(_, error)| error.into())
    }
}

/// Runs the first job of a transaction: its rows can be taken back with all of it.
/// For a savepoint SQLite would keep each page as it was before.
fn alone(turn: &mut Turn<'_>, job: Work, answers: &mut Vec<Answer>) -> Result<()> {
    let before = *turn.time;
    match job(Ok(turn)) {
        Ok(answer) => answers.push(answer),
        Err(answer) => {
            answers.push(answer);
            *turn.time = before;
            turn.late.clear();
            // On a full disk SQLite takes everything back by itself.
            if !turn.connection.is_autocommit() {
                turn.connection.execute_batch("ROLLBACK")?;
            }
            turn.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
    }
    Ok(())
}

/// Runs a job so that its rows can be taken back alone.
fn in_savepoint(turn: &mut Turn<'_>, job: Work, answers: &mut Vec<Answer>) -> Result<()> {
    let connection = turn.connection;
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let before = *turn.time;
    match job(Ok(turn)) {
        Ok(answer) => answers.push(answer),
        Err(answer) => {
            answers.push(answer);
            *turn.time = before;
            // On a full disk SQLite takes everything back by itself.
            if connection.is_autocommit() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "another change of the same commit could not be written; hint: try again",
                ));
            }
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}

fn keep_late(connection: &Connection, late: &[(Hlc, u64)]) -> Result<()> {
    let mut keep = connection
        .prepare_cached("INSERT INTO late (hlc, unix_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for (stamp, now) in late {
        let now = i64::try_from(*now).unwrap_or(i64::MAX);
        keep.execute((stamp.to_stored(), now))?;
    }
    Ok(())
}

/// The entry of `meta` that says how far the relay's clock is ahead.
const CLOCK_OFFSET: &str = "clock_offset_ms";

/// Stores the time together with what it stamped.
fn keep(connection: &Connection, key: &str, value: i64) -> Result<()> {
    let mut keep = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
    )?;
    keep.execute((key, value))?;
    Ok(())
}

fn clock_offset(connection: &Connection) -> Result<i64> {
    let mut find = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let found = find.query_row([CLOCK_OFFSET], |row| row.get(0));
    Ok(found.optional()?.unwrap_or_default())
}

fn last_stamp(connection: &Connection) -> Result<Hlc> {
    let found = connection.query_row("SELECT value FROM meta WHERE key = 'hlc'", [], |row| {
        row.get(0)
    });
    let stored = match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => 0,
        found => found?,
    };
    Hlc::from_stored(stored)
        .map_err(|reason| Error::corrupt(format!("clock cannot be read, {reason}")))
}

/// Whether the log has every change from this one on.
pub(crate) fn reaches_back(connection: &Connection, from: i64) -> Result<bool> {
    let mut first = connection.prepare_cached("SELECT min(seq) FROM change")?;
    let first: Option<i64> = first.query_row([], |row| row.get(0))?;
    Ok(first.is_none_or(|first| first <= from))
}

pub(crate) fn last_change(connection: &Connection) -> Result<i64> {
    let mut last = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM change")?;
    Ok(last.query_row([], |row| row.get(0))?)
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write(_) => "Write",
            Self::Apart(_) => "Apart",
            Self::Close(_) => "Close",
        })
    }
}

impl std::fmt::Debug for Scribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scribe")
            .field("path", &self.setup.path)
            .finish_non_exhaustive()
    }
}

/// A job that panicked left no transaction open: dropping it rolled it back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
