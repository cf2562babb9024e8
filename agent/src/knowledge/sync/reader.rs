//! Reads the logs of the user's other devices.

mod beginning;
mod fetching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ginnel_proto::control::News;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::listing::Logs;
use ginnel_proto::sync::reading::{Ask, Place, Reading};
use ginnel_proto::sync::seal::Key;
use ginnel_store::sync::NOT_READ;
use http::HeaderValue;
use tokio::time::{sleep, sleep_until};
use tracing::debug;

use super::relay::{Relay, Words};
use super::status::Task;
use super::{Epoch, KnowledgeSync, RETRY, garbage, lost, now};
use crate::sync::failure::Failure;

pub(super) struct Reader {
    sync: KnowledgeSync,
    /// The tag of the head that was looked at last.
    head: Option<HeaderValue>,
    /// By how much the clock was corrected last, milliseconds.
    corrected: Option<i64>,
    /// The epoch that the relay named last.
    epoch: Option<Epoch>,
    /// Nothing is written until all logs are read.
    holds_back: bool,
    /// The same, for this device joins the others then. Deletions until this stamp
    /// nobody can tell it.
    joins: Option<Hlc>,
    /// Up to this batch of its own log this device has seen to what was lost.
    sent_again: u64,
    /// What this device held back for is read, and logs are to be listed again.
    has_heard_all: bool,
    /// What is published and cannot be taken over, and why.
    refused: Option<(beginning::Published, String)>,
    /// How often in a row what is published could not be had, though it would help.
    not_helped: u32,
}

/// A clock is corrected anew when it is off by more than so many milliseconds.
const OFF_MAX_MS: u64 = 250;

