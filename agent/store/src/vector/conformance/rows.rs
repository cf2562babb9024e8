//! Rows in memory, which can be made to fail.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::vector::exact::nearest::nearest_first;
use crate::vector::{Change, Entry, EntryRef, Neighbour, Request, Rows, Spec};

/// Passages with their embeddings.
#[derive(Debug, Default)]
pub(crate) struct MemoryRows {
    embeddings: BTreeMap<i64, Vec<f32>>,
    passages: BTreeMap<i64, i64>,
    fails: Mutex<Fails>,
}

/// Which reads fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fails {
    #[default]
    Nothing,
    /// Reading all rows does: what an index is there to spare.
    ReadingAll,
    All,
}

impl MemoryRows {
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Upsert(entry) => {
                self.passages.insert(entry.passage, entry.embedding);
                self.embeddings
                    .insert(entry.embedding, entry.vector.clone());
            }
            Change::Delete { passage } => self.remove(*passage),
        }
    }

    /// Embeddings go with the last passage that has them.
    fn remove(&mut self, passage: i64) {
        let Some(embedding) = self.passages.remove(&passage) else {
            return;
        };
        if !self.passages.values().any(|other| *other == embedding) {
            self.embeddings.remove(&embedding);
        }
    }

    /// What fails from now on.
    pub(crate) fn fail(&self, fails: Fails) {
        *self.fails.lock().expect("not poisoned") = fails;
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        let entry = |(passage, embedding): (&i64, &i64)| {
            let vector = self.embeddings.get(embedding)?;
            Some(Entry {
                passage: *passage,
                embedding: *embedding,
                vector: vector.clone(),
            })
        };
        self.passages.iter().filter_map(entry).collect()
    }

    /// The model: sorts everything that passes.
    pub(crate) fn nearest(&self, spec: &Spec, request: Request<'_>) -> Vec<Neighbour> {
        let passes = |passage| request.filter.is_none_or(|set| set.contains(passage));
        let mut all: Vec<_> = self
            .all()
            .iter()
            .filter(|entry| passes(entry.passage))
            .map(|entry| Neighbour {
                passage: entry.passage,
                score: spec.metric.score(request.query, &entry.vector),
            })
            .collect();
        all.sort_by(nearest_first);
        all.truncate(request.wanted);
        all
    }

    fn check(&self, fatal: &[Fails]) -> Result<()> {
        if fatal.contains(&*self.fails.lock().expect("not poisoned")) {
            return Err(Error::new(ErrorKind::Unavailable, "rows fail on purpose"));
        }
        Ok(())
    }
}

impl Rows for MemoryRows {
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.check(&[Fails::All])?;
        // Any order is allowed, so not that of the question.
        for (at, embedding) in embeddings.iter().enumerate().rev() {
            if let Some(vector) = self.embeddings.get(embedding) {
                each(at, vector);
            }
        }
        Ok(())
    }

    fn entries(&self, each: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>) -> Result<()> {
        self.check(&[Fails::All, Fails::ReadingAll])?;
        for (passage, embedding) in &self.passages {
            let Some(vector) = self.embeddings.get(embedding) else {
                continue;
            };
            let entry = EntryRef {
                passage: *passage,
                embedding: *embedding,
                vector,
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}
