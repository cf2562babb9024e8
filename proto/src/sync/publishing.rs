//! When a device publishes: pure.
//!
//! Other devices do not need it, they read logs. It is for new ones, for people
//! with stock tools, and for logs to end somewhere. So it is done when much has
//! changed, or when a while has passed after the last change.

use std::time::{Duration, Instant};

/// Two publications are so far apart at least.
pub const APART: Duration = Duration::from_secs(60);

/// So long after the last change, all is published.
pub const REST: Duration = Duration::from_secs(15 * 60);

/// Bytes of batches that are published without waiting for rest.
pub const MUCH: u64 = 8 << 20;

/// And of what part of all, in percent.
const MUCH_PERCENT: u64 = 5;

/// How long a failed attempt waits: at first, and at most. It doubles.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// When to publish.
#[derive(Debug)]
pub struct Publishing {
    linked: bool,
    /// When something last changed that is not published.
    changed_at: Option<Instant>,
    /// Bytes of batches that are not published.
    unpublished: u64,
    /// Bytes of all that is.
    published: u64,
    /// Not before.
    not_before: Instant,
    wait: Duration,
    /// A person wants it now.
    wanted: bool,
}

impl Publishing {
    /// Something may have changed since it was last published.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            linked: false,
            changed_at: Some(now),
            unpublished: 0,
            published: 0,
            not_before: now,
            wait: WAIT,
            wanted: false,
        }
    }

    /// There is a link, or none any more.
    pub fn handle_link(&mut self, linked: bool) {
        self.linked = linked;
    }

    /// A batch of so many bytes was written or read.
    pub fn handle_batch(&mut self, now: Instant, bytes: u64) {
        self.changed_at = Some(now);
        self.unpublished = self.unpublished.saturating_add(bytes);
    }

    /// A person wants it now.
    pub fn want(&mut self, now: Instant) {
        self.wanted = true;
        self.not_before = now;
    }

    /// All was published that there was, as so many bytes.
    pub fn handle_published(&mut self, now: Instant, bytes: u64) {
        self.changed_at = None;
        self.unpublished = 0;
        self.published = bytes;
        self.not_before = now + APART;
        self.wait = WAIT;
        self.wanted = false;
    }

    /// It could not be done, or another device does it.
    pub fn handle_failure(&mut self, now: Instant) {
        self.not_before = now + self.wait;
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    /// When to publish; `None` if nothing changed, or there is no link.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.linked {
            return None;
        }
        if self.wanted {
            return Some(self.not_before);
        }
        let changed_at = self.changed_at?;
        let share = self.published / 100 * MUCH_PERCENT;
        let is_much = self.unpublished > MUCH || (self.published > 0 && self.unpublished > share);
        let at = match is_much {
            true => changed_at,
            false => changed_at + REST,
        };
        Some(at.max(self.not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(now: Instant) -> Publishing {
        let mut publishing = Publishing::new(now);
        assert_eq!(publishing.poll_timeout(), None);
        publishing.handle_link(true);
        publishing
    }

    #[test]
    fn a_few_changes_wait_for_rest() {
        let now = Instant::now();
        let mut publishing = linked(now);
        publishing.handle_batch(now, 1_000);
        assert_eq!(publishing.poll_timeout(), Some(now + REST));
        let later = now + Duration::from_secs(60);
        publishing.handle_batch(later, 1_000);
        assert_eq!(publishing.poll_timeout(), Some(later + REST));
        publishing.handle_published(later + REST, 1 << 30);
        assert_eq!(publishing.poll_timeout(), None);
    }

    #[test]
    fn many_do_not_but_once_a_minute_is_enough() {
        let now = Instant::now();
        let mut publishing = linked(now);
        publishing.handle_batch(now, MUCH + 1);
        assert_eq!(publishing.poll_timeout(), Some(now));
        publishing.handle_published(now, 1_000_000);
        publishing.handle_batch(now, 50_000);
        assert_eq!(publishing.poll_timeout(), Some(now + REST));
        publishing.handle_batch(now, 1);
        assert_eq!(publishing.poll_timeout(), Some(now + APART));
    }

    #[test]
    fn failures_wait_and_a_person_does_not() {
        let now = Instant::now();
        let mut publishing = linked(now);
        publishing.handle_batch(now, MUCH + 1);
        publishing.handle_failure(now);
        assert_eq!(publishing.poll_timeout(), Some(now + WAIT));
        publishing.handle_failure(now);
        assert_eq!(publishing.poll_timeout(), Some(now + 2 * WAIT));
        publishing.want(now);
        assert_eq!(publishing.poll_timeout(), Some(now));
        publishing.handle_published(now, 1);
        publishing.want(now);
        assert_eq!(publishing.poll_timeout(), Some(now), "without a change too");
    }
}