impl Reader {
    pub(super) fn new(sync: KnowledgeSync) -> Self {
        Self {
            sync,
            head: None,
            corrected: None,
            epoch: None,
            holds_back: false,
            joins: None,
            sent_again: 0,
            has_heard_all: false,
            refused: None,
            not_helped: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut link = self.sync.parts.relay.clone();
        let mut heard = self.sync.parts.heard.subscribe();
        let mut paused = self.sync.shared.paused.subscribe();
        let shared = Arc::clone(&self.sync.shared);
        let mut reading = self.begin_at_last().await;
        reading.handle_link(self.sync.relay().is_some(), now());
        loop {
            let mut look = std::pin::pin!(shared.now.notified());
            look.as_mut().enable();
            let news = heard.borrow_and_update().news.clone();
            // Of another epoch the next look at the head tells.
            let number = self.number();
            let of_now = |news: &&News| Some(news.epoch) == number;
            for news in news.values().filter(of_now) {
                reading.handle_news(&news.device, news.sequence);
            }
            let (behind, within_reach) = (reading.behind(), reading.within_reach());
            self.sync.shared.progress.set_behind(behind, within_reach);
            self.join_others(&reading).await;
            if self.holds_back && within_reach == 0 && !self.has_heard_all {
                self.has_heard_all = true;
                reading.list_now(now());
            }
            self.let_write();
            let due = reading.poll_timeout(now());
            tokio::select! {
                biased;
                Ok(()) = link.changed() => {
                    link.borrow_and_update();
                    self.follow_link(&mut reading);
                }
                Ok(()) = paused.changed() => {
                    paused.borrow_and_update();
                    self.follow_link(&mut reading);
                }
                () = &mut look => reading.look_now(now()),
                Ok(()) = heard.changed() => {
                    // The relay may say only now that it keeps logs.
                    if due.is_none() {
                        reading.handle_link(self.sync.relay().is_some(), now());
                    }
                }
                () = sleep_until(due.unwrap_or_else(now).into()), if due.is_some() => {
                    self.ask(&mut reading).await;
                }
            }
        }
    }

    /// With a new link all is looked at before anything is written: this device
    /// may have been away for long.
    fn follow_link(&mut self, reading: &mut Reading) {
        self.head = None;
        self.leave_epoch();
        reading.handle_link(self.sync.relay().is_some(), now());
    }

    /// Goes on where the store is.
    async fn begin(&self) -> Result<Reading, Failure> {
        let peers = self.sync.parts.store.peers().await?;
        let peers = peers.into_iter().map(|peer| {
            // Behind one that was left out it is not known.
            let hash = Some(peer.hash).filter(|hash| *hash != NOT_READ);
            let sequence = peer.sequence;
            (peer.device, Place { sequence, hash })
        });
        let own = self.sync.device().clone();
        Ok(Reading::new(own, peers.collect(), now()))
    }

    /// The same at the start, whatever is in the way of it for now.
    async fn begin_at_last(&self) -> Reading {
        let progress = &self.sync.shared.progress;
        loop {
            match self.begin().await {
                Ok(reading) => {
                    progress.well(Task::Begin);
                    return reading;
                }
                Err(failure) => progress.fail(Task::Begin, &failure),
            }
            sleep(RETRY).await;
        }
    }

    async fn ask(&mut self, reading: &mut Reading) {
        let Some(ask) = reading.poll(now()) else {
            return;
        };
        let Some(relay) = self.sync.relay() else {
            return reading.handle_link(false, now());
        };
        let done = match &ask {
            Ask::List => self.list(&relay, reading).await,
            Ask::Head => self.look(&relay, reading).await,
            Ask::Fetch { device, sequence } => self.fetch(&relay, reading, device, *sequence).await,
        };
        match done {
            Ok(()) => {}
            Err(failure) => {
                debug!(%failure, ?ask, "cannot read the logs; trying again");
                let task = match ask {
                    Ask::List => Task::List,
                    Ask::Head => Task::Look,
                    Ask::Fetch { .. } => Task::Read,
                };
                self.sync.shared.progress.fail(task, &failure);
                reading.handle_failure(&ask, now());
            }
        }
    }

    async fn list(&mut self, relay: &Relay, reading: &mut Reading) -> Result<(), Failure> {
        self.correct_clock().await?;
        self.follow_own(reading).await?;
        let store = self.sync.parts.store.clone();
        let mut read = places(reading);
        let asked = lost::behind(self.sync.device(), &read);
        let mut listed = relay.logs(&asked).await?;
        let key = self.unlock(&listed).await?;
        if self.number() != Some(listed.epoch) {
            self.leave_epoch();
        }
        let words = relay.words().await?;
        let begun = self.begin_anew(relay, &read, &listed, &words, key.as_ref());
        let has_begun = begun.await?;
        if has_begun {
            self.leave_epoch();
            *reading = self.begin().await?;
            reading.handle_link(true, now());
            self.sent_again = 0;
            read = places(reading);
            let before = (listed.epoch, listed.key);
            listed = relay.logs(&read).await?;
            if (listed.epoch, listed.key) != before {
                return Err(Failure::retry("another epoch began meanwhile"));
            }
        } else if store.epoch().await?.map(|known| known.number) == Some(listed.epoch) {
            let written = read.get(self.sync.device()).copied().unwrap_or_default();
            let own = listed.logs.get(self.sync.device());
            let own = own.map_or(&[][..], |own| own);
            let again = (written, own, self.sent_again);
            self.sent_again = lost::write_again(&self.sync, relay, listed.epoch, again).await?;
        }
        let epoch = Epoch {
            number: listed.epoch,
            key,
        };
        store.set_epoch(epoch.known()).await?;
        let quarantined = store.quarantined().await?;
        let left_out = quarantined.into_iter().filter(|it| {
            let read = read.get(&it.device);
            read.is_some_and(|read| *read >= it.sequence)
        });
        reading.look_again(left_out.map(|it| (it.device, it.sequence)));
        reading.handle_list(&listed.logs, &listed.more, now());
        self.has_heard_all = false;
        // Others may have forgotten what this device has not heard of: it hears
        // everything before it says something, and is silent for them until then.
        self.holds_back =
            !has_begun && is_silent(&words, self.sync.device()) && reading.within_reach() > 0;
        if self.holds_back {
            self.epoch = Some(epoch);
            self.tell_listed(reading);
            return Ok(());
        }
        // From here on others wait for this device with what they let go: before it
        // writes anything.
        let said = garbage::say(&self.sync, relay, listed.epoch).await?;
        let heard = relay.words().await?;
        if store.is_new().await? {
            let others = heard.words.values();
            let gone = others.map(|word| word.gone).max();
            self.joins = Some(gone.unwrap_or_default());
        }
        self.epoch = Some(epoch);
        self.tell_listed(reading);
        if let Err(failure) = garbage::collect(&self.sync, relay, &said, &heard).await {
            debug!(%failure, "nothing is tidied up now");
        }
        Ok(())
    }

    /// All logs are listed, and what is new in them is known before that is said.
    fn tell_listed(&self, reading: &Reading) {
        let progress = &self.sync.shared.progress;
        progress.set_behind(reading.behind(), reading.within_reach());
        progress.listed();
    }

    /// Nothing is read or written until it is known in which epoch, and all is there
    /// that it begins with.
    fn leave_epoch(&mut self) {
        self.epoch = None;
        self.let_write();
    }

    /// Lets others know the rows of a device that is new among them, once it knows
    /// theirs.
    async fn join_others(&mut self, reading: &Reading) {
        let (Some(gone), Some(_)) = (self.joins, &self.epoch) else {
            return;
        };
        // What has to wait for an upgrade must not keep this device from writing.
        if reading.within_reach() > 0 {
            return;
        }
        match self.sync.parts.store.join(gone).await {
            Ok(()) => {
                self.joins = None;
                self.sync.shared.progress.well(Task::Join);
            }
            Err(error) => self.sync.shared.progress.fail(Task::Join, &error),
        }
    }

    /// The key with which all is encrypted. Without it nothing is read or written.
    async fn unlock(&mut self, listed: &Logs) -> Result<Option<Key>, Failure> {
        let key = self.sync.key_for(listed.key).await;
        let locked = &self.sync.shared.locked;
        locked.store(key.is_err(), Ordering::Relaxed);
        if key.is_err() {
            self.epoch = None;
        }
        key
    }

    fn number(&self) -> Option<u64> {
        self.epoch.as_ref().map(|epoch| epoch.number)
    }

    /// Tells the writer in which epoch to write, once it may.
    fn let_write(&mut self) {
        let waits = self.holds_back || self.joins.is_some();
        let epoch = self.epoch.as_ref().filter(|_| !waits);
        self.sync.shared.epoch.send_if_modified(|known| {
            let is_new = known.as_ref() != epoch;
            if is_new {
                *known = epoch.cloned();
            }
            is_new
        });
    }

    /// What this device wrote meanwhile need not be read. If its log is longer
    /// than that, its store was lost, or is of before.
    async fn follow_own(&self, reading: &mut Reading) -> Result<(), Failure> {
        let peers = self.sync.parts.store.peers().await?;
        let own = peers.iter().find(|peer| peer.device == *self.sync.device());
        let own = own.map_or_else(Place::default, |own| Place {
            sequence: own.sequence,
            hash: Some(own.hash),
        });
        reading.handle_own(own);
        Ok(())
    }

    async fn look(&mut self, relay: &Relay, reading: &mut Reading) -> Result<(), Failure> {
        self.correct_clock().await?;
        match relay.head(self.head.as_ref()).await? {
            None => reading.handle_head(&BTreeMap::new(), now()),
            // Of before the first batch, or of another epoch than was listed.
            Some((head, _)) if self.number().is_some_and(|epoch| head.epoch != epoch) => {
                reading.handle_head(&BTreeMap::new(), now());
                if self.number() < Some(head.epoch) {
                    reading.look_now(now());
                }
            }
            Some((head, etag)) => {
                reading.handle_head(&head.devices, now());
                self.head = etag;
            }
        }
        self.sync.shared.progress.well(Task::Look);
        Ok(())
    }

    /// The relay's clock is the one that counts.
    async fn correct_clock(&mut self) -> Result<(), Failure> {
        let Some(offset) = (self.sync.parts.clock_offset)() else {
            return Ok(());
        };
        let is_near = |corrected: i64| corrected.abs_diff(offset) <= OFF_MAX_MS;
        if !self.corrected.is_some_and(is_near) {
            self.sync.parts.store.correct_clock(offset).await?;
            self.corrected = Some(offset);
        }
        Ok(())
    }
}

/// Whether others do not wait for this device any more.
fn is_silent(words: &Words, device: &DeviceName) -> bool {
    let word = words.words.get(device);
    word.is_some_and(|word| word.is_silent(words.unix_ms))
}

/// How far each log has been read.
fn places(reading: &Reading) -> BTreeMap<DeviceName, u64> {
    let read = reading.read();
    read.map(|(device, sequence)| (device.clone(), sequence))
        .collect()
}
