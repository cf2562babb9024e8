//! Begins with what is published, where reading all logs would take longer or
//! they do not reach back so far.

use std::collections::BTreeMap;

use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::batch::{BatchPlace, decode};
use ginnel_proto::sync::manifest::{Base, Manifest, Snapshot};
use ginnel_proto::sync::seal::{Key, KeyId};
use ginnel_store::transfer::State;
use tracing::{info, warn};

use super::cover::lacks;
use super::relay::Relay;
use super::{KnowledgeSync, sealed};
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
        // Once something newer is published, these batches may go while they are
        // read.
        let now = relay.manifest().await?;
        if (now.epoch, &now.base) != (manifest.epoch, &manifest.base) {
            return Err(Failure::retry("something newer was published meanwhile"));
        }
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
        for cover in [Cover::Plain, Cover::Sealed] {
            let place = artifacts.place(&Artifact::Knowledge(cover)).await?;
            let removed = tokio::task::spawn_blocking(move || remove(&place)).await;
            removed.map_err(Failure::retry)?.map_err(Failure::retry)?;
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
    let artifact = Artifact::Knowledge(snapshot.cover());
    let key = match snapshot.key {
        Some(id) => Some(key(sync, id).await?),
        None => None,
    };
    let pulled = artifacts.pull(artifact.clone(), Changes::Replace).await?;
    let pulled = artifacts.end_of(pulled.id).await?;
    if pulled.state != State::Done {
        let reason = pulled
            .last_error
            .unwrap_or_else(|| "it was stopped".to_owned());
        return Err(Failure::retry(reason));
    }
    let place = artifacts.place(&artifact).await?;
    let Some(key) = key else {
        return Ok(place);
    };
    let plain = artifacts.place(&Artifact::Knowledge(Cover::Plain)).await?;
    sealed::open(key, sync.user(), place, plain.clone()).await?;
    Ok(plain)
}

/// A key for what was written before, too.
async fn key(sync: &KnowledgeSync, id: KeyId) -> Result<Key, Failure> {
    let keys = sync.read_keys().await?;
    keys.any(id).cloned().ok_or_else(|| lacks(id))
}

/// Removes a database and what SQLite keeps beside it.
fn remove(place: &std::path::Path) -> std::io::Result<()> {
    for ending in ["", "-journal", "-wal", "-shm"] {
        let mut name = place.as_os_str().to_owned();
        name.push(ending);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Applies what was changed after the snapshot and belongs to what was restored.
async fn read_base(sync: &KnowledgeSync, relay: &Relay, base: &Base) -> Result<(), Failure> {
    let mut read: BTreeMap<_, _> = base.read.clone();
    let mut used = None;
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
                // Usually there is nothing, and no need for a key of before.
                if let (Some(id), None) = (base.key, &used) {
                    used = Some(key(sync, id).await?);
                }
                let batch = place.uncover(used.as_ref(), &bytes);
                match batch.and_then(|batch| decode(&batch, &place)) {
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
