//! What a device reads of the logs of others, and when: pure.
//!
//! ```text
//! link ─▶ list all logs ─▶ fetch what is new ─▶ apply
//! news ───────────────────▶    …                          at once
//! every 30 s ─▶ head ─────▶    …                          if news were lost
//! every 15 min ─▶ list ───▶    …                          if heads were
//! ```
//!
//! A log is read in its order. A batch that is not what it should be is read
//! again a few times, and then left out and reported; what comes behind it is
//! read all the same, since rows do not depend on each other. Left out is not
//! forgotten: each listing looks whether it is whole by now. What is only heard of
//! is a hint; whether a batch is missing, a listing says.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ginnel_blob::hash::Hash;

use self::log::{Log, WAIT, WAIT_MAX};
use super::batch::{BadBatch, Batch};
use super::hlc::AHEAD_MAX;
use super::listing::LISTED_MAX;
use crate::id::DeviceName;

/// How often a head is looked at.
pub const HEAD_EVERY: Duration = Duration::from_secs(30);

/// How often all logs are listed.
pub const LIST_EVERY: Duration = Duration::from_secs(15 * 60);

/// How often a batch is fetched that is missing or damaged, before it is left
/// out: on its way, or in a bucket that is not what it should be for a moment.
const TRIES: u32 = 4;

/// The most batches of a device that were left out and are looked at again after a
/// listing: each is a request.
const AGAIN_MAX: usize = 64;

/// How far a log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The last batch that was read; 0 before the first.
    pub sequence: u64,
    /// What the next one's `previous` should say; `None` behind one that was
    /// left out.
    pub hash: Option<Hash>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// List all logs behind what was read.
    List,
    /// Look at the head.
    Head,
    /// Fetch this batch.
    Fetch {
        /// Of which device.
        device: DeviceName,
        /// Which.
        sequence: u64,
    },
}

/// What to do with a batch that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it, and tell how that went.
    Apply,
    /// Fetch it again later.
    Again,
    /// It waits, and those behind it: report why, until it is applied.
    Hold(String),
    /// Leave it out, and report why.
    LeaveOut(String),
}

/// What is read, and when.
#[derive(Debug)]
pub struct Reading {
    own: DeviceName,
    linked: bool,
    logs: BTreeMap<DeviceName, Log>,
    /// Whose log was read last: the others have their turn before it.
    turn: Option<DeviceName>,
    list_at: Instant,
    /// Nothing was fetched since logs were listed.
    has_listed: bool,
    /// When the rest of a log may be listed.
    more_at: Instant,
    head_at: Instant,
    /// Left out before, and to be looked at again.
    left_out: BTreeSet<(DeviceName, u64)>,
    /// Not before.
    left_out_at: Instant,
    /// The last one of each device that was looked at again.
    looked: BTreeMap<DeviceName, u64>,
    wait: Duration,
}

impl Reading {
    /// The device `own` has read so far.
    #[must_use]
    pub fn new(own: DeviceName, read: BTreeMap<DeviceName, Place>, now: Instant) -> Self {
        let logs = read.into_iter();
        Self {
            logs: logs
                .map(|(device, place)| (device, Log::new(place)))
                .collect(),
            own,
            linked: false,
            turn: None,
            list_at: now,
            has_listed: false,
            more_at: now,
            head_at: now + HEAD_EVERY,
            left_out: BTreeSet::new(),
            left_out_at: now,
            looked: BTreeMap::new(),
            wait: WAIT,
        }
    }

    /// There is a link, or none any more.
    pub fn handle_link(&mut self, linked: bool, now: Instant) {
        self.linked = linked;
        self.has_listed = false;
        self.look_now(now);
    }

    /// Looks at everything at once, and what waits for a try waits no longer. However
    /// often that is asked for, something is fetched between two listings.
    pub fn look_now(&mut self, now: Instant) {
        self.list_at = now;
        self.wait = WAIT;
        for log in self.logs.values_mut() {
            log.wake();
        }
    }

    /// A log is at least so long.
    pub fn handle_news(&mut self, device: &DeviceName, sequence: u64) {
        if *device != self.own {
            self.log(device).hear(sequence);
        }
    }

    /// This device wrote its own log up to there.
    pub fn handle_own(&mut self, place: Place) {
        let own = self.own.clone();
        let log = self.log(&own);
        if place.sequence > log.read.sequence {
            log.go_on(place);
        }
    }

