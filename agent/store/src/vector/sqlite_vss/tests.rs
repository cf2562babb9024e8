use std::path::PathBuf;

use super::*;
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
fn folder() -> PathBuf {
    std::env::var_os("GINNEL_VSS_DIR").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../target/vss/sqlite_vss"
            ))
        },
        PathBuf::from,
    )
}

fn extension() -> Extension {
    Extension::Folder(folder())
}

/// Whether the extension is here. `GINNEL_REQUIRE_VSS` makes its absence a
/// failure.
fn available() -> bool {
    let found = extension().register(&rusqlite::Connection::open_in_memory().expect("open"));
    let required = std::env::var_os("GINNEL_REQUIRE_VSS").is_some();
    match &found {
        Err(error) if required => panic!("{error}"),
        Err(error) => println!("skipped: {error}"),
        Ok(()) => {}
    }
    found.is_ok()
}
