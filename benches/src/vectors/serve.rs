//! The process of a subject: answers what the run asks.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::ask::{Answer, Ask, Built, Found, Look, Opened, Times};
use super::clock::{Memory, Took, cpu, disk_reads, timed};
use super::set::{Set, Vectors};
use super::subject::Kind;

/// Neighbours asked for.
pub const WANTED: usize = 10;

/// Queries before those that are measured: another subject has just had the
/// processor and its caches.
const WARMING: usize = 5;

/// What a subject works on.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Who.
    pub kind: Kind,
    /// The folder of the data sets.
    pub sets: PathBuf,
    /// The name of the data set.
    pub set: String,
    /// Its own folder, which is there.
    pub folder: PathBuf,
    /// Where Python and what is installed for it are.
    pub python: PathBuf,
}

/// An engine under measurement. Rows count from 0.
pub trait Subject {
    /// Makes an index of the vectors, in the folder.
    ///
    /// # Errors
    /// It cannot.
    fn build(&self, base: &Vectors) -> anyhow::Result<Built>;

    /// Opens what was built, for one more thread.
    ///
    /// # Errors
    /// It cannot.
    fn open(&mut self) -> anyhow::Result<Box<dyn Worker>>;

    /// Adds a vector under a new row, and returns when it is on disk.
    ///
    /// # Errors
    /// It cannot.
    fn commit(&mut self, row: u32, vector: &[f32]) -> anyhow::Result<()>;
}

/// What one thread searches with.
pub trait Worker: Send {
    /// Gets ready for many searches of this kind.
    ///
    /// # Errors
    /// It cannot be searched so.
    fn prepare(&mut self, look: Look) -> anyhow::Result<()>;

    /// The rows nearest to a query, [`WANTED`] of them.
    ///
    /// # Errors
    /// It fails.
    fn search(&mut self, query: &[f32]) -> anyhow::Result<Vec<u32>>;
}

/// Answers until standard input ends.
///
/// # Errors
/// The set cannot be read, or an answer not be written.
pub fn run(place: &Place) -> anyhow::Result<()> {
    let set = Set::named(&place.sets, &place.set)?;
    let queries = set.queries()?;
    let mut server = Server {
        subject: place.kind.start(place, set.dimensions())?,
        workers: Vec::new(),
        next_row: u32::try_from(set.base()?.count())?,
        queries,
        set,
    };
    for line in std::io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line?)?;
        match ask {
            Ask::Build => say(server.subject.build(&server.set.base()?))?,
            Ask::Open => say(server.open())?,
            Ask::Search(look) => say(server.search(look))?,
            Ask::Together { look, threads } => say(server.together(look, threads))?,
            Ask::Commit { count } => say(server.commit(count))?,
            Ask::Memory => say(Ok(Memory::now()))?,
        }
    }
    Ok(())
}

fn say<T: Serialize>(answer: anyhow::Result<T>) -> anyhow::Result<()> {
    let answer = match answer {
        Ok(done) => Answer::Done(done),
        Err(error) => Answer::Failed {
            error: format!("{error:#}"),
        },
    };
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, &answer)?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}

struct Server {
    subject: Box<dyn Subject>,
    workers: Vec<Box<dyn Worker>>,
    next_row: u32,
    queries: Vec<f32>,
    set: Set,
}

impl Server {
    fn open(&mut self) -> anyhow::Result<Opened> {
        let look = Look {
            first: 0,
            count: 1,
            effort: 64,
            percent: super::ask::UNFILTERED,
        };
        let reads_before = disk_reads();
        let ((), took) = timed(|| {
            let mut worker = self.subject.open()?;
            worker.prepare(look)?;
            worker.search(query(&self.queries, self.set.dimensions(), 0)?)?;
            self.workers.push(worker);
            Ok(())
        })?;
        Ok(Opened {
            took,
            disk_reads: disk_reads().saturating_sub(reads_before),
        })
    }

    fn search(&mut self, look: Look) -> anyhow::Result<Found> {
        let worker = self.workers.first_mut().context("not opened")?;
        worker.prepare(look)?;
        let dimensions = self.set.dimensions();
        for at in 0..WARMING {
            worker.search(query(&self.queries, dimensions, look.first + at)?)?;
        }
        let mut found = Found::default();
        for at in 0..look.count {
            let query = query(&self.queries, dimensions, look.first + at)?;
            let (rows, took) = timed(|| worker.search(query))?;
            found.times.push(took);
            found.rows.push(rows);
        }
        Ok(found)
    }

    fn together(&mut self, look: Look, threads: usize) -> anyhow::Result<Took> {
        while self.workers.len() < threads {
            self.workers.push(self.subject.open()?);
        }
        for worker in &mut self.workers {
            worker.prepare(look)?;
        }
        let (queries, dimensions) = (&self.queries, self.set.dimensions());
        let (cpu_before, wall) = (cpu(), Instant::now());
        std::thread::scope(|scope| {
            let workers = self.workers.iter_mut().take(threads).enumerate();
            let running: Vec<_> = workers
                .map(|(number, worker)| {
                    scope.spawn(move || {
                        for at in (number..look.count).step_by(threads) {
                            worker.search(query(queries, dimensions, look.first + at)?)?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            running.into_iter().try_for_each(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err(anyhow::anyhow!("a searching thread died")))
            })
        })?;
        Ok(Took {
            cpu_s: (cpu() - cpu_before).as_secs_f64(),
            wall_s: wall.elapsed().as_secs_f64(),
        })
    }

    /// The queries serve as vectors that are not there yet.
    fn commit(&mut self, count: usize) -> anyhow::Result<Times> {
        let mut times = Times::default();
        for at in 0..count {
            let vector = query(&self.queries, self.set.dimensions(), at)?;
            let row = self.next_row;
            self.next_row += 1;
            let ((), took) = timed(|| self.subject.commit(row, vector))?;
            times.push(took);
        }
        Ok(times)
    }
}

/// A query; those after the last are the first ones again.
fn query(queries: &[f32], dimensions: usize, at: usize) -> anyhow::Result<&[f32]> {
    let count = queries.len() / dimensions;
    let first = at.checked_rem(count).context("no queries")? * dimensions;
    queries
        .get(first..first + dimensions)
        .context("no such query")
}

impl Times {
    fn push(&mut self, took: Took) {
        self.cpu_us.push(took.cpu_s * 1e6);
        self.wall_us.push(took.wall_s * 1e6);
    }
}