    /// What all logs have behind what was read, each in order, and which have more
    /// than that. Of a batch that is missing among them the fetch will tell. This
    /// device's own log is read too, where it is longer than what was written: the
    /// store was lost.
    pub fn handle_list(
        &mut self,
        listed: &BTreeMap<DeviceName, Vec<u64>>,
        more: &BTreeSet<DeviceName>,
        now: Instant,
    ) {
        self.list_at = now + LIST_EVERY;
        self.has_listed = true;
        self.head_at = now + HEAD_EVERY;
        self.wait = WAIT;
        self.more_at = now + WAIT;
        for log in self.logs.values_mut() {
            log.has_more = false;
        }
        for (device, sequences) in listed {
            // A relay that does not say so may have more of what is listed full.
            let has_more = more.contains(device) || sequences.len() >= LISTED_MAX;
            self.log(device).list(sequences, has_more);
        }
    }

    /// All logs are listed at once.
    pub fn list_now(&mut self, now: Instant) {
        self.list_at = now;
    }

    /// A head was looked at.
    pub fn handle_head(&mut self, devices: &BTreeMap<DeviceName, u64>, now: Instant) {
        self.head_at = now + HEAD_EVERY;
        self.wait = WAIT;
        for (device, sequence) in devices {
            self.handle_news(device, *sequence);
        }
    }

    /// These were left out before: look at some of each device again.
    pub fn look_again(&mut self, left_out: impl IntoIterator<Item = (DeviceName, u64)>) {
        self.left_out.clear();
        let mut all = BTreeMap::<DeviceName, BTreeSet<u64>>::new();
        for (device, sequence) in left_out {
            all.entry(device).or_default().insert(sequence);
        }
        for (device, sequences) in all {
            // Those behind the last one of before, and then from the first on.
            let looked = self.looked.entry(device.clone()).or_default();
            let later = sequences.range(*looked + 1..);
            let again = later.chain(sequences.range(..=*looked)).take(AGAIN_MAX);
            let again: Vec<u64> = again.copied().collect();
            *looked = again.last().copied().unwrap_or_default();
            let again = again.into_iter();
            self.left_out.extend(again.map(|it| (device.clone(), it)));
        }
    }

    /// The relay or the bucket did not do what was asked, which says nothing
    /// about the batch.
    pub fn handle_failure(&mut self, asked: &Ask, now: Instant) {
        let until = now + self.wait;
        self.has_listed = false;
        match asked {
            Ask::List => (self.list_at, self.more_at) = (until, until),
            Ask::Head => self.head_at = until,
            Ask::Fetch { device, sequence } if self.is_next(device, *sequence) => {
                self.log(device).try_later(now);
                return;
            }
            Ask::Fetch { .. } => self.left_out_at = until,
        }
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    /// Judges what came of a fetch: a batch, what is wrong with it, or `None` if
    /// there is none. `unix_ms` is the relay's time.
    pub fn judge(
        &mut self,
        device: &DeviceName,
        sequence: u64,
        fetched: Option<&Result<Batch, BadBatch>>,
        now: Instant,
        unix_ms: u64,
    ) -> Verdict {
        let is_next = self.is_next(device, sequence);
        self.has_listed = false;
        if is_next {
            self.turn = Some(device.clone());
        }
        let log = self.log(device);
        let verdict = match fetched {
            None => Err("it is missing in the bucket".to_owned()),
            Some(Err(error @ BadBatch::Newer { .. })) => {
                // An upgrade starts this device anew.
                return self.hold(device, sequence, (now, LIST_EVERY), error.to_string());
            }
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(batch)) => {
                let follows = log
                    .read
                    .hash
                    .is_none_or(|hash| hash == batch.header.previous);
                let ahead = batch.header.stamps.1.millis().saturating_sub(unix_ms);
                let ahead = Duration::from_millis(ahead);
                if ahead > AHEAD_MAX {
                    let what = format!(
                        "its stamps are {} s ahead of the relay's time; hint: see to the clock of that device",
                        ahead.as_secs()
                    );
                    let long = (ahead - AHEAD_MAX).clamp(WAIT, LIST_EVERY);
                    return self.hold(device, sequence, (now, long), what);
                }
                match follows || !is_next {
                    true => Ok(()),
                    false => Err("it does not follow the one before".to_owned()),
                }
            }
        };
        match verdict {
            Ok(()) => Verdict::Apply,
            // One that was left out before has had its tries.
            Err(reason) if !is_next => Verdict::LeaveOut(reason),
            // It is not on its way.
            Err(reason) if fetched.is_none() && log.is_gone(sequence) => Verdict::LeaveOut(reason),
            Err(reason) => {
                log.tries += 1;
                if log.tries < TRIES {
                    log.try_later(now);
                    return Verdict::Again;
                }
                if fetched.is_none() && sequence > log.listed_upto {
                    log.forget_rumours();
                    self.list_at = now;
                    return Verdict::Again;
                }
                Verdict::LeaveOut(reason)
            }
        }
    }

