//! Whether the nearest are found, whatever the vectors are like.

use super::*;

const QUERIES: usize = 15;

/// The share of the nearest ten that is found, without and with filters.
fn recall(spec: &Spec, kind: Kind, rows: i64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), spec);
    let mut maker = Maker::new(7, spec, kind);
    let mut memory = Memory::default();
    let changes = maker.upserts(0..rows);
    memory.apply(&changes);
    for (changes, watermark) in changes.chunks(70).zip(1..) {
        scan.apply(changes, watermark).expect("applies");
    }
    scan.compact().expect("compacts");
    let filters = [0.5, 0.1, 0.01].map(|share| maker.filter(0..rows, share));
    let (mut found, mut expected) = (0, 0);
    for _ in 0..QUERIES {
        let query = maker.vector();
        let all = filters.iter().map(Some).chain([None]);
        for filter in all {
            let asked = Request {
                query: &query,
                wanted: 10,
                filter,
            };
            let (right, of) = check(&scan, &memory, spec.metric, asked);
            (found, expected) = (found + right, expected + of);
        }
    }
    found as f64 / expected as f64
}

fn all_kinds(metric: Metric) {
    for dimensions in [1, 2, 5, 33, 64, 130] {
        for kind in Kind::ALL {
            let recall = recall(&spec(dimensions, metric), kind, 900);
            assert!(recall >= 0.99, "{dimensions} {kind:?}: {recall}");
        }
    }
    for kind in [Kind::Even, Kind::Narrow, Kind::Unequal] {
        let recall = recall(&spec(384, metric), kind, 900);
        assert!(recall >= 0.99, "{kind:?}: {recall}");
    }
}

#[test]
fn by_the_angle() {
    all_kinds(Metric::Cosine);
}

#[test]
fn by_the_product() {
    all_kinds(Metric::Dot);
}

#[test]
fn by_the_distance() {
    all_kinds(Metric::Euclidean);
}

#[test]
fn in_many_dimensions() {
    for metric in Metric::ALL {
        for (dimensions, rows) in [(1000, 400), (crate::vector::DIMENSIONS_MAX, 60)] {
            let recall = recall(&spec(dimensions, metric), Kind::Groups, rows);
            assert!(recall >= 0.99, "{metric} {dimensions}: {recall}");
        }
    }
}

#[test]
fn as_many_as_can_be_asked_for() {
    let spec = spec(64, Metric::Cosine);
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), &spec);
    let mut maker = Maker::new(3, &spec, Kind::Groups);
    let mut memory = Memory::default();
    let changes = maker.upserts(0..5000);
    memory.apply(&changes);
    scan.apply(&changes, 1).expect("applies");
    scan.compact().expect("compacts");
    let query = maker.vector();
    for wanted in [1, 100, crate::vector::NEIGHBOURS_MAX] {
        let (found, _) = check(&scan, &memory, spec.metric, request(&query, wanted));
        assert!(found as f64 >= 0.99 * wanted as f64, "{found} of {wanted}");
    }
    for wanted in [0, crate::vector::NEIGHBOURS_MAX + 1] {
        scan.search(request(&query, wanted), &memory)
            .expect_err("out of bounds");
    }
}

#[test]
fn rows_that_are_gone_leave_room_for_others() {
    let spec = spec(32, Metric::Cosine);
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), &spec);
    let mut maker = Maker::new(5, &spec, Kind::Even);
    let mut memory = Memory::default();
    let changes = maker.upserts(0..1000);
    memory.apply(&changes);
    scan.apply(&changes, 1).expect("applies");
    let query = maker.vector();
    let nearest = memory.nearest(spec.metric, request(&query, 300));
    for gone in nearest {
        let embedding = memory.passages.remove(&gone.passage).expect("was there");
        memory.embeddings.remove(&embedding);
    }
    assert_eq!(
        check(&scan, &memory, spec.metric, request(&query, 10)),
        (10, 10)
    );
    assert_eq!(
        check(&scan, &memory, spec.metric, request(&query, 1000)),
        (700, 700)
    );
}

#[test]
fn those_of_the_same_text_are_told_by_their_rowid() {
    let spec = spec(16, Metric::Cosine);
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), &spec);
    let mut memory = Memory::default();
    let vector = Maker::new(1, &spec, Kind::Even).vector();
    let changes: Vec<_> = (0..900)
        .rev()
        .map(|passage| {
            Change::Upsert(Entry {
                passage,
                embedding: 5,
                vector: vector.clone(),
            })
        })
        .collect();
    memory.apply(&changes);
    for (changes, watermark) in changes.chunks(50).zip(1..) {
        scan.apply(changes, watermark).expect("applies");
        let found = scan.search(request(&vector, 7), &memory).expect("answers");
        let lowest = 900 - 50 * i64::try_from(watermark).expect("small");
        let passages: Vec<_> = found.iter().map(|found| found.passage).collect();
        assert_eq!(passages, (lowest..lowest + 7).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_not_of_the_index_is_refused() {
    let spec = spec(3, Metric::Dot);
    let folder = tempfile::tempdir().expect("a folder");
    let scan = open(folder.path(), &spec);
    let memory = Memory::default();
    for vector in [
        vec![],
        vec![1.0; 2],
        vec![1.0; 4],
        vec![1.0, f32::NAN, 0.0],
        vec![f32::INFINITY; 3],
    ] {
        scan.search(request(&vector, 1), &memory)
            .expect_err("a query");
        let changes = [upsert(1, vec![1.0; 3]), upsert(2, vector)];
        scan.apply(&changes, 1).expect_err("a vector");
    }
    assert_eq!(
        scan.stats().expect("counts").entries,
        0,
        "nothing was taken"
    );
    assert_eq!(
        scan.search(request(&[1.0; 3], 5), &memory)
            .expect("is empty"),
        []
    );
}

#[test]
fn values_of_any_size_are_found() {
    for (size, metric) in [
        (1e-30, Metric::Dot),
        (1e-30, Metric::Euclidean),
        (1e15, Metric::Dot),
        (1e15, Metric::Euclidean),
    ] {
        let spec = spec(48, metric);
        let folder = tempfile::tempdir().expect("a folder");
        let scan = open(folder.path(), &spec);
        let mut maker = Maker::new(2, &spec, Kind::Even);
        let mut memory = Memory::default();
        let mut vector =
            || -> Vec<f32> { maker.vector().iter().map(|value| value * size).collect() };
        let changes: Vec<_> = (0..400).map(|passage| upsert(passage, vector())).collect();
        let query = vector();
        memory.apply(&changes);
        scan.apply(&changes, 1).expect("applies");
        scan.compact().expect("compacts");
        check(&scan, &memory, metric, request(&query, 10));
    }
}
