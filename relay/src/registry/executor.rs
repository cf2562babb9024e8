//! Where SQLite's blocking calls run.
//!
//! In production on one thread of their own, fed by a bounded queue, so that
//! an fsync never holds up the runtime. In simulation on the caller, since
//! paused time must not wait for threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::connection::{Database, Location};
use super::error::{Error, ErrorKind, Result};
use super::limits::QUEUE_MAX;

/// Where the registry's blocking calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// On a thread of their own.
    Thread,
    /// On the caller's thread, which blocks: for simulation.
    Inline,
}

/// A running [`Executor`] with its database.
#[derive(Debug)]
pub(super) enum Worker {
    Thread {
        jobs: mpsc::Sender<Job>,
        /// Taken by whoever closes the registry.
        thread: Mutex<Option<JoinHandle<()>>>,
    },
    /// `None` once closed.
    Inline(Mutex<Option<Box<Database>>>),
}

pub(super) enum Job {
    Run(Box<dyn FnOnce(&mut Database) + Send>),
    /// The last job: answers when the file is closed.
    Close(oneshot::Sender<Result<()>>),
}

impl Worker {
    pub(super) async fn start(executor: Executor, location: Location) -> Result<Self> {
        match executor {
            Executor::Inline => {
                let database = Database::open(location)?;
                Ok(Self::Inline(Mutex::new(Some(Box::new(database)))))
            }
            Executor::Thread => {
                let (jobs, queue) = mpsc::channel(QUEUE_MAX);
                let (opened, opening) = oneshot::channel();
                let thread = std::thread::Builder::new()
                    .name("ginnel-registry".into())
                    .spawn(move || open_and_serve(location, opened, queue))
                    .map_err(|error| {
                        Error::new(
                            ErrorKind::Unavailable,
                            format!("registry thread cannot start, reason={error}"),
                        )
                    })?;
                opening.await.map_err(|_| Error::closed())??;
                Ok(Self::Thread {
                    jobs,
                    thread: Mutex::new(Some(thread)),
                })
            }
        }
    }

    /// Runs one job and returns its answer.
    ///
    /// Dropped while it waits for a place in the queue, the job never runs;
    /// dropped later, it runs and its answer is lost.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&mut Database) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Inline(database) => {
                let mut database = lock(database);
                let database = database.as_mut().ok_or_else(Error::closed)?;
                run_judged(database, work)
            }
            Self::Thread { jobs, .. } => {
                let (answer, answered) = oneshot::channel();
                let job = Job::Run(Box::new(move |database| {
                    // The caller may have gone; the work is done all the same.
                    let _ = answer.send(run_judged(database, work));
                }));
                jobs.send(job).await.map_err(|_| Error::closed())?;
                answered.await.map_err(|_| Error::closed())?
            }
        }
    }

    pub(super) async fn close(&self) -> Result<()> {
        match self {
            Self::Inline(database) => {
                let database = lock(database).take().ok_or_else(Error::closed)?;
                database.close()
            }
            Self::Thread { jobs, thread } => {
                let (answer, answered) = oneshot::channel();
                jobs.send(Job::Close(answer))
                    .await
                    .map_err(|_| Error::closed())?;
                let result = answered.await.map_err(|_| Error::closed())?;
                if let Some(thread) = lock(thread).take() {
                    // Its last act was to answer, so this does not wait.
                    thread.join().map_err(|_| Error::closed())?;
                }
                result
            }
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Run(_) => "Run",
            Self::Close(_) => "Close",
        })
    }
}

fn open_and_serve(
    location: Location,
    opened: oneshot::Sender<Result<()>>,
    mut queue: mpsc::Receiver<Job>,
) {
    let mut database = match Database::open(location) {
        Ok(database) => database,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    // If nobody waits any more, the queue is closed too and the loop ends.
    let _ = opened.send(Ok(()));
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Run(work) => work(&mut database),
            Job::Close(answer) => {
                drop(queue);
                let _ = answer.send(database.close());
                return;
            }
        }
    }
    if let Err(error) = database.close() {
        tracing::warn!(error = %error, "registry was not closed cleanly");
    }
}

fn run_judged<T>(
    database: &mut Database,
    work: impl FnOnce(&mut Database) -> Result<T>,
) -> Result<T> {
    let result = work(database);
    if let Err(error) = &result {
        database.judge(error);
    }
    result
}

/// A job that panicked left no transaction open: dropping it rolled it back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
