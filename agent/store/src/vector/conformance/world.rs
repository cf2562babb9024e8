//! An index beside the rows it is of.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::rows::MemoryRows;
use super::{Files, Subject};
use crate::error::Result;
use crate::vector::metric::Metric;
use crate::vector::passages::Passages;
use crate::vector::{Change, Entry, Neighbour, Request, Spec, VectorIndex};

/// Fewer answers than this say little about recall.
const RECALL_SAMPLE: usize = 200;

/// An index, the rows, and all changes since the beginning, the first of which
/// has number 1.
pub(crate) struct World {
    pub(crate) subject: Subject,
    pub(crate) spec: Spec,
    /// The full name of the test, by which it can be run in another process.
    pub(crate) name: String,
    pub(crate) dice: fastrand::Rng,
    pub(crate) rows: MemoryRows,
    seed: u64,
    log: Vec<Change>,
    index: Option<Box<dyn VectorIndex>>,
    folders: TempDir,
    /// Which of the folders is the index's now.
    folder: usize,
    last_embedding: i64,
    hits: usize,
    asked: usize,
}

impl World {
    /// An empty one, with vectors of 24 dimensions.
    pub(crate) fn new(subject: &Subject, metric: Metric, name: &str, seed: u64) -> Self {
        let spec = Spec {
            database: [1; 16],
            model: [2; 32],
            dimensions: 24,
            metric,
        };
        let mut world = Self {
            subject: *subject,
            spec,
            name: name.split_once("::").expect("a path").1.to_owned(),
            dice: fastrand::Rng::with_seed(seed),
            rows: MemoryRows::default(),
            seed,
            log: Vec::new(),
            index: None,
            folders: folders(),
            folder: 0,
            last_embedding: 0,
            hits: 0,
            asked: 0,
        };
        world.open().expect("a new index");
        world
    }

    /// Another one of the same engine, empty, of so many dimensions.
    pub(crate) fn with_dimensions(&self, dimensions: usize) -> Self {
        let mut world = Self::new(&self.subject, self.spec.metric, "::", self.seed);
        world.spec.dimensions = dimensions;
        world.name.clone_from(&self.name);
        world.folder = 1;
        world.open().expect("a new index");
        world
    }

    pub(crate) fn index(&self) -> &dyn VectorIndex {
        self.index.as_deref().expect("open")
    }

    /// The number of the last change.
    pub(crate) fn watermark(&self) -> u64 {
        self.log.len() as u64
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folders.path().join(self.folder.to_string())
    }

    /// A vector as the metric wants it.
    pub(crate) fn vector(&mut self) -> Vec<f32> {
        let dimensions = 0..self.spec.dimensions;
        let mut any: Vec<f32> = dimensions.map(|_| self.dice.f32() - 0.5).collect();
        if self.spec.metric == Metric::Cosine {
            normalise(&mut any);
        }
        any
    }

    /// A passage with a vector that no other has.
    pub(crate) fn entry(&mut self, passage: i64) -> Entry {
        let vector = self.vector();
        self.entry_of(passage, vector)
    }

    pub(crate) fn entry_of(&mut self, passage: i64, vector: Vec<f32>) -> Entry {
        // Far from the passages' own rowids, so that one taken for the other
        // is noticed.
        self.last_embedding += 1;
        Entry {
            passage,
            embedding: 1_000_000 + self.last_embedding,
            vector,
        }
    }

    /// New passages with vectors of their own, in batches.
    pub(crate) fn fill(&mut self, passages: std::ops::Range<i64>) {
        let changes: Vec<_> = passages
            .map(|passage| Change::Upsert(self.entry(passage)))
            .collect();
        for batch in changes.chunks(700) {
            self.apply(batch.to_vec());
        }
    }

