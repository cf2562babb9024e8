//! The logs: batches written once, read, and listed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use ginnel_proto::sync::batch::OBJECT_MAX;
use ginnel_proto::sync::listing::{LISTED_MAX, Logs};
use ginnel_proto::sync::manifest::Manifest;

use super::Knowledge;
use crate::objects::error::{ErrorKind, Result};
use crate::objects::layout::KnowledgePlace;
use crate::objects::read::Opened;
use crate::sync::declined::Declined;

/// When a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// By this request.
    Now,
    /// Before: perhaps by a request of this device whose answer was lost. It will
    /// read what is there.
    Before,
}

impl Knowledge {
    /// Writes a batch to the device's log.
    pub(super) async fn write(
        &self,
        device: &DeviceId,
        epoch: u64,
        sequence: u64,
        batch: Bytes,
    ) -> std::result::Result<Written, Declined> {
        if sequence == 0 || sequence > i64::MAX.cast_unsigned() {
            return Err(Declined::new(Code::BadRequest, "batches count from 1"));
        }
        let key = KnowledgePlace::of(&device.user).batch(epoch, &device.device, sequence);
        let written = match self.bucket.create(&key, batch).await {
            Ok(_) => Written::Now,
            Err(error) if error.kind() == ErrorKind::Changed => Written::Before,
            Err(error) => return Err(error.into()),
        };
        // Looked at last: what is in the log before another epoch begins is found
        // by whoever begins it, and what comes later is sent again.
        let (manifest, _) = self.manifest(&device.user).await?;
        match manifest.epoch {
            now if now == epoch => Ok(written),
            now => {
                // Nothing stays that was erased, or is not encrypted as it has to be, also
                // if an earlier request could not look any more. What may belong to what
                // the epoch began with is read first.
                let is_in_base = manifest.base.as_ref().is_some_and(|it| it.epoch == epoch);
                let is_to_go = manifest.erases(epoch) || manifest.uncovers(epoch) && !is_in_base;
                if written == Written::Now || is_to_go {
                    self.bucket.delete(&key).await?;
                }
                let what = format_args!("another epoch began meanwhile, epoch={now}");
                Err(Declined::new(Code::Conflict, what))
            }
        }
    }

    /// A batch of a device of the user, which is yet to be read.
    pub(super) async fn batch(
        &self,
        user: &UserName,
        epoch: u64,
        device: &DeviceName,
        sequence: u64,
    ) -> std::result::Result<Opened, Declined> {
        let key = KnowledgePlace::of(user).batch(epoch, device, sequence);
        match self.bucket.open(&key, OBJECT_MAX).await? {
            Some(opened) => Ok(opened),
            None => Err(Declined::new(
                Code::NoArtifact,
                format_args!("there is no such batch, device={device}, sequence={sequence}"),
            )),
        }
    }

    /// The batches of every log behind those that the asker knows: of each the first
    /// ones, and whose logs go on.
    pub(super) async fn list(
        &self,
        user: &UserName,
        manifest: &Manifest,
        epoch: u64,
        known: &BTreeMap<DeviceName, u64>,
    ) -> Result<Logs> {
        let place = KnowledgePlace::of(user);
        let mut listing = Logs {
            epoch,
            key: manifest.key(),
            logs: BTreeMap::new(),
            more: BTreeSet::new(),
        };
        for folder in self.bucket.folders(&place.logs(epoch)).await? {
            // What is no device's does not belong there.
            let device = folder.filename().and_then(|name| name.parse().ok());
            let Some(device): Option<DeviceName> = device else {
                continue;
            };
            let known = known.get(&device).copied().unwrap_or_default();
            let after = place.batch(epoch, &device, known);
            let listed = self.bucket.list_after(&place.log(epoch, &device), &after);
            let mut listed = std::pin::pin!(listed);
            let mut first = BTreeSet::new();
            while let Some(object) = listed.try_next().await? {
                first.extend(KnowledgePlace::sequence(&object.key));
                if first.len() > LISTED_MAX {
                    listing.more.insert(device.clone());
                    first.pop_last();
                    if self.bucket.lists_in_order() {
                        break;
                    }
                }
            }
            listing.logs.insert(device, first.into_iter().collect());
        }
        Ok(listing)
    }
}
