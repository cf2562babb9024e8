//! Begins with what is published, where reading all logs would take longer or
//! they do not reach back so far.

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::manifest::Snapshot;
use ginnel_store::transfer::State;
use tracing::info;

use super::KnowledgeSync;
use crate::sync::Changes;
use crate::sync::failure::Failure;

/// What becomes of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// They are merged with those that are published.
    Merged,
    /// They go, but for what no other device has heard of; in this epoch.
    Replaced(u64),
}

/// Downloads the published database, going on where it broke off, and takes it
/// over.
pub(super) async fn begin(
    sync: &KnowledgeSync,
    snapshot: &Snapshot,
    rows: Rows,
) -> Result<(), Failure> {
    let artifacts = sync.parts.artifacts.get();
    let artifacts = artifacts.ok_or_else(|| Failure::retry("transfers are not begun yet"))?;
    info!(bytes = snapshot.size, "beginning with what is published");
    let artifact = Artifact::Knowledge(Cover::Plain);
    let pulled = artifacts.pull(artifact.clone(), Changes::Replace).await?;
    let pulled = artifacts.end_of(pulled.id).await?;
    if pulled.state != State::Done {
        let reason = pulled
            .last_error
            .unwrap_or_else(|| "it was stopped".to_owned());
        return Err(Failure::retry(reason));
    }
    let place = artifacts.place(&artifact).await?;
    let store = &sync.parts.store;
    match rows {
        Rows::Merged => store.take_over(place).await?,
        Rows::Replaced(epoch) => store.start_over(place, epoch).await?,
    }
    info!("what was published is here, the rest follows from the logs");
    Ok(())
}
