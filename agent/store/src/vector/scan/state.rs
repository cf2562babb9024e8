//! What an index holds now: parts, the newest of which is the tail.
//!
//! A search reads under a lock, so it sees all of a batch of changes or
//! nothing. Who changes something prepares it before and holds the lock for
//! as long as it takes to put it in.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Options;
use super::bits::Bits;
use super::rotation::Rotation;
use super::segment::Segment;
use super::segment::layout::Identity;
use super::space::{Space, square, subtract};
use super::tail::{Ids, Tail};
use super::view::View;
use crate::error::{Error, Result};
use crate::vector::metric::Metric;
use crate::vector::{Change, Entry, Spec};

/// An origin must bring vectors nearer by this much: the square of their length.
const NEARER: f32 = 0.9;

/// The state and what never changes about it.
#[derive(Debug)]
pub struct State {
    spec: Spec,
    options: Options,
    seed: u64,
    now: RwLock<Now>,
}

/// The state at one moment.
#[derive(Debug)]
pub struct Now {
    /// `None` until the first vector comes.
    pub space: Option<Arc<Space>>,
    /// All but the tail, the oldest first.
    pub parts: Vec<Part>,
    /// The newest rows.
    pub tail: Living<Tail>,
    /// The last change that is in here.
    pub watermark: u64,
    /// Why nothing can be done until it is cleared.
    pub damaged: Option<String>,
    /// Counts how often it was cleared.
    pub generation: u64,
}

/// Rows of which some may be dead.
#[derive(Debug, Clone)]
pub struct Living<T> {
    /// The rows.
    pub rows: T,
    /// The dead ones.
    pub dead: Bits,
}

/// Rows that do not change any more.
#[derive(Debug, Clone)]
pub enum Part {
    /// In a file.
    Segment {
        /// Its number, which names its file.
        number: u64,
        /// The rows.
        of: Living<Arc<Segment>>,
    },
    /// Still in memory.
    Frozen {
        /// The last change in it.
        watermark: u64,
        /// The rows.
        of: Living<Arc<Tail>>,
    },
}

impl Part {
    /// Its rows.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Segment { of, .. } => of.rows.view(),
            Self::Frozen { of, .. } => of.rows.view(),
        }
    }

    /// The row of a passage, dead or not.
    #[must_use]
    pub fn locate(&self, passage: i64) -> Option<u32> {
        match self {
            Self::Segment { of, .. } => of.rows.locate(passage),
            Self::Frozen { of, .. } => of.rows.locate(passage),
        }
    }

    /// The dead rows.
    #[must_use]
    pub fn dead(&self) -> &Bits {
        match self {
            Self::Segment { of, .. } => &of.dead,
            Self::Frozen { of, .. } => &of.dead,
        }
    }

    /// Marks the row of a passage. Returns whether it was alive.
    pub fn kill(&mut self, passage: i64) -> bool {
        let Some(row) = self.locate(passage) else {
            return false;
        };
        match self {
            Self::Segment { of, .. } => of.dead.insert(row),
            Self::Frozen { of, .. } => of.dead.insert(row),
        }
    }

    /// How many rows, dead ones too.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Segment { of, .. } => of.rows.rows() as usize,
            Self::Frozen { of, .. } => of.rows.len(),
        }
    }

    /// How many rows are alive.
    #[must_use]
    pub fn living(&self) -> usize {
        self.rows().saturating_sub(self.dead().count())
    }
}

impl Now {
    fn empty(padded: usize, generation: u64) -> Self {
        Self {
            space: None,
            parts: Vec::new(),
            tail: Living {
                rows: Tail::new(padded),
                dead: Bits::default(),
            },
            watermark: 0,
            damaged: None,
            generation,
        }
    }

    /// How many tails wait to be written.
    #[must_use]
    pub fn frozen(&self) -> usize {
        let frozen = |part: &&Part| matches!(part, Part::Frozen { .. });
        self.parts.iter().filter(frozen).count()
    }

    /// How many passages can be found.
    #[must_use]
    pub fn living(&self) -> usize {
        let tail = self.tail.rows.len().saturating_sub(self.tail.dead.count());
        self.parts.iter().map(Part::living).sum::<usize>() + tail
    }

    /// An error if it must be made anew. Asked before any part is read.
    ///
    /// # Errors
    /// It must.
    pub fn check(&self) -> Result<()> {
        if let Some(reason) = &self.damaged {
            let message = "vector index was thrown away, it is to be made anew";
            return Err(Error::corrupt(message).with("reason", reason));
        }
        self.parts.iter().try_for_each(|part| match part {
            Part::Segment { of, .. } => of.rows.expect_untouched(),
            Part::Frozen { .. } => Ok(()),
        })
    }

    fn freeze(&mut self, padded: usize) {
        if self.tail.rows.is_empty() {
            return;
        }
        let new = Living {
            rows: Tail::new(padded),
            dead: Bits::default(),
        };
        let old = std::mem::replace(&mut self.tail, new);
        self.parts.push(Part::Frozen {
            watermark: self.watermark,
            of: Living {
                rows: Arc::new(old.rows),
                dead: old.dead,
            },
        });
    }

    fn kill(&mut self, passage: i64) {
        let tail = &mut self.tail;
        let row = tail.rows.locate(passage);
        if row.is_some_and(|row| tail.dead.insert(row)) {
            return;
        }
        // At most one row of a passage is alive.
        let _ = self.parts.iter_mut().rev().any(|part| part.kill(passage));
    }
}

