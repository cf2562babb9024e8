//! Begins with what is published, where reading all logs would take longer or
//! they do not reach back so far.

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::manifest::Snapshot;
use ginnel_store::transfer::State;
use tracing::info;

use super::KnowledgeSync;
use crate::sync::Changes;
use crate::sync::failure::Failure;

/// Downloads the published database, going on where it broke off, and takes it
/// over.
pub(super) async fn begin(sync: &KnowledgeSync, snapshot: &Snapshot) -> Result<(), Failure> {
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
    sync.parts.store.take_over(place).await?;
    info!("what was published is here, the rest follows from the logs");
    Ok(())
}
