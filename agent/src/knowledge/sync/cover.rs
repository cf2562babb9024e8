//! Whether the relay can read what it keeps. That changes for all of a user's
//! devices at once, with an epoch that begins with a snapshot of the new kind.
//!
//! ```text
//! key file ─▶ lease ─▶ in step ─▶ snapshot, sealed and pushed ─▶ epoch ─▶ begin anew
//! ```
//!
//! The key is on disk before anything is encrypted with it. What breaks off is gone
//! on with by the same command.

use std::time::Duration;

use ginnel_proto::sync::lease::LEASE_FOR;
use ginnel_proto::sync::manifest::Manifest;
use ginnel_proto::sync::seal::{Key, KeyId};
use tokio::time::{Instant, sleep, timeout};

use super::keys::{Keys, generate};
use super::publisher::{keep_lease, push_snapshot, until_in_step};
use super::relay::Relay;
use super::{Epoch, KnowledgeSync};
use crate::sync::failure::Failure;

/// How long this device may take to begin anew, once all is changed: the download
/// of what it has just pushed.
const FOLLOW_WITHIN: Duration = Duration::from_secs(600);

impl KnowledgeSync {
    /// Encrypts all that the relay keeps from now on, with the key of this device
    /// or a new one. Gives which it is.
    ///
    /// # Errors
    /// There is no link, this device does not have the key that is in use, or
    /// something broke off: the same call goes on.
    pub async fn encrypt(&self, new_key: bool) -> Result<KeyId, Failure> {
        let relay = self.linked()?;
        let manifest = relay.manifest().await?;
        let mut keys = self.read_keys().await?;
        if let Some(used) = manifest.key() {
            if keys.current(used).is_none() {
                return Err(lacks(used));
            }
            if !new_key {
                return Ok(used);
            }
        }
        let ready = match new_key {
            false => keys.pending().or_else(|| keys.newest()),
            true => keys.pending(),
        };
        let key = match ready {
            Some(key) => key.clone(),
            None => {
                let key = generate().map_err(Failure::retry)?;
                keys.prepare(key.clone());
                self.write_keys(keys).await?;
                key
            }
        };
        self.change_cover(&relay, Some(key.clone())).await?;
        Ok(key.id())
    }

    /// Encrypts nothing any more. If another device has seen to that, this one
    /// agrees.
    ///
    /// # Errors
    /// As of [`KnowledgeSync::encrypt`].
    pub async fn decrypt(&self) -> Result<(), Failure> {
        let relay = self.linked()?;
        let manifest = relay.manifest().await?;
        match manifest.key() {
            Some(used) if self.read_keys().await?.current(used).is_none() => Err(lacks(used)),
            Some(_) => self.change_cover(&relay, None).await.map(drop),
            None => {
                self.use_only(None).await?;
                self.now();
                Ok(())
            }
        }
    }

    fn linked(&self) -> Result<Relay, Failure> {
        if *self.shared.paused.borrow() {
            return Err(Failure::give("syncing is paused; hint: ginnel sync resume"));
        }
        self.relay().ok_or_else(|| {
            Failure::give("there is no link to a relay that keeps knowledge; hint: ginnel status")
        })
    }

    async fn change_cover(&self, relay: &Relay, key: Option<Key>) -> Result<(), Failure> {
        self.check_nothing_is_held()?;
        until_in_step(self).await?;
        let began = {
            let _turn = self.shared.publishing.lock().await;
            let epoch = self.wait_for_lease(relay).await?;
            tokio::select! {
                began = self.change_leased(relay, key.clone()) => began?,
                lost = keep_lease(relay, epoch) => return Err(lost),
            }
        };
        self.use_only(key.map(|key| key.id())).await?;
        let mut epoch = self.shared.epoch.subscribe();
        self.now();
        let follows =
            epoch.wait_for(|now| now.as_ref().is_some_and(|now| now.number >= began.epoch));
        match timeout(FOLLOW_WITHIN, follows).await {
            Ok(_) => {
                // What was written while all was changed is in the next one.
                self.publish();
                Ok(())
            }
            Err(_) => Err(Failure::give(
                "all is changed, and this device has not begun anew yet; hint: ginnel sync",
            )),
        }
    }

