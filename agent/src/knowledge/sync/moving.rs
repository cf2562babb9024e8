//! Waits for the published database while it travels.

use std::time::Duration;

use ginnel_store::transfer::{State, Transfer, TransferId};
use tokio::time::{Instant, timeout};

use super::KnowledgeSync;
use crate::sync::Sync;
use crate::sync::failure::Failure;

/// A transfer that brings nothing for so long is not waited for: it goes on by itself
/// when it can, and meanwhile logs are read, and the lease is another device's. A bucket
/// takes less to put a large object together.
const STALLED: Duration = Duration::from_secs(300);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The transfer once it is done.
pub(super) async fn done(
    sync: &KnowledgeSync,
    artifacts: &Sync,
    id: TransferId,
) -> Result<Transfer, Failure> {
    let mut moved = None;
    let mut since = Instant::now();
    loop {
        if let Ok(ended) = timeout(LOOK_EVERY, artifacts.end_of(id)).await {
            let ended = ended?;
            return match ended.state {
                State::Done => Ok(ended),
                State::Queued | State::Running | State::Paused | State::Failed => {
                    Err(why(ended, "it was stopped"))
                }
            };
        }
        if *sync.shared.paused.borrow() {
            return Err(Failure::retry("syncing is paused"));
        }
        let Some(transfer) = artifacts.transfer(id).await? else {
            return Err(Failure::retry("the transfer was cancelled"));
        };
        let now = Some(transfer.progress);
        if now != moved {
            (moved, since) = (now, Instant::now());
        } else if since.elapsed() > STALLED {
            return Err(why(transfer, "it does not go on"));
        }
    }
}

fn why(transfer: Transfer, otherwise: &str) -> Failure {
    let reason = transfer.last_error.as_deref().unwrap_or(otherwise);
    Failure::retry(format_args!(
        "the published database cannot be moved now, {reason}"
    ))
}
