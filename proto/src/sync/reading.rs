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
//! forgotten: each listing looks whether it is whole by now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ginnel_blob::hash::Hash;

use super::batch::{BadBatch, Batch};
use super::hlc::AHEAD_MAX;
use crate::id::DeviceName;

/// How often a head is looked at.
pub const HEAD_EVERY: Duration = Duration::from_secs(30);

/// How often all logs are listed.
pub const LIST_EVERY: Duration = Duration::from_secs(15 * 60);

/// How often a batch is fetched that is missing or damaged, before it is left
/// out: on its way, or in a bucket that is not what it should be for a moment.
const TRIES: u32 = 4;

/// The most batches in a row that are looked for one by one though none is there.
const GAP_MAX: u64 = 64;

/// How long a try waits: at first, and at most. It doubles.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a batch waits that cannot be applied yet: of a newer version, or
/// from the future.
const LATER: Duration = Duration::from_secs(60);

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
    list_at: Instant,
    head_at: Instant,
    /// Left out before, and to be looked at again.
    left_out: BTreeSet<(DeviceName, u64)>,
    /// Not before.
    left_out_at: Instant,
    wait: Duration,
}

#[derive(Debug)]
struct Log {
    read: Place,
    /// The newest batch that was heard of.
    heard: u64,
    /// What the last listing had of it, behind what was read.
    listed: BTreeSet<u64>,
    /// Up to where that listing says what there is.
    listed_upto: u64,
    tries: u32,
    wait: Duration,
    waits_until: Option<Instant>,
    /// Its next batch is one that this device cannot take yet.
    is_held: bool,
}

impl Log {
    fn new(read: Place) -> Self {
        Self {
            read,
            heard: 0,
            listed: BTreeSet::new(),
            listed_upto: 0,
            tries: 0,
            wait: WAIT,
            waits_until: None,
            is_held: false,
        }
    }

    fn hold(&mut self, now: Instant) {
        self.wait(now, LATER);
        self.is_held = true;
    }

    fn wait(&mut self, now: Instant, longer: Duration) {
        self.waits_until = Some(now + self.wait.max(longer));
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }

    /// Whether the bucket said that it is not there, though later ones are.
    fn is_gone(&self, sequence: u64) -> bool {
        sequence < self.listed_upto && !self.listed.contains(&sequence)
    }