    /// Changes the rows, then the index.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        self.try_apply(changes).expect("changes are taken in");
    }

    pub(crate) fn try_apply(&mut self, changes: Vec<Change>) -> Result<()> {
        changes.iter().for_each(|change| self.rows.apply(change));
        let first = self.log.len();
        self.log.extend(changes);
        let new = self.log.get(first..).expect("from the old end");
        self.index().apply(new, self.watermark())
    }

    /// Gives the index the changes after that one again.
    pub(crate) fn replay(&mut self, after: u64) -> Result<()> {
        let after = usize::try_from(after).expect("small").min(self.log.len());
        let rest = self.log.get(after..).expect("within");
        self.index().apply(rest, self.watermark())
    }

    /// Makes the index anew from all rows. Only the last batch has the number
    /// of the last change, so that half an index is never taken for a whole.
    pub(crate) fn rebuild(&mut self) -> Result<()> {
        self.index().clear()?;
        assert!(self.index().durable() == 0 || self.subject.files == Files::None);
        let all: Vec<_> = self.rows.all().into_iter().map(Change::Upsert).collect();
        for batch in all.chunks(50) {
            self.index().apply(batch, 0)?;
        }
        self.index().apply(&[], self.watermark())
    }

    /// Opens the index in the folder again, and brings it up to date.
    pub(crate) fn reopen(&mut self) {
        self.open().expect("the index opens");
        self.catch_up().expect("the index takes what it missed");
    }

    /// As if the program had died: what is on disk at this moment is opened.
    pub(crate) fn crash(&mut self) {
        let old = self.folder();
        self.folder += 1;
        copy_folder(&old, &self.folder());
        self.reopen();
    }

    pub(crate) fn open(&mut self) -> Result<()> {
        self.close();
        let index = (self.subject.open)(&self.folder(), &self.spec)?;
        self.index = Some(index);
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.index = None;
    }

    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let durable = self.index().durable();
        if self.subject.files == Files::None {
            return Ok(());
        }
        assert!(durable <= self.watermark(), "what never was is durable");
        if durable == 0 {
            return self.rebuild();
        }
        self.replay(durable)
    }

    /// Moves to an empty folder, without an index in it yet.
    pub(crate) fn next_folder(&mut self) -> PathBuf {
        self.close();
        self.folder += 1;
        self.folder()
    }

    /// Searches for something, and compares the answer with the model's.
    pub(crate) fn check(&mut self, wanted: usize, filter: Option<&Passages>) {
        let query = self.vector();
        self.check_query(&query, wanted, filter);
    }

    pub(crate) fn check_query(&mut self, query: &[f32], wanted: usize, filter: Option<&Passages>) {
        let request = Request {
            query,
            wanted,
            filter,
        };
        let found = self.index().search(request, &self.rows);
        self.judge(request, &found.expect("an answer"));
    }

    /// Compares an answer with the model's.
    pub(crate) fn judge(&mut self, request: Request<'_>, found: &[Neighbour]) {
        let truth = self.rows.nearest(&self.spec, request);
        if self.subject.recall >= 1.0 {
            let pairs = found.iter().zip(&truth);
            let first = pairs.enumerate().find(|(_, (found, truth))| found != truth);
            assert_eq!(first, None, "found and true, wanted={}", request.wanted);
        }
        assert_eq!(found.len(), truth.len(), "wanted={}", request.wanted);
        if self.subject.recall >= 1.0 {
            return;
        }
        let all = Request {
            wanted: usize::MAX,
            ..request
        };
        let all = self.rows.nearest(&self.spec, all);
        let places = found.iter().map(|found| {
            let place = all.iter().position(|row| row == found);
            place.expect("a row that passes, with its exact score")
        });
        assert!(places.is_sorted_by(|a, b| a < b), "the nearest first");
        let farthest = truth.last().map_or(f32::INFINITY, |last| last.score);
        self.hits += found.iter().filter(|one| one.score >= farthest).count();
        self.asked += truth.len();
        let recall = self.hits as f64 / self.asked.max(1) as f64;
        let enough = self.asked < RECALL_SAMPLE || recall >= self.subject.recall;
        assert!(enough, "recall={recall}, asked={}", self.asked);
    }
}

/// In memory where the system has a folder for that: what a disk takes to be
/// sure of what it has is most of the time of these tests.
fn folders() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    folder.expect("a folder")
}

/// Gives it length 1.
pub(crate) fn normalise(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    for value in vector.iter_mut() {
        #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
        let part = (f64::from(*value) / square.sqrt()) as f32;
        *value = part;
    }
}

/// Copies the files of a folder, which may not be there, into a new one.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let Ok(files) = std::fs::read_dir(from) else {
        return;
    };
    for file in files {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}
