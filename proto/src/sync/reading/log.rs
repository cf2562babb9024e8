//! The log of one device, as far as another knows it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Place;

/// How long a try waits: at first, and at most. It doubles.
pub(super) const WAIT: Duration = Duration::from_secs(1);
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// The most batches in a row that are looked for one by one though none is there.
const GAP_MAX: u64 = 64;

/// A log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) read: Place,
    /// The newest batch that was heard of.
    pub(super) heard: u64,
    /// Up to there it was heard of, and is not there: hints say so again and again.
    refuted: u64,
    /// What the last listing had of it, behind what was read.
    pub(super) listed: BTreeSet<u64>,
    /// Up to where that listing says what there is.
    pub(super) listed_upto: u64,
    /// There is more than was listed.
    pub(super) has_more: bool,
    pub(super) tries: u32,
    wait: Duration,
    waits_until: Option<Instant>,
    /// Its next batch is one that this device cannot take yet.
    pub(super) is_held: bool,
}

impl Log {
    pub(super) fn new(read: Place) -> Self {
        Self {
            read,
            heard: 0,
            refuted: 0,
            listed: BTreeSet::new(),
            listed_upto: 0,
            has_more: false,
            tries: 0,
            wait: WAIT,
            waits_until: None,
            is_held: false,
        }
    }

    /// A later batch was heard of.
    pub(super) fn hear(&mut self, sequence: u64) {
        // Greater ones cannot be stored.
        if sequence > self.refuted && i64::try_from(sequence).is_ok() {
            self.heard = self.heard.max(sequence);
        }
    }

    /// What there is behind what was read, in order.
    pub(super) fn list(&mut self, sequences: &[u64], has_more: bool) {
        let Some(last) = sequences.last() else { return };
        if *last >= self.refuted {
            self.refuted = 0;
        }
        self.heard = self.heard.max(*last);
        let behind = |it: &&u64| **it > self.read.sequence;
        self.listed = sequences.iter().filter(behind).copied().collect();
        self.listed_upto = *last;
        self.has_more = has_more;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.heard > self.read.sequence
    }

    /// How many batches are known of that were not read; one more if there are
    /// more than were listed.
    pub(super) fn behind(&self) -> u64 {
        let known = self.heard.saturating_sub(self.read.sequence);
        known.saturating_add(self.has_more.into())
    }

    /// Whether all was read that was listed, and there is more.
    pub(super) fn is_to_be_listed(&self) -> bool {
        self.has_more && self.read.sequence >= self.listed_upto
    }

    /// Whether it may be read on.
    pub(super) fn may_go(&self, now: Instant) -> bool {
        self.waits_until.is_none_or(|until| now >= until)
    }

    /// When it may be read on, if it has to wait.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.waits_until
    }

    /// Whether the bucket said that it is not there, though later ones are.
    pub(super) fn is_gone(&self, sequence: u64) -> bool {
        sequence < self.listed_upto && !self.listed.contains(&sequence)
    }

    /// Its next batch cannot be taken for so long.
    pub(super) fn hold(&mut self, now: Instant, long: Duration) {
        self.waits_until = Some(now + long);
        self.is_held = true;
    }

    /// Its next batch is fetched once more, later.
    pub(super) fn try_later(&mut self, now: Instant) {
        self.waits_until = Some(now + self.wait);
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    /// Nothing has to wait any more.
    pub(super) fn wake(&mut self) {
        self.waits_until = None;
        self.wait = WAIT;
    }

    /// Only the listing counts: what else was heard is not there.
    pub(super) fn forget_rumours(&mut self) {
        self.refuted = self.heard;
        self.heard = self.read.sequence.max(self.listed_upto);
        self.tries = 0;
        self.wake();
    }

    /// It was read up to there.
    pub(super) fn go_on(&mut self, read: Place) {
        self.read = read;
        self.listed = self.listed.split_off(&(read.sequence + 1));
        self.tries = 0;
        self.is_held = false;
        self.wake();
    }

    /// Goes on behind a batch that was left out.
    pub(super) fn pass_over(&mut self, sequence: u64) {
        let hash = None;
        self.go_on(Place { sequence, hash });
        // Whoever counts like this lies: it is not followed one by one.
        if let Some(next) = self.listed.first().copied()
            && next - sequence > GAP_MAX
        {
            let sequence = next - 1;
            self.go_on(Place { sequence, hash });
        }
    }
}