    fn go_on(&mut self, read: Place) {
        self.read = read;
        self.listed = self.listed.split_off(&(read.sequence + 1));
        self.tries = 0;
        self.wait = WAIT;
        self.waits_until = None;
        self.is_held = false;
    }
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
            list_at: now,
            head_at: now + HEAD_EVERY,
            left_out: BTreeSet::new(),
            left_out_at: now,
            wait: WAIT,
        }
    }

    /// There is a link, or none any more.
    pub fn handle_link(&mut self, linked: bool, now: Instant) {
        self.linked = linked;
        self.list_at = now;
        self.wait = WAIT;
        for log in self.logs.values_mut() {
            log.waits_until = None;
            log.wait = WAIT;
        }
    }

    /// A log is at least so long.
    pub fn handle_news(&mut self, device: &DeviceName, sequence: u64) {
        if *device != self.own {
            let log = self.log(device);
            log.heard = log.heard.max(sequence);
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

    /// What all logs have behind what was read, each in order. Of a batch that is
    /// missing among them the fetch will tell. This device's own log is read too,
    /// where it is longer than what was written: the store was lost.
    pub fn handle_list(&mut self, listed: &BTreeMap<DeviceName, Vec<u64>>, now: Instant) {
        self.list_at = now + LIST_EVERY;
        self.head_at = now + HEAD_EVERY;
        self.wait = WAIT;
        for (device, sequences) in listed {
            if let Some(last) = sequences.last() {
                let log = self.log(device);
                log.heard = log.heard.max(*last);
                let behind = |it: &&u64| **it > log.read.sequence;
                log.listed = sequences.iter().filter(behind).copied().collect();
                log.listed_upto = *last;
            }
        }
    }

    /// A head was looked at.
    pub fn handle_head(&mut self, devices: &BTreeMap<DeviceName, u64>, now: Instant) {
        self.head_at = now + HEAD_EVERY;
        self.wait = WAIT;
        for (device, sequence) in devices {
            self.handle_news(device, *sequence);
        }
    }

    /// These were left out before: look at them again.
    pub fn look_again(&mut self, left_out: impl IntoIterator<Item = (DeviceName, u64)>) {
        self.left_out.extend(left_out);
    }

    /// The relay or the bucket did not do what was asked, which says nothing
    /// about the batch.
    pub fn handle_failure(&mut self, asked: &Ask, now: Instant) {
        let until = now + self.wait;
        match asked {
            Ask::List => self.list_at = until,
            Ask::Head => self.head_at = until,
            Ask::Fetch { device, sequence } if self.is_next(device, *sequence) => {
                self.log(device).wait(now, Duration::ZERO);
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
        let log = self.log(device);
        let verdict = match fetched {
            None => Err("it is missing in the bucket".to_owned()),
            Some(Err(error @ BadBatch::Newer { .. })) => {
                log.hold(now);
                return Verdict::Hold(error.to_string());
            }
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(batch)) => {
                let follows = log
                    .read
                    .hash
                    .is_none_or(|hash| hash == batch.header.previous);
                let ahead = batch.header.stamps.1.millis().saturating_sub(unix_ms);
                if Duration::from_millis(ahead) > AHEAD_MAX {
                    log.hold(now);
                    let what = format!(
                        "its stamps are {} s ahead of the relay's time; hint: see to the clock of that device",
                        ahead / 1000
                    );
                    return Verdict::Hold(what);
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
                    log.wait(now, Duration::ZERO);
                    return Verdict::Again;
                }
                Verdict::LeaveOut(reason)
            }
        }
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
            let hash = None;
            let log = self.log(device);
            log.go_on(Place { sequence, hash });
            // Whoever counts like this lies: it is not followed one by one.
            if let Some(next) = log.listed.first().copied()
                && next - sequence > GAP_MAX
            {
                let sequence = next - 1;
                log.go_on(Place { sequence, hash });
            }
        }
    }

    /// What to ask now.
    #[must_use]
    pub fn poll(&self, now: Instant) -> Option<Ask> {
        if !self.linked {
            return None;
        }
        if now >= self.list_at {
            return Some(Ask::List);
        }
        let may_go = |log: &Log| log.waits_until.is_none_or(|until| now >= until);
        let mut behind = self.logs.iter();
        let behind = behind.find(|(_, log)| log.is_behind() && may_go(log));
        if let Some((device, log)) = behind {
            return Some(Ask::Fetch {
                device: device.clone(),
                sequence: log.read.sequence + 1,
            });
        }
        if let Some((device, sequence)) = self.left_out.first()
            && now >= self.left_out_at
        {
            return Some(Ask::Fetch {
                device: device.clone(),
                sequence: *sequence,
            });
        }
        (now >= self.head_at).then_some(Ask::Head)
    }

    /// When [`Reading::poll`] has something to say next; `None` without a link.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let behind = self.logs.values().filter(|log| log.is_behind());
        let waits = behind.map(|log| log.waits_until.unwrap_or(now));
        let again = self.left_out.first().map(|_| self.left_out_at.max(now));
        let due = [self.list_at, self.head_at];
        let all = due.into_iter().chain(waits).chain(again);
        all.min().filter(|_| self.linked)
    }

    /// How many batches are known of that were not read.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let behind = self.logs.values();
        behind
            .map(|log| log.heard.saturating_sub(log.read.sequence))
            .sum()
    }

    /// How many of those this device can read: not those of a log that is held.
    #[must_use]
    pub fn within_reach(&self) -> u64 {
        let logs = self.logs.values().filter(|log| !log.is_held);
        logs.map(|log| log.heard.saturating_sub(log.read.sequence))
            .sum()
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

impl Log {
    fn is_behind(&self) -> bool {
        self.heard > self.read.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::batch::{BatchPlace, decode, encode};
    use crate::sync::hlc::Hlc;
    use crate::sync::row::{Document, Rows};

    const NOW: u64 = 1_790_000_000_000;

    struct World {
        reading: Reading,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now();
            let mut reading = Reading::new(name("lap"), BTreeMap::new(), now);
            assert_eq!(reading.poll(now), None, "there is no link");
            reading.handle_link(true, now);
            let mut world = Self { reading, now };
            assert_eq!(world.ask(), Some(Ask::List));
            world.list(&[]);
            world
        }

        fn ask(&self) -> Option<Ask> {
            self.reading.poll(self.now)
        }

        fn list(&mut self, sequences: &[u64]) {
            let listed = BTreeMap::from([(name("desk"), sequences.to_vec())]);
            self.reading.handle_list(&listed, self.now);
        }

        fn news(&mut self, sequence: u64) {
            self.reading.handle_news(&name("desk"), sequence);
        }

        fn judge(&mut self, sequence: u64, fetched: Option<&Result<Batch, BadBatch>>) -> Verdict {
            let desk = name("desk");
            self.reading.judge(&desk, sequence, fetched, self.now, NOW)
        }

        fn apply(&mut self, batch: &Batch) {
            let sequence = batch.header.place.sequence;
            assert_eq!(self.ask(), fetch(sequence));
            let verdict = self.judge(sequence, Some(&Ok(batch.clone())));
            assert_eq!(verdict, Verdict::Apply);
            self.reading
                .handle_applied(&name("desk"), sequence, batch.hash);
        }

        /// Until there is something to ask.
        fn wait(&mut self) {
            self.now = self.reading.poll_timeout(self.now).expect("linked");
        }
    }

    fn name(name: &str) -> DeviceName {
        name.parse().expect("a name")
    }

    fn fetch(sequence: u64) -> Option<Ask> {
        let device = name("desk");
        Some(Ask::Fetch { device, sequence })
    }

    fn batch(sequence: u64, previous: Hash, millis: u64) -> Batch {
        let place = BatchPlace {
            user: "ada".parse().expect("a name"),
            epoch: 1,
            device: name("desk"),
            sequence,
        };
        let deleted = Document {
            id: [1; 16],
            hlc: Hlc::of_parts(millis, 0).expect("it fits"),
            extra: bytes::Bytes::new(),
            state: None,
        };
        let rows = Rows {
            documents: vec![deleted],
            ..Rows::default()
        };
        let (bytes, _) = encode(&place, previous, &rows).expect("memory");
        decode(&bytes, &place).expect("whole")
    }

    #[test]
    fn what_is_new_is_read_in_order() {
        let mut world = World::new();
        assert_eq!(world.ask(), None);
        world.news(2);
        let first = batch(1, FIRST, NOW);
        world.apply(&first);
        world.apply(&batch(2, first.hash, NOW));
        assert_eq!(world.ask(), None);
        // Old news.
        world.news(1);
        assert_eq!(world.ask(), None);
        // Its own log is no news.
        world.reading.handle_news(&name("lap"), 7);
        assert_eq!((world.ask(), world.reading.behind()), (None, 0));
    }

    #[test]
    fn what_the_bucket_does_not_have_is_not_waited_for() {
        let mut world = World::new();
        world.list(&[1, 4]);
        let first = batch(1, FIRST, NOW);
        world.apply(&first);
        for sequence in [2, 3] {
            assert_eq!(world.ask(), fetch(sequence));
            let verdict = world.judge(sequence, None);
            assert!(matches!(verdict, Verdict::LeaveOut(_)), "{verdict:?}");
            world.reading.handle_left_out(&name("desk"), sequence);
        }
        // Behind one that was left out it is not known what it follows.
        world.apply(&batch(4, Hash::of(b"not known"), NOW));
        // The newest may be on its way.
        world.news(5);
        assert_eq!(world.ask(), fetch(5));
        assert_eq!(world.judge(5, None), Verdict::Again);
    }

    /// Nothing is asked again and again while it cannot be had.
    #[test]
    fn what_was_left_out_waits_after_a_failure_too() {
        let mut world = World::new();
        world.list(&[1, 2]);
        let first = batch(1, FIRST, NOW);
        world.apply(&first);
        world.reading.look_again([(name("desk"), 1)]);
        world.apply(&batch(2, first.hash, NOW));
        let asked = world.ask().expect("left out");
        assert_eq!(Some(asked.clone()), fetch(1));
        world.reading.handle_failure(&asked, world.now);
        assert_eq!(world.ask(), None);
        world.wait();
        assert_eq!(world.ask(), fetch(1));
    }

    #[test]
    fn a_device_that_lies_about_its_sequence_is_not_followed_one_by_one() {
        let mut world = World::new();
        world.list(&[1, u64::MAX >> 1]);
        world.apply(&batch(1, FIRST, NOW));
        assert_eq!(world.ask(), fetch(2));
        let verdict = world.judge(2, None);
        assert!(matches!(verdict, Verdict::LeaveOut(_)), "{verdict:?}");
        world.reading.handle_left_out(&name("desk"), 2);
        assert_eq!(world.ask(), fetch(u64::MAX >> 1));
    }

    #[test]
    fn news_that_are_lost_are_found_in_the_head_or_by_listing() {
        let mut world = World::new();
        world.wait();
        assert_eq!(world.ask(), Some(Ask::Head));
        let devices = BTreeMap::from([(name("desk"), 1), (name("lap"), 4)]);
        world.reading.handle_head(&devices, world.now);
        let first = batch(1, FIRST, NOW);
        world.apply(&first);
        let begin = world.now;
        while world.ask() != Some(Ask::List) {
            world.reading.handle_head(&devices, world.now);
            world.wait();
        }
        assert!(world.now - begin <= LIST_EVERY);
        world.list(&[2]);
        world.apply(&batch(2, first.hash, NOW));
    }

    #[test]
    fn a_damaged_batch_is_fetched_again_and_then_left_out() {
        let mut world = World::new();
        world.news(2);
        let damaged = Err(BadBatch::Damaged("another hash"));
        for _ in 1..TRIES {
            assert_eq!(world.ask(), fetch(1));
            assert_eq!(world.judge(1, Some(&damaged)), Verdict::Again);
            assert_eq!(world.ask(), None, "not at once");
            world.wait();
        }
        let Verdict::LeaveOut(reason) = world.judge(1, Some(&damaged)) else {
            panic!("it had its tries");
        };
        assert!(reason.contains("another hash"), "{reason}");
        world.reading.handle_left_out(&name("desk"), 1);
        // What comes behind it is read: nobody knows what it follows.
        let second = batch(2, Hash::of(b"?"), NOW);
        world.apply(&second);
        // And it is looked at again now and then.
        world.reading.look_again([(name("desk"), 1)]);
        assert_eq!(world.ask(), fetch(1));
        let missing = world.judge(1, None);
        assert!(matches!(missing, Verdict::LeaveOut(_)));
        world.reading.handle_left_out(&name("desk"), 1);
        assert_eq!(world.ask(), None);
        world.reading.look_again([(name("desk"), 1)]);
        world.apply(&batch(1, FIRST, NOW));
        assert_eq!(world.ask(), None);
        let read: Vec<_> = world.reading.read().collect();
        assert_eq!(read, [(&name("desk"), 2)], "it did not go back");
    }

    #[test]
    fn what_does_not_follow_is_no_batch_of_the_log() {
        let mut world = World::new();
        world.news(1);
        let forged = Ok(batch(1, Hash::of(b"elsewhere"), NOW));
        for _ in 1..TRIES {
            assert_eq!(world.judge(1, Some(&forged)), Verdict::Again);
        }
        let verdict = world.judge(1, Some(&forged));
        assert!(matches!(verdict, Verdict::LeaveOut(_)), "{verdict:?}");
    }

    #[test]
    fn what_cannot_be_applied_yet_waits() {
        let mut world = World::new();
        world.news(1);
        let ahead = Ok(batch(1, FIRST, NOW + 301_000));
        let Verdict::Hold(reason) = world.judge(1, Some(&ahead)) else {
            panic!("it is ahead");
        };
        assert!(reason.contains("301 s ahead"), "{reason}");
        assert_eq!(world.ask(), None);
        world.wait();
        let newer = Err(BadBatch::Newer { major: 2 });
        while world.ask() != fetch(1) {
            world.reading.handle_head(&BTreeMap::new(), world.now);
            world.wait();
        }
        let verdict = world.judge(1, Some(&newer));
        assert!(matches!(verdict, Verdict::Hold(_)), "{verdict:?}");
        // Other logs are read meanwhile.
        world.reading.handle_news(&name("phone"), 1);
        let device = name("phone");
        assert_eq!(
            world.ask(),
            Some(Ask::Fetch {
                device,
                sequence: 1
            })
        );
    }

    #[test]
    fn a_relay_that_fails_is_asked_again_later() {
        let mut world = World::new();
        world.news(1);
        let ask = world.ask().expect("to fetch");
        for _ in 0..20 {
            world.reading.handle_failure(&ask, world.now);
            assert_eq!(world.ask(), None);
            let before = world.now;
            world.wait();
            assert!(world.now - before <= HEAD_EVERY);
            world.reading.handle_head(&BTreeMap::new(), world.now);
        }
        // A new link begins anew.
        world.reading.handle_link(false, world.now);
        assert_eq!(world.reading.poll_timeout(world.now), None);
        world.reading.handle_link(true, world.now);
        assert_eq!(world.ask(), Some(Ask::List));
        world.reading.handle_failure(&Ask::List, world.now);
        assert_eq!(world.ask(), fetch(1));
        world.apply(&batch(1, FIRST, NOW));
    }

    #[test]
    fn a_device_goes_on_where_it_was() {
        let now = Instant::now();
        let first = batch(1, FIRST, NOW);
        let hash = Some(first.hash);
        let read = BTreeMap::from([(name("desk"), Place { sequence: 1, hash })]);
        let mut reading = Reading::new(name("lap"), read, now);
        reading.handle_link(true, now);
        let mut world = World { reading, now };
        world.list(&[2, 3]);
        assert_eq!(world.reading.behind(), 2);
        world.apply(&batch(2, first.hash, NOW));
    }
}