    async fn change_leased(&self, relay: &Relay, key: Option<Key>) -> Result<Manifest, Failure> {
        until_in_step(self).await?;
        let Some(epoch) = self.epoch() else {
            return Err(Failure::give("devices are not in step; hint: ginnel sync"));
        };
        let snapshot = push_snapshot(self, key).await?;
        self.check_nothing_is_held()?;
        relay.cover(epoch.number, &snapshot).await
    }

    /// What has to wait would be in neither what is encrypted nor the logs that go on.
    fn check_nothing_is_held(&self) -> Result<(), Failure> {
        match self.shared.progress.is_held() {
            true => Err(Failure::give(
                "what another device wrote has to wait here, and would be left behind; hint: ginnel sync status says why",
            )),
            false => Ok(()),
        }
    }

    /// Another device may have it, which gives it back by not using it. Gives for
    /// which epoch it is: the one in which this device is.
    async fn wait_for_lease(&self, relay: &Relay) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let taken = match self.epoch() {
                Some(epoch) => relay.take_lease(epoch.number).await,
                None => Err(Failure::give("devices are not in step; hint: ginnel sync")),
            };
            match taken {
                Ok(lease) => return Ok(lease.epoch),
                Err(failure) if began.elapsed() > 2 * LEASE_FOR => return Err(failure),
                Err(_) => sleep(LEASE_TRY).await,
            }
        }
    }

    /// In which epoch to write, and with which key.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.shared.epoch.borrow().clone()
    }

    /// The key with which the relay says that all is encrypted. What it says is not
    /// believed: a device that has a key sends nothing that is plain.
    pub(super) async fn key_for(&self, named: Option<KeyId>) -> Result<Option<Key>, Failure> {
        let keys = self.read_keys().await?;
        match named {
            // All was changed, and this device had no time to note it.
            Some(id) if keys.pending().is_some_and(|key| key.id() == id) => {
                self.use_only(named).await?;
                Ok(keys.pending().cloned())
            }
            Some(id) => {
                let key = keys.current(id).cloned().ok_or_else(|| lacks(id))?;
                // The newest is in use: those before it are believed no more.
                if keys.newest() == Some(&key) {
                    self.use_only(named).await?;
                }
                Ok(Some(key))
            }
            None if keys.newest().is_none() => Ok(None),
            None => Err(Failure::retry(
                "the relay says that nothing is encrypted, and this device has a key; hint: ginnel sync encrypt, or ginnel sync decrypt if that is meant",
            )),
        }
    }

    pub(super) async fn read_keys(&self) -> Result<Keys, Failure> {
        let file = self.parts.keys.clone();
        let read = self.parts.store.apart(move || file.read()).await?;
        read.map_err(Failure::retry)
    }

    async fn write_keys(&self, keys: Keys) -> Result<(), Failure> {
        let file = self.parts.keys.clone();
        let write = self.parts.store.apart(move || file.write(&keys)).await?;
        write.map_err(Failure::retry)
    }

    async fn use_only(&self, id: Option<KeyId>) -> Result<(), Failure> {
        let mut keys = self.read_keys().await?;
        let before = keys.clone();
        keys.use_only(id);
        match keys == before {
            true => Ok(()),
            false => self.write_keys(keys).await,
        }
    }
}

/// How often a lease is tried for that another device has.
const LEASE_TRY: Duration = Duration::from_secs(1);

pub(super) fn lacks(key: KeyId) -> Failure {
    Failure::retry(format_args!(
        "what the relay keeps is encrypted, and this device does not have the key, key={key}; hint: ginnel sync key show on another device, then ginnel sync key enter here"
    ))
}