    /// What comes behind it waits, too. One that was left out before keeps nothing
    /// waiting, and is looked at again after the next listing.
    fn hold(
        &mut self,
        device: &DeviceName,
        sequence: u64,
        (now, long): (Instant, Duration),
        reason: String,
    ) -> Verdict {
        match self.is_next(device, sequence) {
            true => self.log(device).hold(now, long),
            false => drop(self.left_out.remove(&(device.clone(), sequence))),
        }
        Verdict::Hold(reason)
    }

    /// A batch was applied, and its log read up to there.
    pub fn handle_applied(&mut self, device: &DeviceName, sequence: u64, hash: Hash) {
        self.left_out.remove(&(device.clone(), sequence));
        if self.is_next(device, sequence) {
            let hash = Some(hash);
            self.log(device).go_on(Place { sequence, hash });
        }
    }

    /// A batch was left out: its log is read from behind it on.
    pub fn handle_left_out(&mut self, device: &DeviceName, sequence: u64) {
        self.left_out.remove(&(device.clone(), sequence));
        if self.is_next(device, sequence) {
            self.log(device).pass_over(sequence);
        }
    }

    /// What to ask now.
    #[must_use]
    pub fn poll(&self, now: Instant) -> Option<Ask> {
        if !self.linked {
            return None;
        }
        let mut behind = self.in_turn();
        let behind = behind.find(|(_, log)| log.is_behind() && log.may_go(now));
        let is_its_turn = self.has_listed && behind.is_some();
        if now >= self.list_due() && !is_its_turn {
            return Some(Ask::List);
        }
        if let Some((device, log)) = behind {
            return Some(Ask::Fetch {
                device: device.clone(),
                sequence: log.read.sequence + 1,
            });
        }
        if now >= self.head_at {
            return Some(Ask::Head);
        }
        let (device, sequence) = self.left_out.first()?;
        let (device, sequence) = (device.clone(), *sequence);
        (now >= self.left_out_at).then_some(Ask::Fetch { device, sequence })
    }

    /// When logs are listed: every now and then, and once all is read of one that
    /// has more than was listed.
    fn list_due(&self) -> Instant {
        match self.logs.values().any(Log::is_to_be_listed) {
            true => self.list_at.min(self.more_at),
            false => self.list_at,
        }
    }

    /// All logs, those behind the one that was read last first.
    fn in_turn(&self) -> impl Iterator<Item = (&DeviceName, &Log)> {
        let is_later = |device: &DeviceName| self.turn.as_ref().is_none_or(|turn| device > turn);
        let later = self.logs.iter().filter(move |(device, _)| is_later(device));
        let earlier = self
            .logs
            .iter()
            .filter(move |(device, _)| !is_later(device));
        later.chain(earlier)
    }

    /// When [`Reading::poll`] has something to say next; `None` without a link.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let behind = self.logs.values().filter(|log| log.is_behind());
        let waits = behind.map(|log| log.waits_until().unwrap_or(now));
        let again = self.left_out.first().map(|_| self.left_out_at.max(now));
        let due = [self.list_due(), self.head_at];
        let all = due.into_iter().chain(waits).chain(again);
        all.min().filter(|_| self.linked)
    }

    /// How many batches are known of that were not read.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let behind = self.logs.values().map(Log::behind);
        behind.fold(0, u64::saturating_add)
    }

    /// How many of those this device can read: not those of a log that is held.
    #[must_use]
    pub fn within_reach(&self) -> u64 {
        let logs = self.logs.values().filter(|log| !log.is_held);
        logs.map(Log::behind).fold(0, u64::saturating_add)
    }

    /// How far each log has been read.
    pub fn read(&self) -> impl Iterator<Item = (&DeviceName, u64)> {
        let logs = self.logs.iter();
        logs.map(|(device, log)| (device, log.read.sequence))
    }

    fn is_next(&self, device: &DeviceName, sequence: u64) -> bool {
        let read = self.logs.get(device).map_or(0, |log| log.read.sequence);
        sequence == read + 1
    }

    fn log(&mut self, device: &DeviceName) -> &mut Log {
        let first = Place {
            sequence: 0,
            hash: Some(FIRST),
        };
        let logs = self.logs.entry(device.clone());
        logs.or_insert_with(|| Log::new(first))
    }
}

/// What the first batch of a log says of the one before.
pub const FIRST: Hash = Hash::from_bytes([0; Hash::LENGTH]);

#[cfg(test)]
mod tests;
