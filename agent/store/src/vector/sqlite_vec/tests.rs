use super::*;
use crate::error::ErrorKind;
use crate::vector::conformance::rows::{Fails, MemoryRows};
use crate::vector::conformance::{self, Files, Subject};
use crate::vector::{Entry, exact::nearest::nearest_first};

conformance::suite!(Subject {
    open: |folder, spec| Ok(Box::new(SqliteVec::open(folder, spec)?)),
    metrics: &[Metric::Cosine, Metric::Euclidean],
    recall: 1.0,
    files: Files::Index,
    available: || true,
});

fn spec(metric: Metric) -> Spec {
    Spec {
        database: [1; 16],
        model: [2; 32],
        dimensions: 2,
        metric,
    }
}

fn entry(passage: i64, vector: [f32; 2]) -> Change {
    Change::Upsert(Entry {
        passage,
        embedding: passage + 1000,
        vector: vector.to_vec(),
    })
}

#[test]
fn the_inner_product_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = SqliteVec::open(folder.path(), &spec(Metric::Dot)).expect_err("no dot");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("hint: set store.vector_engine"));
}

#[test]
fn vectors_that_do_not_fit_are_refused_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = SqliteVec::open(folder.path(), &spec(Metric::Euclidean)).expect("open");
    for bad in [vec![1.0], vec![1.0, 2.0, 3.0], vec![1.0, f32::NAN]] {
        let bad = Change::Upsert(Entry {
            passage: 2,
            embedding: 2,
            vector: bad,
        });
        let changes = [entry(1, [0.0, 1.0]), bad];
        let error = index.apply(&changes, 2).expect_err("does not fit");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("passage=2"), "{error}");
        assert_eq!(index.stats().expect("known").entries, 0);
    }
}

#[test]
fn ties_are_settled_by_asking_for_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = SqliteVec::open(folder.path(), &spec(Metric::Euclidean)).expect("open");
    let mut rows = MemoryRows::default();
    let same = (1..200).map(|passage| entry(passage, [0.5, 0.5]));
    let far = (200..400_u16).map(|passage| entry(passage.into(), [f32::from(passage), 1.0]));
    let changes: Vec<_> = same.chain(far).collect();
    changes.iter().for_each(|change| rows.apply(change));
    index.apply(&changes, 400).expect("taken in");
    rows.fail(Fails::ReadingAll);
    let request = Request {
        query: &[0.5, 0.25],
        wanted: 3,
        filter: None,
    };
    let found = index.search(request, &rows).expect("by the index alone");
    let passages: Vec<_> = found.iter().map(|found| found.passage).collect();
    assert_eq!(passages, [1, 2, 3]);
    assert!(found.is_sorted_by(|a, b| nearest_first(a, b).is_lt()));
}

/// The rows are right, whatever the index says.
#[test]
fn an_index_that_differs_from_the_rows_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = SqliteVec::open(folder.path(), &spec(Metric::Euclidean)).expect("open");
    let mut rows = MemoryRows::default();
    rows.apply(&entry(1, [0.0, 0.0]));
    rows.apply(&entry(2, [3.0, 0.0]));
    index
        .apply(&[entry(1, [9.0, 0.0]), entry(2, [3.0, 0.0])], 2)
        .expect("taken in");
    let request = Request {
        query: &[0.0, 0.0],
        wanted: 1,
        filter: None,
    };
    let found = index.search(request, &rows).expect("found");
    assert_eq!(found, rows.nearest(&spec(Metric::Euclidean), request));
    index.flush().expect("written");
    let found = index.search(request, &rows).expect("found");
    assert_eq!(found.first().map(|found| found.passage), Some(1));
}

#[test]
fn other_connections_do_not_have_the_extension() {
    let folder = tempfile::tempdir().expect("a folder");
    let _index = SqliteVec::open(folder.path(), &spec(Metric::Cosine)).expect("open");
    let other = Connection::open_in_memory().expect("open");
    let version = other.query_row("SELECT vec_version()", [], |row| row.get::<_, String>(0));
    assert!(version.is_err());
}

#[test]
fn deleted_rows_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = SqliteVec::open(folder.path(), &spec(Metric::Euclidean)).expect("open");
    let rows: Vec<_> = (1..3000)
        .map(|passage| entry(passage, [1.0, 1.0]))
        .collect();
    index.apply(&rows, 3000).expect("taken in");
    let gone: Vec<_> = (1..11).map(|passage| Change::Delete { passage }).collect();
    index.apply(&gone, 3010).expect("taken in");
    let stats = index.stats().expect("known");
    assert_eq!((stats.entries, stats.dead), (2989, 10));
}
