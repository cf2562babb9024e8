//! What becomes of the index when power, disk or files fail.

use std::fs;

use super::*;

const METRIC: Metric = Metric::Cosine;

fn numbers(from: i64) -> impl Iterator<Item = u64> {
    (1..).map(move |number| number + u64::try_from(from).expect("positive"))
}

/// Batches that fill, replace and delete.
fn batches(spec: &Spec) -> Vec<Vec<Change>> {
    let mut maker = Maker::new(11, spec, Kind::Groups);
    let mut batches = Vec::new();
    for from in [0, 60, 120, 30, 200, 260] {
        batches.push(maker.upserts(from..from + 90));
        batches.push((from + 10..from + 25).map(delete).collect());
    }
    batches
}

/// Applies and writes everything, until something fails. Returns the last
/// number that the index said to be durable.
fn write_all(scan: &Scan, batches: &[Vec<Change>]) -> (u64, Result<()>) {
    let mut durable = 0;
    for (batch, number) in batches.iter().zip(numbers(0)) {
        let done = scan.apply(batch, number);
        let done = done.and_then(|()| {
            if number % 3 == 0 {
                scan.flush()
            } else {
                Ok(())
            }
        });
        let done = done.and_then(|()| scan.compact());
        durable = scan.durable();
        if done.is_err() {
            return (durable, done);
        }
    }
    (durable, scan.flush())
}

fn expect_all(scan: &Scan, memory: &Memory) {
    let query = memory.embeddings.values().next().expect("some");
    let found = check(scan, memory, METRIC, request(query, 1000));
    assert_eq!(found, (memory.passages.len(), memory.passages.len()));
}

#[test]
fn the_power_may_go_at_any_step() {
    let spec = spec(8, METRIC);
    let batches = batches(&spec);
    let mut memory = Memory::default();
    batches.iter().for_each(|batch| memory.apply(batch));
    let mut seen = std::collections::BTreeSet::new();
    for step in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let scan = open(folder.path(), &spec);
        let faults = &scan.compactor.disk.faults;
        faults.fail_at(step);
        let (durable, done) = write_all(&scan, &batches);
        // Until the power went it could still answer.
        if done.is_err() {
            scan.search(request(&[0.5; 8], 3), &memory)
                .expect("answers");
        }
        faults.crash();
        drop(scan);
        let scan = open(folder.path(), &spec);
        assert_eq!(scan.discarded(), None, "step {step}");
        scan.verify().expect("is whole");
        // The manifest may be there although nobody could be told so.
        assert!(
            scan.durable() >= durable,
            "step {step}: {} {durable}",
            scan.durable()
        );
        seen.insert(scan.durable());
        let from = usize::try_from(scan.durable()).expect("small");
        for (batch, number) in batches.iter().zip(1..).skip(from) {
            scan.apply(batch, number).expect("applies");
        }
        expect_all(&scan, &memory);
        let names = scan.compactor.disk.names().expect("lists");
        assert!(
            !names.iter().any(|name| name.ends_with(".new")),
            "{names:?}"
        );
        if done.is_ok() {
            assert!(step > 60, "{step} steps");
            break;
        }
    }
    assert!(seen.len() > 4, "{seen:?}");
}

/// As when the disk was full for a while.
#[test]
fn it_goes_on_when_the_disk_works_again() {
    let spec = spec(8, METRIC);
    let batches = batches(&spec);
    for step in (0..80).step_by(3) {
        let folder = tempfile::tempdir().expect("a folder");
        let scan = open(folder.path(), &spec);
        let faults = &scan.compactor.disk.faults;
        let mut memory = Memory::default();
        for (batch, number) in batches.iter().zip(numbers(0)) {
            memory.apply(batch);
            faults.fail_at(step);
            let done = scan.apply(batch, number).and_then(|()| scan.flush());
            let done = done.and_then(|()| scan.compact());
            faults.heal();
            if done.is_err() {
                scan.apply(batch, number).expect("applies");
                scan.flush().expect("flushes");
            }
            assert_eq!(scan.durable(), number);
            expect_all(&scan, &memory);
        }
        drop(scan);
        let scan = open(folder.path(), &spec);
        assert_eq!(scan.discarded(), None);
        scan.verify().expect("is whole");
        expect_all(&scan, &memory);
    }
}

fn written(spec: &Spec) -> (tempfile::TempDir, Memory) {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), spec);
    let mut memory = Memory::default();
    let mut maker = Maker::new(12, spec, Kind::Groups);
    for (from, number) in [(0, 1), (400, 2), (440, 3)] {
        let to = if from == 0 { 400 } else { from + 40 };
        let changes = maker.upserts(from..to);
        memory.apply(&changes);
        scan.apply(&changes, number).expect("applies");
        scan.flush().expect("flushes");
        scan.compact().expect("compacts");
    }
    let changes: Vec<_> = (0..30).map(delete).collect();
    memory.apply(&changes);
    scan.apply(&changes, 4).expect("applies");
    scan.flush().expect("flushes");
    (folder, memory)
}

