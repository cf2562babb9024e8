#[cfg(unix)]
mod defects;
mod imports;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::vector::Entry;
use crate::vector::conformance::rows::MemoryRows;
use crate::vector::conformance::{self, Files, Subject};
use crate::vector::metric::Metric;

conformance::suite!(Subject {
    open: |folder, spec| Ok(Box::new(SqliteVss::open(folder, spec, &extension())?)),
    metrics: &Metric::ALL,
    recall: 1.0,
    files: Files::Index,
    available,
});

/// The folder that `tests/vss` made, or that `GINNEL_VSS_DIR` names.
pub(super) fn installed() -> PathBuf {
    std::env::var_os("GINNEL_VSS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vss/sqlite_vss"),
        PathBuf::from,
    )
}

#[cfg(not(feature = "vss-static"))]
pub(super) fn extension() -> Extension {
    Extension::Folder(installed())
}

#[cfg(feature = "vss-static")]
pub(super) fn extension() -> Extension {
    Extension::Linked
}

/// Whether the extension is here. `GINNEL_REQUIRE_VSS` makes its absence a
/// failure.
pub(super) fn available() -> bool {
    let found = extension().register(&Connection::open_in_memory().expect("open"));
    let required = std::env::var_os("GINNEL_REQUIRE_VSS").is_some();
    match &found {
        Err(error) if required => panic!("{error}"),
        Err(error) => println!("skipped: {error}"),
        Ok(()) => {}
    }
    found.is_ok()
}

/// An engine beside its rows, with vectors of four dimensions.
struct Pair {
    folder: TempDir,
    index: Option<SqliteVss>,
    rows: MemoryRows,
    changes: u64,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            folder: tempfile::tempdir().expect("a folder"),
            index: None,
            rows: MemoryRows::default(),
            changes: 0,
        };
        pair.open();
        pair
    }

    fn open(&mut self) {
        self.index = None;
        let opened = SqliteVss::open(self.folder.path(), &spec(), &extension());
        self.index = Some(opened.expect("open"));
    }

    fn index(&self) -> &SqliteVss {
        self.index.as_ref().expect("open")
    }

    fn apply(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.rows.apply(change));
        self.changes += changes.len() as u64;
        self.index().apply(changes, self.changes).expect("taken in");
    }

    fn check(&self, query: &[f32], wanted: usize, filter: Option<&[i64]>) {
        let filter = filter.map(|passages| passages.iter().copied().collect());
        let request = Request {
            query,
            wanted,
            filter: filter.as_ref(),
        };
        let found = self.index().search(request, &self.rows).expect("found");
        assert_eq!(found, self.rows.nearest(&spec(), request));
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("index.db")
    }
}

fn spec() -> Spec {
    Spec {
        database: [1; 16],
        model: [2; 32],
        dimensions: 4,
        metric: Metric::Euclidean,
    }
}

/// A passage with a vector that is its own.
fn entry(passage: u16) -> Change {
    let value = f32::from(passage);
    Change::Upsert(Entry {
        passage: passage.into(),
        embedding: 100_000 + i64::from(passage),
        vector: vec![value, value.sin(), value.cos(), -value / 3.0],
    })
}

fn entries(passages: std::ops::Range<u16>) -> Vec<Change> {
    passages.map(entry).collect()
}

/// A connection that has the extension and none of our guards.
fn raw(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("open");
    extension().register(&connection).expect("loaded");
    connection
}
