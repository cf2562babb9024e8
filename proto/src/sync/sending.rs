//! When a device writes what is new to its log: pure.
//!
//! A change that comes alone goes at once, so that other devices have it within
//! the blink of an eye. While many come, they go together: a batch every two
//! seconds, or whenever one is full.

use std::time::{Duration, Instant};

/// How far batches are apart while changes keep coming.
pub const SPACING: Duration = Duration::from_secs(2);

/// Batches that may go without being spaced, after a time of rest: a person at
/// work makes no more changes than that, and each costs a write in the bucket.
pub const BURST: u32 = 16;

/// How long a change waits for others of the same moment, such as the vectors of
/// its text.
pub const GATHER: Duration = Duration::from_millis(10);

/// How long a failed attempt waits: at first, and at most. It doubles.
const WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// When to write.
#[derive(Debug)]
pub struct Sending {
    linked: bool,
    /// When something is to be written, and first was.
    changed_at: Option<Instant>,
    /// Batches that may go at once.
    tokens: u32,
    /// Since when the next token is on its way.
    counted_at: Instant,
    /// Not before.
    waits_until: Option<Instant>,
    wait: Duration,
}

impl Sending {
    /// Whatever is there is to be written.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            linked: false,
            changed_at: Some(now),
            tokens: BURST,
            counted_at: now,
            waits_until: None,
            wait: WAIT,
        }
    }

    /// There is a link, or none any more.
    pub fn handle_link(&mut self, linked: bool) {
        self.linked = linked;
        self.waits_until = None;
        self.wait = WAIT;
    }

    /// Something changed here.
    pub fn handle_change(&mut self, now: Instant) {
        self.changed_at.get_or_insert(now);
    }

    /// When a batch is to be written; `None` if nothing is to be, or there is no
    /// link.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let changed_at = self.changed_at.filter(|_| self.linked)?;
        let token_at = match self.tokens {
            0 => self.counted_at + SPACING,
            _ => changed_at,
        };
        let at = token_at.max(changed_at + GATHER);
        Some(self.waits_until.map_or(at, |until| at.max(until)))
    }

    /// Whether to write a batch now. Then all that changed until now is in it, or
    /// [`Sending::handle_written`] says that there is more.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && now >= self.counted_at + SPACING {
            self.counted_at += SPACING;
            self.tokens += 1;
        }
        if self.poll_timeout().is_none_or(|at| now < at) {
            return false;
        }
        self.changed_at = None;
        true
    }

    /// A batch was written, or there was nothing to write.
    pub fn handle_written(&mut self, now: Instant, written: Wrote) {
        self.wait = WAIT;
        self.waits_until = None;
        match written {
            Wrote::Nothing => {}
            Wrote::All => self.take_token(now),
            // A full one is as good as many small ones.
            Wrote::More => self.changed_at = Some(now - GATHER),
        }
    }

    /// It could not be written.
    pub fn handle_failure(&mut self, now: Instant) {
        self.changed_at.get_or_insert(now);
        self.waits_until = Some(now + self.wait);
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    fn take_token(&mut self, now: Instant) {
        if self.tokens == BURST {
            self.counted_at = now;
        }
        self.tokens = self.tokens.saturating_sub(1);
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// There was nothing to write.
    Nothing,
    /// All there was.
    All,
    /// As much as fits; there is more.
    More,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, in milliseconds, while a change came every so often.
    fn written(every: Duration, changes: u32) -> Vec<u128> {
        let begin = Instant::now();
        let mut sending = Sending::new(begin);
        sending.handle_link(true);
        assert!(sending.poll(begin + GATHER));
        sending.handle_written(begin + GATHER, Wrote::Nothing);
        let mut written = Vec::new();
        for change in 0..changes {
            let until = begin + every * (change + 1);
            while let Some(at) = sending.poll_timeout().filter(|at| *at < until) {
                assert!(sending.poll(at));
                sending.handle_written(at, Wrote::All);
                written.push((at - begin).as_millis());
            }
            sending.handle_change(until);
        }
        written
    }

    #[test]
    fn changes_that_come_alone_go_at_once() {
        let times = written(Duration::from_secs(3), 100);
        assert_eq!(times.len(), 99);
        assert!(times.iter().all(|at| at % 3000 == 10), "{times:?}");
    }

    #[test]
    fn a_few_at_work_go_at_once_too() {
        let times = written(Duration::from_millis(200), 15);
        // The last change comes when it is over.
        assert_eq!(times.len(), 14);
        assert!(times.iter().all(|at| at % 200 == 10), "{times:?}");
    }

    #[test]
    fn many_go_together() {
        let times = written(Duration::from_millis(20), 6000);
        // Two minutes: the burst, and then one every two seconds.
        assert!((60..=80).contains(&times.len()), "{}", times.len());
        let last: Vec<u128> = times.windows(2).map(|it| it[1] - it[0]).collect();
        assert!(
            last[30..].iter().all(|gap| (2000..2050).contains(gap)),
            "{last:?}"
        );
    }

    #[test]
    fn what_is_full_is_followed_at_once() {
        let begin = Instant::now();
        let mut sending = Sending::new(begin);
        sending.handle_link(true);
        let mut now = begin + GATHER;
        for _ in 0..100 {
            assert!(sending.poll(now));
            sending.handle_written(now, Wrote::More);
            now += Duration::from_millis(1);
        }
        assert!(sending.poll(now));
        sending.handle_written(now, Wrote::All);
        assert_eq!(sending.poll_timeout(), None);
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_new_link_does_not() {
        let mut now = Instant::now();
        let mut sending = Sending::new(now);
        assert_eq!(sending.poll_timeout(), None, "there is no link");
        sending.handle_link(true);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let at = sending.poll_timeout().expect("to be written");
            waits.push((at - now).as_millis());
            now = at;
            assert!(sending.poll(now));
            sending.handle_failure(now);
        }
        assert_eq!(
            waits,
            [10, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000]
        );
        sending.handle_link(false);
        assert!(!sending.poll(now + WAIT_MAX));
        sending.handle_link(true);
        assert!(sending.poll(now + GATHER));
    }
}
