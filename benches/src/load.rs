//! Load on a public side: closed loops of small requests, and bulk.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http1::Connection;

/// The longest answer time that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// A transfer or warm-up that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// How closed loops of small requests went.
#[derive(Debug)]
pub struct Small {
    /// Answer times, in nanoseconds.
    pub times: Histogram<u64>,
    /// Requests that failed; each costs its connection.
    pub failed: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Small {
    /// Answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// An answer time in microseconds.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// `concurrency` connections, each with one request at a time, for `span`.
///
/// # Errors
/// A connection's first request fails.
pub async fn small(
    address: SocketAddr,
    concurrency: usize,
    span: Duration,
) -> anyhow::Result<Small> {
    let times = Histogram::new_with_bounds(1, LONGEST, 3)?;
    let times = Arc::new(Mutex::new((times, 0)));
    let ready = Arc::new(Barrier::new(concurrency + 1));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (times, ready) = (Arc::clone(&times), Arc::clone(&ready));
        workers.spawn(async move {
            let mut connection = Connection::open(address).await?;
            connection.small().await?;
            ready.wait().await;
            worker(connection, address, span, &times).await
        });
    }
    let started = async {
        tokio::select! {
            _ = ready.wait() => Ok(()),
            // None ends before all are ready, unless it fails.
            Some(ended) = workers.join_next() => ended?.and(Err(anyhow!("ended early"))),
        }
    };
    timeout(PATIENCE, started)
        .await
        .context("connections do not answer")?
        .context("the first request failed")?;
    let began = Instant::now();
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let elapsed = began.elapsed();
    let times = Arc::into_inner(times).context("a worker lives on")?;
    let (times, failed) = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Small {
        times,
        failed,
        elapsed,
    })
}

async fn worker(
    mut connection: Connection,
    address: SocketAddr,
    span: Duration,
    times: &Mutex<(Histogram<u64>, u64)>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut asked = began;
    while asked - began < span {
        let answered = connection.small().await;
        let now = Instant::now();
        let took = u64::try_from((now - asked).as_nanos()).unwrap_or(LONGEST);
        {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            match &answered {
                Ok(()) => times.0.saturating_record(took),
                Err(_) => times.1 += 1,
            }
        }
        if answered.is_err() {
            connection = Connection::open(address).await?;
        }
        asked = now;
    }
    Ok(())
}

/// Which way a body goes, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the caller.
    Down,
    /// From the caller.
    Up,
}

/// Moves `length` bytes on a fresh connection. Returns the time it took, with
/// the request but without connecting.
///
/// # Errors
/// It failed or takes for ever.
pub async fn bulk(address: SocketAddr, way: Way, length: u64) -> anyhow::Result<Duration> {
    let mut connection = Connection::open(address).await?;
    connection.small().await?;
    let began = Instant::now();
    let moved = async {
        match way {
            Way::Down => connection.download(length).await,
            Way::Up => connection.upload(length).await,
        }
    };
    timeout(PATIENCE, moved)
        .await
        .context("transfer takes too long")??;
    Ok(began.elapsed())
}

/// Downloads in a thread of its own, over and over, until dropped.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<u64>>>,
    began: Instant,
}

impl Background {
    /// Begins to download.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || download(address, &stopped));
        Self {
            stop,
            thread: Some(thread),
            began: Instant::now(),
        }
    }

    /// Ends it and returns the bytes a second.
    ///
    /// # Errors
    /// A download failed.
    pub fn finish(mut self) -> anyhow::Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was not ended before")?;
        let moved = thread
            .join()
            .map_err(|_| anyhow!("the download panicked"))??;
        Ok(moved as f64 / self.began.elapsed().as_secs_f64())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn download(address: SocketAddr, stop: &AtomicBool) -> anyhow::Result<u64> {
    const LENGTH: u64 = 64 * 1024 * 1024;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        let mut moved = 0;
        while !stop.load(Ordering::Relaxed) {
            connection.download(LENGTH).await?;
            moved += LENGTH;
        }
        Ok(moved)
    })
}