/// Each file, and the bytes of it that are tried.
fn damaged(folder: &Path, mut try_it: impl FnMut(&Path, &[u8], usize)) {
    let mut random = Rng::with_seed(5);
    let paths = fs::read_dir(folder)
        .expect("lists")
        .map(|entry| entry.expect("is there").path());
    for path in paths.collect::<Vec<_>>() {
        let bytes = fs::read(&path).expect("reads");
        let mut places: Vec<_> = (0..bytes.len().min(300)).collect();
        places.extend((0..200).map(|_| random.usize(..bytes.len())));
        places.extend(bytes.len().saturating_sub(50)..bytes.len());
        for at in places {
            try_it(&path, &bytes, at);
        }
        fs::write(&path, &bytes).expect("writes");
    }
}

/// Opens what may be damaged. Either that is noticed, and at once or by
/// `verify` it is empty, or all answers are right.
fn expect_noticed_or_right(folder: &Path, spec: &Spec, memory: &Memory) -> bool {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(folder).expect("lists") {
        let entry = entry.expect("is there");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copies");
    }
    let scan = open(copy.path(), spec);
    let query = memory.embeddings.values().next().expect("some");
    if scan.discarded().is_some() {
        assert_eq!(scan.durable(), 0);
        assert_eq!(
            scan.search(request(query, 5), memory).expect("is empty"),
            []
        );
        assert_eq!(fs::read_dir(copy.path()).expect("lists").count(), 0);
        return true;
    }
    // Damage that is not noticed yet must not do worse than a wrong answer.
    scan.search(request(query, 1000), memory).expect("answers");
    if scan.verify().is_ok() {
        expect_all(&scan, memory);
        return false;
    }
    assert_eq!(scan.durable(), 0);
    assert!(scan.discarded().is_some());
    scan.search(request(query, 5), memory)
        .expect_err("must be made anew");
    scan.apply(&[delete(1)], 9).expect_err("must be made anew");
    scan.flush().expect_err("must be made anew");
    scan.clear().expect("clears");
    scan.apply(&[upsert(7, query.clone())], 1).expect("applies");
    assert_eq!(scan.stats().expect("counts").entries, 1);
    true
}

#[test]
fn a_changed_byte_is_noticed() {
    let spec = spec(8, METRIC);
    let (folder, memory) = written(&spec);
    assert!(!expect_noticed_or_right(folder.path(), &spec, &memory));
    let mut harmless = 0;
    damaged(folder.path(), |path, bytes, at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        fs::write(path, &changed).expect("writes");
        let noticed = expect_noticed_or_right(folder.path(), &spec, &memory);
        // Between sections are zeros that nobody reads.
        harmless += usize::from(!noticed);
    });
    assert!(harmless < 60, "{harmless}");
}

#[test]
fn a_file_that_is_cut_off_is_noticed() {
    let spec = spec(8, METRIC);
    let (folder, memory) = written(&spec);
    damaged(folder.path(), |path, bytes, at| {
        if at % 4 == 0 {
            fs::write(path, &bytes[..at]).expect("writes");
            assert!(
                expect_noticed_or_right(folder.path(), &spec, &memory),
                "{path:?} {at}"
            );
        }
    });
    let paths = fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| entry.expect("is there").path());
    for path in paths.collect::<Vec<_>>() {
        let bytes = fs::read(&path).expect("reads");
        let more = [&bytes[..], &[0]].concat();
        fs::write(&path, more).expect("writes");
        assert!(
            expect_noticed_or_right(folder.path(), &spec, &memory),
            "{path:?}"
        );
        fs::remove_file(&path).expect("removes");
        let lost = !path.ends_with("manifest");
        let scan = {
            let copy = tempfile::tempdir().expect("a folder");
            for entry in fs::read_dir(folder.path()).expect("lists") {
                let entry = entry.expect("is there");
                fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copies");
            }
            open(copy.path(), &spec)
        };
        assert_eq!((scan.durable(), scan.discarded().is_some()), (0, lost));
        fs::write(&path, &bytes).expect("writes");
    }
}

#[test]
fn an_index_of_something_else_is_thrown_away() {
    let spec = spec(8, METRIC);
    let others = [
        Spec {
            database: [9; 16],
            ..spec.clone()
        },
        Spec {
            model: [9; 32],
            ..spec.clone()
        },
        Spec {
            dimensions: 9,
            ..spec.clone()
        },
        Spec {
            metric: Metric::Dot,
            ..spec.clone()
        },
    ];
    for other in others {
        let (folder, _) = written(&spec);
        let scan = open(folder.path(), &other);
        assert_eq!(scan.durable(), 0);
        assert!(scan.discarded().is_some());
        assert_eq!(scan.stats().expect("counts").entries, 0);
        drop(scan);
        let scan = open(folder.path(), &other);
        assert_eq!(scan.discarded(), None, "now it is its own");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    fs::write(&path, "in the way").expect("writes");
    let spec = spec(8, METRIC);
    let error = Scan::open(&path, spec, SMALL).expect_err("is a file");
    assert!(error.to_string().contains("file"), "{error}");
}
