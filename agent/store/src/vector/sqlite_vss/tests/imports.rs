//! Reading tables that were made without us.

use super::*;
use crate::error::ErrorKind;
use crate::vector::sqlite_vss::import::{Import, import};

type Row = (i64, Vec<f32>);

fn rows(import: Import) -> Vec<Row> {
    let rows: Result<Vec<_>> = import.collect();
    rows.expect("all of them")
}

/// Made by `tests/vss` with the Python package, where a Python can do that.
#[test]
fn a_database_of_the_python_package_is_read() {
    let path = installed().join("../example.db");
    if !path.is_file() {
        let required = std::env::var_os("GINNEL_REQUIRE_VSS").is_some();
        assert!(!required, "no example in {}", path.display());
        println!("skipped, there is no example; hint: run tests/vss");
        return;
    }
    let headline = import(&path, "articles", "headline").expect("flat");
    assert_eq!((headline.dimensions(), headline.lost()), (3, 0));
    assert_eq!(headline.metric(), Metric::Euclidean);
    let kept = (1..=100_u16).filter(|row| row % 10 != 0);
    let expected = kept.map(|row| {
        let value = f32::from(row);
        (i64::from(row), vec![value, value + 0.5, -value])
    });
    let mut found = rows(headline);
    found.sort_by_key(|(row, _)| *row);
    assert_eq!(found, expected.collect::<Vec<Row>>());

    let body = import(&path, "articles", "body").expect("flat");
    assert_eq!((body.dimensions(), body.metric()), (384, Metric::Dot));
    let body = rows(body);
    assert_eq!(body.len(), 90);
    let first = body.iter().find(|(row, _)| *row == 3).expect("kept");
    assert_eq!(first.1.get(383), Some(&(3.0 / 1024.0 + 383.0)));

    let error = import(&path, "articles", "lists").expect_err("not flat");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("found=IwFl"), "{error}");
    for (table, column) in [
        ("nothing", "headline"),
        ("articles", "nothing"),
        ("articles_data", "_"),
    ] {
        let error = import(&path, table, column).expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
    }
}

#[test]
fn a_table_of_the_extension_is_read_in_parts() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a \"name\".db");
    let mut bare = raw(&path);
    let make = "CREATE VIRTUAL TABLE \"my table\" USING vss0(v(1536))";
    bare.execute_batch(make).expect("made");
    // More than is read at once.
    let expected: Vec<Row> = (1..=1500_u16)
        .map(|row| (i64::from(row) * 7, vec![f32::from(row); 1536]))
        .collect();
    for part in expected.chunks(500) {
        let transaction = bare.transaction().expect("begun");
        for (row, vector) in part {
            let values = rusqlite::params![row, crate::vector::sidecar::to_bytes(vector)];
            let insert = "INSERT INTO \"my table\"(rowid, v) VALUES (?, ?)";
            transaction.execute(insert, values).expect("inserted");
        }
        transaction.commit().expect("done");
    }
    drop(bare);
    assert_eq!(
        rows(import(&path, "my table", "v").expect("flat")),
        expected
    );
}

#[test]
fn what_is_no_database_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.db");
    let missing = import(&path, "x", "v").expect_err("not there");
    assert_eq!(missing.kind(), ErrorKind::Missing);
    std::fs::write(&path, "no database at all, but long enough to be one").expect("written");
    let bad = import(&path, "x", "v").expect_err("no database");
    assert_eq!(bad.kind(), ErrorKind::Invalid);
}

#[test]
fn a_damaged_index_is_told_and_never_shown_to_the_extension() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.db");
    let connection = Connection::open(&path).expect("open");
    connection
        .execute_batch(
            "CREATE TABLE x_index(rowid INTEGER PRIMARY KEY, idx);
             CREATE TABLE x_data(rowid INTEGER PRIMARY KEY, _);
             INSERT INTO x_index VALUES (0, x'49784d32ffffffff');
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema VALUES
                 ('table', 'x', 'x', 0, 'CREATE VIRTUAL TABLE x USING vss0(v(3))');",
        )
        .expect("made");
    drop(connection);
    let error = import(&path, "x", "v").expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
