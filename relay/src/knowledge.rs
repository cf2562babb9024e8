//! What a user's devices know: their logs in the bucket, and who is told of
//! what is new there.
//!
//! * [`serve`] answers what devices ask.
//! * [`log`] keeps batches, each once and for ever.
//! * [`head`] says how long the logs are, in one small object.
//!
//! Each device writes its own log and nothing else, so relays need not agree on
//! anything: any number of them serve one bucket, and any may die. What is in a
//! batch they do not look at.

mod head;
mod log;
pub mod serve;

use std::sync::Arc;

use ginnel_proto::id::UserName;
use tokio::sync::Semaphore;

use self::head::Heads;
use crate::objects::Bucket;
use crate::sync::shares::Shares;

/// Requests at once, of all users and of one. A device has one or two.
const REQUESTS_MAX: usize = 128;
const REQUESTS_OF_USER_MAX: usize = 32;

/// Memory for batches under way, in MiB, and what one may take.
const MEMORY_MAX: usize = 72;

/// What the relay needs for knowledge.
#[derive(Debug)]
pub struct Knowledge {
    bucket: Bucket,
    heads: Heads,
    requests: Shares,
    memory: Arc<Semaphore>,
}

impl Knowledge {
    /// Keeps the logs in this bucket.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self {
            heads: Heads::new(bucket.clone()),
            bucket,
            requests: Shares::new(REQUESTS_MAX, REQUESTS_OF_USER_MAX),
            memory: Arc::new(Semaphore::new(MEMORY_MAX)),
        }
    }

    /// Which epoch a user's devices write in.
    #[expect(clippy::unused_self, reason = "the manifest will say so")]
    fn epoch(&self, _user: &UserName) -> u64 {
        1
    }
}
