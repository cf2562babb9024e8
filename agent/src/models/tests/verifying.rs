//! Verifying and repairing.

use super::*;
use crate::models::event::{Outcome, Range, Verified};
use crate::models::verify::Changes;

const MINI: &str = "models/mini.safetensors";

/// Three chunks: the header, and two tensors of 250 kB.
const NUMBERS: usize = 125_000;

impl World {
    async fn verify(&self, changes: Changes) -> Vec<Event> {
        let events = told(async |events| self.models.verify_all(vec![], changes, &events).await);
        events.await.expect("verified")
    }

    async fn outcome(&self) -> Verified {
        let events = self.verify(Changes::Tell).await;
        let [Event::Verified(verified), Event::Done { .. }] = &events[..] else {
            panic!("{events:?}");
        };
        verified.clone()
    }

    async fn repair(&self, text: &str) -> Verified {
        let names = vec![name(text)];
        let events = told(async |events| self.models.repair_all(names, &events).await);
        let events = events.await.expect("repaired");
        let [Event::Verified(verified), Event::Done { .. }] = &events[..] else {
            panic!("{events:?}");
        };
        verified.clone()
    }

    /// Spoils a byte, so that nothing but the bytes tells.
    fn rot(&self, path: &str, at: usize) {
        let place = self.at(path);
        let written = fs::metadata(&place).expect("there").modified();
        let mut bytes = fs::read(&place).expect("read");
        bytes[at] ^= 1;
        // In place: another file would have another number.
        let file = fs::File::options()
            .write(true)
            .open(&place)
            .expect("opened");
        std::io::Write::write_all(&mut &file, &bytes).expect("written");
        file.set_modified(written.expect("known")).expect("set");
    }
}

#[tokio::test]
async fn what_rots_is_told_by_its_bytes() {
    let world = World::new();
    let bytes = safetensors(NUMBERS, 1);
    world.write(MINI, &bytes);
    let first = world.outcome().await;
    assert_eq!((first.outcome, first.chunks), (Outcome::Recorded, 3));
    assert_eq!(world.outcome().await.outcome, Outcome::Whole);
    let header = (bytes.len() - 4 * NUMBERS) as u64;
    let half = 2 * NUMBERS as u64;
    world.rot(MINI, bytes.len() - 1);
    let rotten = world.outcome().await;
    assert_eq!(rotten.outcome, Outcome::Damaged);
    let range = Range {
        first: 2,
        last: 2,
        from: header + half,
        to: header + 2 * half,
    };
    assert_eq!(rotten.bad, [range]);
    assert!(world.listed(MINI).await.is_damaged());
    world.rot(MINI, usize::try_from(header).expect("small"));
    let rotten = world.outcome().await;
    let range = Range {
        first: 1,
        from: header,
        ..range
    };
    assert_eq!(rotten.bad, [range], "chunks in a row are told together");
    // The bytes are what they were again.
    world.rot(MINI, usize::try_from(header).expect("small"));
    world.rot(MINI, bytes.len() - 1);
    assert_eq!(world.outcome().await.outcome, Outcome::Whole);
    assert!(!world.listed(MINI).await.is_damaged());
}

#[tokio::test]
async fn an_edit_is_no_damage_and_can_be_accepted() {
    let world = World::new();
    world.write(MINI, &safetensors(NUMBERS, 1));
    world.outcome().await;
    write_before(&world.at(MINI), &safetensors(NUMBERS, 2), 50);
    let edited = world.outcome().await;
    assert_eq!(edited.outcome, Outcome::Changed);
    assert_eq!(edited.bad.len(), 1);
    assert!(!world.listed(MINI).await.is_damaged());
    let events = world.verify(Changes::Accept).await;
    let Event::Verified(Verified { outcome, .. }) = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(*outcome, Outcome::Recorded);
    assert_eq!(world.outcome().await.outcome, Outcome::Whole);
    // Only the time is another: it is what it was.
    write_before(&world.at(MINI), &safetensors(NUMBERS, 2), 40);
    assert_eq!(world.outcome().await.outcome, Outcome::Whole);
    let listed = world.listed(MINI).await;
    let noted = listed.entry.file.as_ref().expect("noted").stamp;
    assert_eq!(Some(noted), listed.stamp());
}

#[tokio::test]
async fn one_bad_file_stops_none_of_the_others() {
    let world = World::new();
    world.write("models/a.safetensors", &safetensors(64, 1));
    world.write("models/b.safetensors", &safetensors(64, 1));
    world.verify(Changes::Tell).await;
    fs::remove_file(world.at("models/a.safetensors")).expect("removed");
    let events = world.verify(Changes::Tell).await;
    let [
        Event::Failed { name, message },
        Event::Verified(_),
        Event::Done { good: 1, bad: 1 },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(name.as_deref(), Some("models/a.safetensors"));
    assert!(message.contains("no file here"), "{message}");
}

#[tokio::test]
async fn what_another_file_has_is_repaired() {
    let world = World::new();
    let bytes = safetensors(NUMBERS, 1);
    world.write(MINI, &bytes);
    // Another model, of which the first tensor is the same.
    world.write("models/other.safetensors", &safetensors(NUMBERS, 2));
    world.verify(Changes::Tell).await;
    let header = bytes.len() - 4 * NUMBERS;
    world.rot(MINI, header);
    let repaired = world.repair(MINI).await;
    assert_eq!(repaired.outcome, Outcome::Repaired);
    assert_eq!(fs::read(world.at(MINI)).expect("read"), bytes);
    let events = world.verify(Changes::Tell).await;
    assert_eq!(events.last(), Some(&Event::Done { good: 2, bad: 0 }));
    assert!(!world.listed(MINI).await.is_damaged());

    // The second tensor is nowhere else: it stays as it is, and is told.
    world.rot(MINI, header);
    world.rot(MINI, bytes.len() - 1);
    let spoiled = fs::read(world.at(MINI)).expect("read");
    let lacking = world.repair(MINI).await;
    assert_eq!(lacking.outcome, Outcome::Damaged);
    assert_eq!(lacking.bad.len(), 1);
    assert_eq!(lacking.bad[0].first, 2, "the other one is here");
    assert_eq!(fs::read(world.at(MINI)).expect("read"), spoiled);
    // Nothing is left beside it.
    let names = fs::read_dir(world.at("models")).expect("read").count();
    assert_eq!(names, 2);
}

#[tokio::test]
async fn nothing_is_repaired_with_what_is_rotten_too() {
    let world = World::new();
    let bytes = safetensors(NUMBERS, 1);
    world.write(MINI, &bytes);
    world.write("models/copy.safetensors", &bytes);
    world.verify(Changes::Tell).await;
    let last = bytes.len() - 1;
    world.rot(MINI, last);
    world.rot("models/copy.safetensors", last);
    let lacking = world.repair(MINI).await;
    assert_eq!((lacking.outcome, lacking.bad.len()), (Outcome::Damaged, 1));
}