impl State {
    /// Nothing yet.
    #[must_use]
    pub fn new(spec: Spec, options: Options) -> Self {
        // Any seed is as good as another: one for each model.
        let [a, b, c, d, e, f, g, h, ..] = spec.model;
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let padded = Rotation::new(spec.dimensions, seed).padded();
        Self {
            spec,
            options,
            seed,
            now: RwLock::new(Now::empty(padded, 0)),
        }
    }

    /// What the index is of.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How it is kept.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Dimensions after rotation.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.rotation().padded()
    }

    /// A space with this origin.
    #[must_use]
    pub fn space(&self, origin: Vec<f32>) -> Space {
        Space::new(self.rotation(), origin, self.spec.metric)
    }

    /// What all segments around an origin have in common.
    #[must_use]
    pub fn identity(&self, origin: &[f32]) -> Identity {
        let mut hasher = crc32fast::Hasher::new();
        origin
            .iter()
            .for_each(|value| hasher.update(&value.to_le_bytes()));
        Identity {
            spec: self.spec.clone(),
            seed: self.seed,
            origin: hasher.finalize(),
        }
    }

    /// Looks at it. Nothing changes meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Now> {
        // Whoever panicked left it as it was, or with fewer rows than it should have.
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it.
    pub fn write(&self) -> RwLockWriteGuard<'_, Now> {
        self.now.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Throws everything away, and says why nothing can be done if so.
    pub fn clear(&self, damaged: Option<String>) {
        let mut now = self.write();
        *now = Now::empty(self.padded(), now.generation + 1);
        now.damaged = damaged;
    }

    /// Takes changes in. Returns how many tails wait to be written.
    ///
    /// # Errors
    /// A vector is not one of this index, or it must be made anew.
    pub fn apply(&self, changes: &[Change], watermark: u64) -> Result<usize> {
        let entries = changes.iter().filter_map(|change| match change {
            Change::Upsert(entry) => Some(entry),
            Change::Delete { .. } => None,
        });
        let entries: Vec<&Entry> = entries.collect();
        entries.iter().try_for_each(|entry| self.check(entry))?;
        let space = self.space_for(&entries);
        let vectors = entries.iter().map(|entry| entry.vector.as_slice());
        let encoded = space.encode(vectors);

        let mut now = self.write();
        now.check()?;
        if now.tail.rows.is_empty() {
            now.tail.rows.head(&space.origin_heading());
        }
        now.space.get_or_insert(space);
        let mut at = 0;
        for change in changes {
            match change {
                Change::Delete { passage } => now.kill(*passage),
                Change::Upsert(entry) => {
                    now.kill(entry.passage);
                    let (passage, embedding) = (entry.passage, entry.embedding);
                    let ids = Ids { passage, embedding };
                    now.tail.rows.push(ids, &encoded, at);
                    at += 1;
                }
            }
        }
        now.watermark = now.watermark.max(watermark);
        if now.tail.rows.len() >= self.options.segment_rows {
            now.freeze(self.padded());
        }
        Ok(now.frozen())
    }

    /// Ends the tail, so that it can be written.
    ///
    /// # Errors
    /// The index must be made anew.
    pub fn freeze(&self) -> Result<()> {
        let mut now = self.write();
        now.check()?;
        now.freeze(self.padded());
        Ok(())
    }

    /// The space there is, or one around these vectors.
    fn space_for(&self, entries: &[&Entry]) -> Arc<Space> {
        if let Some(space) = &self.read().space {
            return Arc::clone(space);
        }
        let (rotation, mut origin) = (self.rotation(), vec![0.0; self.padded()]);
        if let Some(mean) = self.origin(entries) {
            rotation.apply(&mean, &mut origin);
        }
        Arc::new(self.space(origin))
    }

    /// The mean of vectors, if the others are nearer to it than to zero. A
    /// distance is known the better the nearer the origin is, so any is better
    /// than zero.
    fn origin(&self, entries: &[&Entry]) -> Option<Vec<f32>> {
        let share = 1.0 / entries.len() as f32;
        let mut mean = vec![0.0; self.spec.dimensions];
        for entry in entries {
            let values = mean.iter_mut().zip(&entry.vector);
            values.for_each(|(mean, value)| *mean += share * value);
        }
        let (mut before, mut after) = (0.0, 0.0);
        for entry in entries {
            let mut vector = entry.vector.clone();
            before += square(&vector);
            subtract(&mut vector, &mean);
            after += square(&vector);
        }
        // As if each had not been among those that make the mean.
        let alone = 1.0 - share;
        let nearer = after < NEARER * alone * alone * before;
        let metric_wants_it = self.spec.metric == Metric::Euclidean && !entries.is_empty();
        (nearer || metric_wants_it).then_some(mean)
    }

    fn check(&self, entry: &Entry) -> Result<()> {
        check_vector(&entry.vector, &self.spec).map_err(|e| e.with("passage", &entry.passage))
    }

    fn rotation(&self) -> Rotation {
        Rotation::new(self.spec.dimensions, self.seed)
    }
}

/// Whether a vector is one of an index.
///
/// # Errors
/// It is not.
pub fn check_vector(vector: &[f32], spec: &Spec) -> Result<()> {
    if vector.len() != spec.dimensions {
        let error = Error::invalid("vector has another number of dimensions");
        let error = error.with("expected", &spec.dimensions);
        return Err(error.with("found", &vector.len()));
    }
    if !vector.iter().all(|value| value.is_finite()) {
        return Err(Error::invalid("vector has a value that is no number"));
    }
    Ok(())
}
