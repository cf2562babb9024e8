//! How far a push may be ahead of what the bucket has.
//!
//! All that was sent and is not stored when something breaks travels again. It
//! is at most two parts: one that the relay fills while the other goes into
//! the bucket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ginnel_blob::index::ChunkIndex;
use ginnel_blob::parts::Parting;
use ginnel_blob::plan::chunk_at;
use tokio::sync::watch;

/// Parts that are sent and not stored.
const PARTS_AHEAD: u64 = 2;

/// What was sent of a push, and what is stored.
#[derive(Debug)]
pub(super) struct Flow {
    index: Arc<ChunkIndex>,
    parting: Parting,
    /// Parts that are stored, from the first on.
    parts: watch::Sender<u32>,
    /// Steps that were sent.
    steps: AtomicU64,
    /// Bytes that travelled for parts that are not stored.
    travelled: Mutex<BTreeMap<u32, u64>>,
}

impl Flow {
    /// Of a push of which so many parts are stored.
    pub(super) fn new(index: Arc<ChunkIndex>, parts: u32) -> Self {
        Self {
            parting: Parting::of(index.size()),
            index,
            parts: watch::Sender::new(parts),
            steps: AtomicU64::new(0),
            travelled: Mutex::default(),
        }
    }

    /// Parts that are stored, from the first on.
    pub(super) fn parts(&self) -> u32 {
        *self.parts.borrow()
    }

    /// Waits until a chunk that ends there may be sent.
    pub(super) async fn room(&self, end: u64) {
        let mut parts = self.parts.subscribe();
        // The sender is ours: it is never gone.
        let _ = parts.wait_for(|&parts| end <= self.limit(parts)).await;
    }

    /// The end of the window. A chunk that crosses the end of what is stored
    /// travels again from its beginning: the window begins there. It always
    /// lets the next part be filled, since no chunk is longer than half a part.
    fn limit(&self, parts: u32) -> u64 {
        let stored = self.parting.place(parts).start;
        let first = chunk_at(&self.index, stored);
        let chunk = first.and_then(|number| self.index.chunks().get(number));
        let begin = chunk.map_or(stored, |chunk| chunk.offset);
        begin.saturating_add(PARTS_AHEAD.saturating_mul(self.parting.part_size()))
    }

    /// Something was sent.
    pub(super) fn moved(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was sent.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// A record travelled whose chunk begins there.
    pub(super) fn sent(&self, offset: u64, length: u64) {
        let part = self.parting.part_at(offset);
        let mut travelled = self.travelled();
        let sum = travelled.entry(part).or_default();
        *sum = sum.saturating_add(length);
    }

    /// A part is stored: so many bytes travelled for it and those before.
    pub(super) fn stored(&self, part: u32) -> u64 {
        let mut travelled = self.travelled();
        let later = travelled.split_off(&part.saturating_add(1));
        let sums = std::mem::replace(&mut *travelled, later);
        sums.values().sum()
    }

    /// From now on so many parts are stored, for good.
    pub(super) fn acknowledge(&self, parts: u32) {
        self.parts.send_replace(parts);
    }

    /// Nothing under this lock panics half-way.
    fn travelled(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, u64>> {
        self.travelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
