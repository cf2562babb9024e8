//! Begins with what is published, where reading all logs would take longer or
//! they do not reach back so far.
//!
//! What is published is covered with the key of the epoch, or this device does not
//! take it: nobody without that key can have made it.

use std::path::{Path, PathBuf};

use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::sync::manifest::{Manifest, Snapshot};
use ginnel_proto::sync::seal::Key;
use ginnel_store::error::{Error, ErrorKind};
use ginnel_store::sync::{KnownEpoch, Rest};
use tracing::{info, warn};

use super::base::Base;
use super::relay::Relay;
use super::{INCOMPLETE, KnowledgeSync, moving, sealed};
use crate::sync::Changes;
use crate::sync::failure::Failure;

/// Takes over what is published, beside the rows that are there. Gives up if it
/// cannot be.
pub(super) async fn merge(
    sync: &KnowledgeSync,
    manifest: &Manifest,
    key: Option<&Key>,
) -> Result<(), Failure> {
    // This device may publish, from the same file.
    let _turn = sync.shared.publishing.lock().await;
    let place = fetch(sync, manifest, key).await?;
    let taken = sync.parts.store.take_over(place).await;
    taken.map_err(refusal)?;
    info!("what was published is here, the rest follows from the logs");
    Ok(())
}

/// Takes over what is published instead of the rows that are there, but for what
/// no other device has heard of. `known` is the epoch of before. Gives up if it
/// cannot be.
pub(super) async fn start_over(
    sync: &KnowledgeSync,
    relay: &Relay,
    manifest: &Manifest,
    key: Option<&Key>,
    known: Option<KnownEpoch>,
) -> Result<(), Failure> {
    let base = match &manifest.base {
        Some(base) => Some(Base::find(sync, relay, base, key, known).await?),
        None => None,
    };
    let _turn = sync.shared.publishing.lock().await;
    let place = fetch(sync, manifest, key).await?;
    let rest = match &base {
        Some(_) => Rest::BatchesOfBefore,
        None => Rest::Nothing,
    };
    let started = sync.parts.store.start_over(place, rest).await;
    started.map_err(refusal)?;
    // Batches of before that are left out are told anew.
    forget_incomplete(sync).await?;
    if let Some(base) = base {
        base.read(sync, relay).await?;
        // Once something newer is published, these batches may go while they are
        // read.
        let now = relay.manifest().await?;
        if (now.epoch, &now.base) != (manifest.epoch, &manifest.base) {
            return Err(Failure::retry("something newer was published meanwhile"));
        }
        sync.parts.store.begin_logs(begun(manifest, key)).await?;
    }
    info!(epoch = manifest.epoch, "this device has begun anew");
    Ok(())
}

/// Removes everything: it was erased at the relay. What is published since is
/// taken over.
pub(super) async fn erase(
    sync: &KnowledgeSync,
    manifest: &Manifest,
    key: Option<&Key>,
) -> Result<(), Failure> {
    let artifacts = sync.parts.artifacts.get();
    let artifacts = artifacts.ok_or_else(|| Failure::retry("transfers are not begun yet"))?;
    let turn = sync.shared.publishing.lock().await;
    let store = &sync.parts.store;
    store.erase().await?;
    forget_incomplete(sync).await?;
    let place = artifacts.place(&Artifact::Knowledge(Cover::Plain)).await?;
    let removed = tokio::task::spawn_blocking(move || remove_all_beside(&place)).await;
    removed.map_err(Failure::retry)?.map_err(Failure::retry)?;
    // From here on it is done; before, all of it is done once more.
    store.begin_logs(begun(manifest, key)).await?;
    drop(turn);
    warn!("what this device knew was erased, for it was at the relay");
    match &manifest.snapshot {
        Some(_) => merge(sync, manifest, key).await,
        None => Ok(()),
    }
}

async fn forget_incomplete(sync: &KnowledgeSync) -> Result<(), Failure> {
    let store = &sync.parts.store;
    Ok(store.set_note(INCOMPLETE.to_owned(), String::new()).await?)
}

fn begun(manifest: &Manifest, key: Option<&Key>) -> KnownEpoch {
    KnownEpoch {
        number: manifest.epoch,
        key: key.map(Key::id),
    }
}

/// Downloads the published database, going on where it broke off. Gives where it
/// is.
async fn fetch(
    sync: &KnowledgeSync,
    manifest: &Manifest,
    key: Option<&Key>,
) -> Result<PathBuf, Failure> {
    let snapshot = manifest.snapshot.as_ref();
    let snapshot = snapshot.ok_or_else(|| Failure::retry("nothing is published to begin with"))?;
    if snapshot.key != key.map(Key::id) {
        return Err(Failure::retry(
            "what the relay says is published is not encrypted as all else is, and is not taken",
        ));
    }
    let artifacts = sync.parts.artifacts.get();
    let artifacts = artifacts.ok_or_else(|| Failure::retry("transfers are not begun yet"))?;
    info!(bytes = snapshot.size, "beginning with what is published");
    let artifact = Artifact::Knowledge(snapshot.cover());
    let pulled = artifacts.pull(artifact.clone(), Changes::Replace).await;
    let pulled = pulled.map_err(|failure| Failure::retry(failure.reason))?;
    let pulled = moving::done(sync, artifacts, pulled.id).await?;
    if !is_wanted(manifest, snapshot, pulled.blob) {
        return Err(Failure::retry(
            "what was published was replaced while this device fetched it",
        ));
    }
    let place = artifacts.place(&artifact).await?;
    let Some(key) = key else {
        sealed::clear_beside(place.clone()).await?;
        return Ok(place);
    };
    let plain = artifacts.place(&Artifact::Knowledge(Cover::Plain)).await?;
    sealed::open(key.clone(), sync.user(), place, plain.clone()).await?;
    Ok(plain)
}

/// Whether this is the database to begin with. In the course of an epoch a newer one
/// will do, of a device that has not said so yet; but after a restore it has to be
/// what was restored.
fn is_wanted(manifest: &Manifest, snapshot: &Snapshot, blob: Hash) -> bool {
    manifest.base.is_none() || blob == snapshot.blob
}

/// A database that no try makes any better.
fn refusal(error: Error) -> Failure {
    if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Newer) {
        return Failure::give(format_args!(
            "what is published cannot be taken over: {error}"
        ));
    }
    Failure::retry(error)
}

/// Removes the published database, in each form, and what broke off while it was
/// fetched or made: nothing else is in its folder.
fn remove_all_beside(place: &Path) -> std::io::Result<()> {
    let Some(folder) = place.parent() else {
        return Ok(());
    };
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
