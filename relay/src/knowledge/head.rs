//! Writes heads: at most one in two seconds for a user, whatever is new.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ginnel_proto::id::{DeviceId, UserName};
use ginnel_proto::sync::head::{HEAD_MAX, Head};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::Knowledge;
use crate::objects::error::{ErrorKind, Result};
use crate::objects::layout::KnowledgePlace;
use crate::objects::{Bucket, Etag, Small};

/// How far two writes of one head are apart: buckets take one a second of an
/// object, and another relay may write it too.
const SPACING: Duration = Duration::from_secs(2);

/// How often a write is tried against other relays.
const TRIES: usize = 4;

/// What is yet to be written, of users with devices that are busy.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    bucket: Bucket,
    pending: Arc<Mutex<HashMap<UserName, Head>>>,
}

impl Heads {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self {
            bucket,
            pending: Arc::default(),
        }
    }

    /// A device's log is so long: writes it, soon. What is lost with the relay
    /// readers find in the log.
    pub(super) fn note(&self, device: &DeviceId, epoch: u64, sequence: u64, tasks: &TaskTracker) {
        let news = Head::of(epoch, device.device.clone(), sequence);
        let mut pending = lock(&self.pending);
        if let Some(head) = pending.get_mut(&device.user) {
            head.merge(&news);
            return;
        }
        pending.insert(device.user.clone(), news);
        drop(pending);
        let (heads, user) = (self.clone(), device.user.clone());
        tasks.spawn(async move { heads.write_while_new(user).await });
    }

    /// Writes until nothing is new any more. One task for a user at a time: its
    /// entry in `pending` is the sign.
    async fn write_while_new(&self, user: UserName) {
        let mut written = Head::default();
        loop {
            let head = lock(&self.pending).get(&user).cloned().unwrap_or_default();
            if !written.merge(&head) {
                let mut pending = lock(&self.pending);
                if pending.get(&user).is_none_or(|head| !written.merge(head)) {
                    pending.remove(&user);
                    return;
                }
            }
            if let Err(error) = self.write(&user, &written).await {
                debug!(%error, "cannot write a head; readers will find it in the log");
            }
            sleep(SPACING).await;
        }
    }

    async fn write(&self, user: &UserName, news: &Head) -> Result<()> {
        let key = KnowledgePlace::of(user).head();
        for _ in 0..TRIES {
            let now = self.bucket.read(&key, HEAD_MAX).await?;
            let mut head = now.as_ref().map(decode).unwrap_or_default();
            if !head.merge(news) {
                return Ok(());
            }
            let bytes = serde_json::to_vec(&head).unwrap_or_default();
            if bytes.len() > HEAD_MAX {
                // Nobody could read it again. It is a hint: the logs say the same.
                debug!(%user, bytes = bytes.len(), "a head is too long to be written");
                return Ok(());
            }
            let bytes = bytes.into();
            let written = match &now {
                Some(now) => self.bucket.replace(&key, &now.etag, bytes).await,
                None => self.bucket.create(&key, bytes).await,
            };
            match written {
                Err(error) if error.kind() == ErrorKind::Changed => {}
                written => return written.map(drop),
            }
        }
        Ok(())
    }
}

/// What cannot be read is written anew.
fn decode(small: &Small) -> Head {
    serde_json::from_slice(&small.bytes).unwrap_or_default()
}

impl Knowledge {
    /// Says that an epoch begins: devices look at it every half a minute.
    pub(super) async fn begin_head(&self, user: &UserName, epoch: u64) -> Result<()> {
        let devices = BTreeMap::new();
        let head = Head { epoch, devices };
        let bytes = serde_json::to_vec(&head).unwrap_or_default();
        let key = KnowledgePlace::of(user).head();
        self.bucket.write(&key, bytes.into()).await.map(drop)
    }

    /// A user's head, unless it has the tag that is known; `None` if it has.
    pub(super) async fn head(
        &self,
        user: &UserName,
        known: Option<&Etag>,
    ) -> Result<Option<Option<Small>>> {
        let key = KnowledgePlace::of(user).head();
        let read = match known {
            Some(known) => self.bucket.read_unless(&key, HEAD_MAX, known).await,
            None => self.bucket.read(&key, HEAD_MAX).await,
        };
        match read {
            Err(error) if error.kind() == ErrorKind::Changed => Ok(None),
            read => read.map(Some),
        }
    }
}

/// Nothing under this lock panics half-way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_that_nobody_could_read_is_not_written() {
        let heads = Heads::new(Bucket::memory());
        let user: UserName = "ada".parse().expect("a name");
        let key = KnowledgePlace::of(&user).head();
        let mut head = Head::of(1, "desk".parse().expect("a name"), 1);
        heads.write(&user, &head).await.expect("written");
        let before = heads.bucket.read(&key, HEAD_MAX).await.expect("read");
        for number in 0..2000 {
            let device = format!("device-number-{number}");
            head.devices.insert(device.parse().expect("a name"), number);
        }
        heads.write(&user, &head).await.expect("left");
        let after = heads.bucket.read(&key, HEAD_MAX).await.expect("read");
        assert!(before.is_some());
        assert_eq!(after, before);
    }
}
