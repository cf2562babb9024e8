//! Begins with what is published, where reading all logs would take longer or
//! they do not reach back so far.

use std::collections::BTreeMap;

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::batch::{BatchPlace, decode};
use ginnel_proto::sync::manifest::{Base, Manifest, Snapshot};
use ginnel_store::transfer::State;
use tracing::{info, warn};

use super::KnowledgeSync;
use super::relay::Relay;
use crate::sync::Changes;
use crate::sync::failure::Failure;

/// Takes over what is published, beside the rows that are there.
pub(super) async fn merge(sync: &KnowledgeSync, snapshot: &Snapshot) -> Result<(), Failure> {
    let place = fetch(sync, snapshot).await?;
    sync.parts.store.take_over(place).await?;
    info!("what was published is here, the rest follows from the logs");
    Ok(())
}

/// Takes over what is published instead of the rows that are there, but for what
/// no other device has heard of.
pub(super) async fn start_over(
    sync: &KnowledgeSync,
    relay: &Relay,
    manifest: &Manifest,
) -> Result<(), Failure> {
    let Some(snapshot) = &manifest.snapshot else {
        return Err(Failure::retry("nothing is published to begin with"));
    };
    let place = fetch(sync, snapshot).await?;
    sync.parts.store.start_over(place).await?;
    if let Some(base) = &manifest.base {
        read_base(sync, relay, base).await?;
        sync.parts.store.begin_logs(manifest.epoch).await?;
    }
    info!(epoch = manifest.epoch, "this device has begun anew");
    Ok(())
}

/// Removes everything: it was erased at the relay. What is published since is
/// taken over.
pub(super) async fn erase(sync: &KnowledgeSync, manifest: &Manifest) -> Result<(), Failure> {
    let store = &sync.parts.store;
    store.erase().await?;
    store.begin_logs(manifest.epoch).await?;
    if let Some(artifacts) = sync.parts.artifacts.get() {
        let place = artifacts.place(&Artifact::Knowledge(Cover::Plain)).await?;
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(place)).await;
        match removed.map_err(Failure::retry)? {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::retry(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    warn!("what this device knew was erased, for it was at the relay");
    match &manifest.snapshot {
        Some(snapshot) => merge(sync, snapshot).await,
        None => Ok(()),
    }
}

/// Downloads the published database, going on where it broke off. Gives where it
/// is.
async fn fetch(sync: &KnowledgeSync, snapshot: &Snapshot) -> Result<std::path::PathBuf, Failure> {
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
    artifacts.place(&artifact).await
}

/// Applies what was changed after the snapshot and belongs to what was restored.
async fn read_base(sync: &KnowledgeSync, relay: &Relay, base: &Base) -> Result<(), Failure> {
    let mut read: BTreeMap<_, _> = base.read.clone();
    loop {
        let listed = relay.logs_of(base.epoch, &read).await?;
        let mut batches = 0;
        for (device, sequences) in listed.logs {
            for sequence in sequences {
                batches += 1;
                read.insert(device.clone(), sequence);
                let place = BatchPlace {
                    user: sync.user().clone(),
                    epoch: base.epoch,
                    device: device.clone(),
                    sequence,
                };
                let Some(bytes) = relay.batch(base.epoch, &device, sequence).await? else {
                    continue;
                };
                match decode(&bytes, &place) {
                    Ok(batch) => {
                        let store = &sync.parts.store;
                        store.apply_of_before(batch, base.until_unix_ms).await?;
                    }
                    Err(error) => {
                        warn!(%device, sequence, %error, "a batch of before the restore is left out");
                    }
                }
            }
        }
        if batches == 0 {
            return Ok(());
        }
    }
}
