//! What happened, as one number to compare and as lines to read.

use std::collections::VecDeque;
use std::time::Duration;

/// Newest entries kept for reading.
const KEPT: usize = 64;

/// Everything that happened in a world: events and packets, their times and
/// lengths.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: u64,
    entries: u64,
    newest: VecDeque<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Duration,
    what: &'static str,
    who: usize,
    size: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            entries: 0,
            newest: VecDeque::with_capacity(KEPT),
        }
    }
}

impl Trace {
    /// Notes one thing. `who` numbers a host.
    pub fn note(&mut self, at: Duration, what: &'static str, who: usize, size: usize) {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.mix(micros);
        for byte in what.bytes() {
            self.mix(byte.into());
        }
        self.mix(who as u64);
        self.mix(size as u64);
        self.entries += 1;
        if self.newest.len() == KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(Entry {
            at,
            what,
            who,
            size,
        });
    }

    /// The same for the same seed.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many things happened.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The newest entries, one a line.
    #[must_use]
    pub fn tail(&self) -> String {
        let mut lines = String::new();
        for entry in &self.newest {
            let Entry {
                at,
                what,
                who,
                size,
            } = entry;
            let seconds = at.as_secs_f64();
            lines += &format!("{seconds:>12.4} host {who} {what} {size}\n");
        }
        lines
    }

    /// FNV-1a, a word at a time.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3);
        self.hash ^= self.hash >> 29;
    }
}
