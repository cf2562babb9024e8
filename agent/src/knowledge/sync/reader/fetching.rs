//! Fetches a batch, and does with it what is right.

use bytes::Bytes;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::{BatchPlace, decode};
use ginnel_proto::sync::reading::{Reading, Verdict};
use ginnel_store::error::ErrorKind;
use tracing::warn;

use super::Reader;
use crate::knowledge::sync::relay::Relay;
use crate::knowledge::sync::{Epoch, now};
use crate::sync::failure::Failure;

impl Reader {
    pub(super) async fn fetch(
        &self,
        relay: &Relay,
        reading: &mut Reading,
        device: &DeviceName,
        sequence: u64,
    ) -> Result<(), Failure> {
        let Some(Epoch { number, key }) = self.epoch.clone() else {
            return Err(Failure::retry("the epoch is not known yet"));
        };
        let place = BatchPlace {
            user: self.sync.user().clone(),
            epoch: number,
            device: device.clone(),
            sequence,
        };
        let bytes = relay.batch(number, device, sequence).await?;
        let length = bytes.as_ref().map_or(0, Bytes::len);
        let reading_it = move || {
            let batch = |object| decode(&place.uncover(key.as_ref(), &object)?, &place);
            bytes.map(batch)
        };
        let fetched = self.sync.parts.store.apart(reading_it).await?;
        let relay_ms = self.sync.relay_ms();
        let verdict = reading.judge(device, sequence, fetched.as_ref(), now(), relay_ms);
        let store = &self.sync.parts.store;
        match (verdict, fetched) {
            (Verdict::Apply, Some(Ok(batch))) => {
                let hash = batch.hash;
                match store.apply(batch).await {
                    Ok(applied) => {
                        reading.handle_applied(device, sequence, hash);
                        self.sync.shared.progress.read(length, applied.taken);
                        Ok(())
                    }
                    Err(error) if error.kind() == ErrorKind::Invalid => {
                        self.leave_out(reading, device, sequence, error.to_string())
                            .await
                    }
                    Err(error) => Err(error.into()),
                }
            }
            (Verdict::Again | Verdict::Apply, _) => Ok(()),
            (Verdict::Hold(reason), _) => {
                warn!(%device, sequence, reason, "a batch cannot be applied yet");
                Ok(store.quarantine(device.clone(), sequence, reason).await?)
            }
            (Verdict::LeaveOut(reason), _) => {
                self.leave_out(reading, device, sequence, reason).await
            }
        }
    }

    async fn leave_out(
        &self,
        reading: &mut Reading,
        device: &DeviceName,
        sequence: u64,
        reason: String,
    ) -> Result<(), Failure> {
        warn!(%device, sequence, reason, "a batch is left out");
        let store = &self.sync.parts.store;
        store.quarantine(device.clone(), sequence, reason).await?;
        store.skip(device.clone(), sequence).await?;
        reading.handle_left_out(device, sequence);
        Ok(())
    }
}
