//! What devices say of how far they are.

use std::collections::BTreeMap;

use futures_util::stream::TryStreamExt as _;
use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use ginnel_proto::sync::horizon::{WORD_MAX, Word};
use tracing::warn;

use super::Knowledge;
use crate::objects::error::Result;
use crate::objects::layout::KnowledgePlace;
use crate::sync::declined::Declined;

/// Words that are read at once.
const READS: usize = 16;

impl Knowledge {
    /// Keeps what a device says, with the time.
    pub(super) async fn hear(
        &self,
        device: &DeviceId,
        word: Word,
    ) -> std::result::Result<(), Declined> {
        let key = KnowledgePlace::of(&device.user).word(&device.device);
        let word = Word {
            unix_ms: self.now_ms(),
            ..word
        };
        let bytes = serde_json::to_vec(&word).unwrap_or_default();
        if bytes.len() > WORD_MAX {
            // It would keep all devices from reading the words of any.
            let what = format_args!(
                "the word is too long, bytes={}, most={WORD_MAX}; hint: a user has 300 devices at most",
                bytes.len()
            );
            return Err(Declined::new(Code::BadRequest, what));
        }
        self.bucket.write(&key, bytes.into()).await?;
        Ok(())
    }

    /// What all devices of a user said last.
    pub(super) async fn words(&self, user: &UserName) -> Result<BTreeMap<DeviceName, Word>> {
        let listed = self.bucket.list(&KnowledgePlace::of(user).words());
        let words = listed
            .try_filter_map(|object| {
                let name = object
                    .key
                    .filename()
                    .and_then(|it| it.strip_suffix(".json"));
                let device: Option<DeviceName> = name.and_then(|name| name.parse().ok());
                std::future::ready(Ok(device.map(|device| (device, object.key))))
            })
            .map_ok(|(device, key)| async move {
                let small = self.bucket.read(&key, WORD_MAX).await?;
                Ok(small.map(|small| {
                    // Who cannot be understood is waited for, from the beginning.
                    let word = serde_json::from_slice(&small.bytes).unwrap_or_else(|error| {
                        warn!(%key, %error, "a device's word cannot be read");
                        Word {
                            unix_ms: self.now_ms(),
                            ..Word::default()
                        }
                    });
                    (device, word)
                }))
            })
            .try_buffered(READS);
        words
            .try_filter_map(|word| std::future::ready(Ok(word)))
            .try_collect()
            .await
    }
}
