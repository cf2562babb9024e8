//! What a user's devices know: their logs in the bucket, and who is told of
//! what is new there.
//!
//! * [`serve`] answers what devices ask.
//! * [`log`] keeps batches, each once and for ever.
//! * [`head`] says how long the logs are, in one small object.
//! * [`archive`] keeps what was published for a [`restore`], and lets old logs go.
//! * [`cover`] changes whether all is encrypted.
//! * [`words`] are what devices say of how far they are.
//! * [`lease`] says which device publishes, and [`manifest`] what is published;
//!   [`stale`] takes away what came too late, [`guess`] helps where a manifest is
//!   damaged.
//!
//! Each device writes its own log and nothing else, so relays need not agree on
//! anything: any number of them serve one bucket, and any may die. What is in a
//! batch they do not look at.

mod archive;
mod cover;
mod guess;
mod head;
mod lease;
mod log;
pub mod manifest;
pub mod restore;
pub mod serve;
pub(crate) mod stale;
#[cfg(test)]
mod tests;
mod words;

use ginnel_link::driver::WallClock;

use self::head::Heads;
use crate::objects::Bucket;
use crate::sync::shares::Shares;

/// Requests at once, of all users and of one. A device has one or two.
const REQUESTS_MAX: usize = 128;
const REQUESTS_OF_USER_MAX: usize = 32;

/// Memory for batches under way, in MiB: of all users, and of one. A batch takes nine
/// at most; three of one user can be under way, and two others find room beside them.
const MEMORY_MAX: usize = 81;
const MEMORY_OF_USER_MAX: usize = 27;

/// What the relay needs for knowledge.
pub struct Knowledge {
    bucket: Bucket,
    heads: Heads,
    requests: Shares,
    wall_clock: WallClock,
    memory: Shares,
}

impl Knowledge {
    /// Keeps the logs in this bucket.
    #[must_use]
    pub fn new(bucket: Bucket, wall_clock: WallClock) -> Self {
        Self {
            wall_clock,
            heads: Heads::new(bucket.clone()),
            bucket,
            requests: Shares::new(REQUESTS_MAX, REQUESTS_OF_USER_MAX),
            memory: Shares::new(MEMORY_MAX, MEMORY_OF_USER_MAX),
        }
    }

    fn now_ms(&self) -> u64 {
        (self.wall_clock)()
    }
}

impl std::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knowledge")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}
