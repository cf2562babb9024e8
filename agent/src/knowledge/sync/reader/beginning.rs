//! Begins with what is published, where a device has to.

use std::collections::BTreeMap;

use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::beginning::{Beginning, Known};
use ginnel_proto::sync::listing::Logs;
use ginnel_proto::sync::manifest::Manifest;
use ginnel_proto::sync::seal::Key;
use tracing::warn;

use super::{Reader, is_silent};
use crate::knowledge::sync::bootstrap;
use crate::knowledge::sync::relay::{Relay, Words};
use crate::sync::failure::{Failure, Then};

/// How often a published database is asked for that would help, before logs are read
/// without it. It is asked for again with each listing.
const HELP_TRIES: u32 = 3;

impl Reader {
    /// Begins with what is published, where this device has to. Tells whether it did.
    pub(super) async fn begin_anew(
        &mut self,
        relay: &Relay,
        read: &BTreeMap<DeviceName, u64>,
        listed: &Logs,
        words: &Words,
        key: Option<&Key>,
    ) -> Result<bool, Failure> {
        let store = &self.sync.parts.store;
        let known = store.epoch().await?;
        let left_out = store.quarantined().await?.into_iter();
        let here = Known {
            epoch: known.map(|known| known.number),
            read: read.clone(),
            left_out: left_out.map(|it| (it.device, it.sequence)).collect(),
            is_silent: is_silent(words, self.sync.device()),
        };
        let manifest = manifest_of(relay, listed).await?;
        match here.begin(listed, &manifest) {
            Beginning::Logs => Ok(false),
            Beginning::Erased => {
                bootstrap::erase(&self.sync, &manifest, key).await?;
                Ok(true)
            }
            Beginning::Anew => {
                self.check_refused(&manifest)?;
                let begun = bootstrap::start_over(&self.sync, relay, &manifest, key, known).await;
                self.note_refused(&manifest, &begun);
                begun.map(|()| true)
            }
            Beginning::Beside { is_needed } => self.take_beside(&manifest, key, is_needed).await,
        }
    }

    /// Takes over what is published beside the rows that are there. Logs are read
    /// without it, as far as they are there. Tells whether it did.
    async fn take_beside(
        &mut self,
        manifest: &Manifest,
        key: Option<&Key>,
        is_needed: bool,
    ) -> Result<bool, Failure> {
        if self.check_refused(manifest).is_err() {
            return Ok(false);
        }
        let merged = bootstrap::merge(&self.sync, manifest, key).await;
        self.note_refused(manifest, &merged);
        match merged {
            Ok(()) => {
                self.not_helped = 0;
                Ok(true)
            }
            Err(failure)
                if failure.then != Then::Give && (is_needed || self.not_helped < HELP_TRIES) =>
            {
                self.not_helped += 1;
                Err(failure)
            }
            Err(failure) => {
                warn!(%failure, "logs are read without what is published");
                Ok(false)
            }
        }
    }

    /// What cannot be taken over is not downloaded and copied again and again.
    fn check_refused(&self, manifest: &Manifest) -> Result<(), Failure> {
        match &self.refused {
            Some((of, reason)) if *of == place_of(manifest) => Err(Failure::retry(reason)),
            _ => Ok(()),
        }
    }

    fn note_refused(&mut self, manifest: &Manifest, begun: &Result<(), Failure>) {
        self.refused = match begun {
            Err(failure) if failure.then == Then::Give => {
                Some((place_of(manifest), failure.reason.clone()))
            }
            _ => None,
        };
    }
}

/// The manifest, if it is of the epoch that was listed.
async fn manifest_of(relay: &Relay, listed: &Logs) -> Result<Manifest, Failure> {
    let manifest = relay.manifest().await?;
    match manifest.epoch == listed.epoch {
        true => Ok(manifest),
        false => Err(Failure::retry("another epoch began meanwhile")),
    }
}

/// What is published, in which epoch.
fn place_of(manifest: &Manifest) -> Published {
    let blob = manifest.snapshot.as_ref().map(|snapshot| snapshot.blob);
    (manifest.epoch, blob)
}

/// An epoch and the BLAKE3 of what is published in it.
pub(super) type Published = (u64, Option<Hash>);
