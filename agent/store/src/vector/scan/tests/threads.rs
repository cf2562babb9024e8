//! Searches while everything else goes on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

const DIMENSIONS: usize = 32;

/// Two sets of vectors for the same passages, so far from each other that a
/// mixture is noticed. Every search sees all passages, each as it was or is.
#[test]
fn a_search_finds_all_while_all_is_replaced() {
    let spec = spec(DIMENSIONS, Metric::Cosine);
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        upkeep: Upkeep::Thread,
        ..SMALL
    };
    let scan = Scan::open(folder.path(), spec.clone(), options).expect("opens");
    let mut maker = Maker::new(9, &spec, Kind::Groups);
    let rows = 700_i64;
    let mut memory = Memory::default();
    // Passage p has embedding p, or p + rows in odd rounds.
    let mut round = |odd: i64| -> Vec<Change> {
        let mut entry = |passage| Entry {
            passage,
            embedding: passage + odd * rows,
            vector: maker.vector(),
        };
        (0..rows)
            .map(|passage| Change::Upsert(entry(passage)))
            .collect()
    };
    let rounds = [round(0), round(1)];
    rounds.iter().for_each(|changes| memory.apply(changes));
    scan.apply(&rounds[0], 1).expect("applies");
    let (stop, searches) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let mut maker = Maker::new(seed, &spec, Kind::Groups);
            let (scan, memory, stop, searches) = (&scan, &memory, &stop, &searches);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let query = maker.vector();
                    let found = scan.search(request(&query, 1000), memory).expect("answers");
                    let mut passages: Vec<_> = found.iter().map(|found| found.passage).collect();
                    passages.sort_unstable();
                    assert_eq!(passages, (0..rows).collect::<Vec<_>>());
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut watermark = 1;
        while searches.load(Ordering::Relaxed) < 150 {
            for changes in rounds[(watermark % 2) as usize].chunks(60) {
                watermark += 1;
                scan.apply(changes, watermark).expect("applies");
            }
            watermark += 1;
            scan.flush().expect("flushes");
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(scan);
    let scan = Scan::open(folder.path(), spec, options).expect("opens");
    assert_eq!(scan.discarded(), None);
    assert_eq!(scan.stats().expect("counts").entries, rows.cast_unsigned());
    scan.verify().expect("is whole");
}

/// What is thrown away does not come back from a merge that was under way.
#[test]
fn it_can_be_cleared_at_any_time() {
    let spec = spec(DIMENSIONS, Metric::Dot);
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        upkeep: Upkeep::Thread,
        ..SMALL
    };
    let scan = Scan::open(folder.path(), spec.clone(), options).expect("opens");
    let mut maker = Maker::new(4, &spec, Kind::Even);
    let changes = maker.upserts(0..1000);
    for round in 1..20 {
        for changes in changes.chunks(90) {
            scan.apply(changes, round).expect("applies");
        }
        scan.clear().expect("clears");
        assert_eq!(
            (scan.durable(), scan.stats().expect("counts").entries),
            (0, 0)
        );
    }
    drop(scan);
    let scan = Scan::open(folder.path(), spec, options).expect("opens");
    assert_eq!((scan.durable(), scan.discarded()), (0, None));
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
}
