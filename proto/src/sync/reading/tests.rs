//! Reading, without a relay.

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
        self.list_with(sequences, false);
    }

    /// As a listing that may not tell all.
    fn list_with(&mut self, sequences: &[u64], has_more: bool) {
        let listed = BTreeMap::from([(name("desk"), sequences.to_vec())]);
        let more = has_more.then(|| name("desk"));
        let more = more.into_iter().collect();
        self.reading.handle_list(&listed, &more, self.now);
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
fn who_asks_again_and_again_to_look_keeps_nothing_from_being_read() {
    let mut world = World::new();
    let first = batch(1, FIRST, NOW);
    let second = batch(2, first.hash, NOW);
    world.reading.look_now(world.now);
    world.list(&[1, 2]);
    world.reading.look_now(world.now);
    world.apply(&first);
    assert_eq!(world.ask(), Some(Ask::List), "what was asked for is done");
    world.list(&[1, 2]);
    world.reading.look_now(world.now);
    // What cannot be had does not keep logs from being listed either.
    let asked = world.ask().expect("a batch");
    assert_eq!(Some(&asked), fetch(2).as_ref());
    world.reading.handle_failure(&asked, world.now);
    world.reading.look_now(world.now);
    assert_eq!(world.ask(), Some(Ask::List));
    world.list(&[1, 2]);
    world.apply(&second);
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

/// A batch that was left out is now one that has to wait: what comes behind it was
/// read long ago.
#[test]
fn what_was_left_out_before_keeps_nothing_waiting() {
    for later in [
        Err(BadBatch::Newer { major: 2 }),
        Ok(batch(1, FIRST, NOW + 400_000)),
    ] {
        let mut world = World::new();
        world.list(&[2]);
        assert_eq!(world.ask(), fetch(1));
        assert!(matches!(world.judge(1, None), Verdict::LeaveOut(_)));
        world.reading.handle_left_out(&name("desk"), 1);
        let second = batch(2, FIRST, NOW);
        world.apply(&second);
        world.reading.look_again([(name("desk"), 1)]);
        assert_eq!(world.ask(), fetch(1));
        let verdict = world.judge(1, Some(&later));
        assert!(matches!(verdict, Verdict::Hold(_)), "{verdict:?}");
        // Not again before the next listing.
        assert_eq!(world.ask(), None);
        assert!(world.reading.poll_timeout(world.now) > Some(world.now));
        assert_eq!(world.reading.within_reach(), 0);
        world.news(3);
        world.apply(&batch(3, second.hash, NOW));
    }
}

/// A head and news are hints.
#[test]
fn what_was_only_heard_of_is_not_missing() {
    let mut world = World::new();
    let first = batch(1, FIRST, NOW);
    world.list(&[1]);
    world.apply(&first);
    world.news(u64::MAX);
    assert_eq!(world.ask(), None, "no log is so long");
    world.news(1 << 60);
    let mut fetched = 0;
    while world.ask() != Some(Ask::List) {
        if world.ask() == fetch(2) {
            fetched += 1;
            assert_eq!(world.judge(2, None), Verdict::Again);
        } else {
            world.reading.handle_head(&BTreeMap::new(), world.now);
        }
        world.wait();
    }
    assert_eq!((fetched, world.reading.behind()), (TRIES, 0));
    // Who has said so says it again.
    world.news(1 << 60);
    world.list(&[]);
    assert_eq!((world.ask(), world.reading.within_reach()), (None, 0));
    // A later one is news.
    world.news((1 << 60) + 1);
    assert_eq!(world.ask(), fetch(2));
    world.reading.handle_failure(&Ask::List, world.now);
    world.list(&[1, 2]);
    world.apply(&batch(2, first.hash, NOW));
}

#[test]
fn a_log_is_listed_on_when_all_is_read_that_was_listed() {
    let mut world = World::new();
    world.list_with(&[1], true);
    assert_eq!(world.reading.within_reach(), 2, "at least");
    let first = batch(1, FIRST, NOW);
    world.apply(&first);
    assert_eq!(world.reading.within_reach(), 1);
    world.wait();
    assert_eq!(world.ask(), Some(Ask::List));
    world.reading.handle_failure(&Ask::List, world.now);
    assert_eq!(world.ask(), None, "not at once");
    world.wait();
    assert_eq!(world.ask(), Some(Ask::List));
    world.list_with(&[2], true);
    let second = batch(2, first.hash, NOW);
    world.apply(&second);
    assert_eq!(world.ask(), None, "not without a pause");
    world.wait();
    assert_eq!(world.ask(), Some(Ask::List));
    // The rest is gone, or there never was any.
    world.list_with(&[], true);
    assert_eq!((world.ask(), world.reading.within_reach()), (None, 0));
    world.wait();
    assert_eq!(world.ask(), Some(Ask::Head));
}

#[test]
fn logs_are_read_in_turn() {
    let mut world = World::new();
    world.news(9);
    let phone = name("phone");
    world.reading.handle_news(&phone, 1);
    let first = batch(1, FIRST, NOW);
    world.apply(&first);
    let (device, sequence) = (phone, 1);
    assert_eq!(world.ask(), Some(Ask::Fetch { device, sequence }));
    let failed = world.ask().expect("to fetch");
    world.reading.handle_failure(&failed, world.now);
    world.apply(&batch(2, first.hash, NOW));
}

#[test]
fn of_many_that_were_left_out_some_are_looked_at_again() {
    let mut world = World::new();
    world.list(&[500]);
    let left_out = (1..=400).map(|sequence| (name("desk"), sequence));
    world.reading.handle_left_out(&name("desk"), 1);
    world.apply(&batch(500, FIRST, NOW));
    // The next ones after the next listing, and each in the end.
    let mut looked = BTreeSet::new();
    for round in 1..=7 {
        world.reading.look_again(left_out.clone());
        while let Some(Ask::Fetch { device, sequence }) = world.ask() {
            looked.insert(sequence);
            world.judge(sequence, None);
            world.reading.handle_left_out(&device, sequence);
        }
        assert_eq!(looked.len(), (round * AGAIN_MAX).min(400));
    }
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
