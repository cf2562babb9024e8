//! What sqlite-vss 0.1.2 does wrong, shown on the bare extension, and that it
//! does not happen here. One test for each, in the order in which they were
//! found.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;
use crate::error::ErrorKind;
use crate::vector::exact::Exact;
use crate::vector::sqlite_vss::import::import;

const TABLE: &str = "CREATE VIRTUAL TABLE x USING vss0(v(2))";
const INSERT: &str = "INSERT INTO x(rowid, v) VALUES (?, json_array(?, 1))";
const SEARCH: &str = "SELECT rowid FROM x WHERE vss_search(v, vss_search_params('[1, 1]', 9))";

/// Tells the test that it is the process that may die.
const CHILD: &str = "GINNEL_STORE_TEST_ABORT";

fn found(connection: &Connection) -> Vec<i64> {
    let mut search = connection.prepare(SEARCH).expect("prepared");
    let rows = search.query_map([], |row| row.get(0)).expect("searched");
    let mut rows: Vec<_> = rows.map(|row| row.expect("a row")).collect();
    rows.sort_unstable();
    rows
}

fn insert(connection: &Connection, rows: &[i64]) {
    for row in rows {
        connection.execute(INSERT, [row, row]).expect("inserted");
    }
}

#[test]
fn row_01_a_search_without_rows_is_never_made() {
    if !available() {
        return;
    }
    if std::env::var_os(CHILD).is_some() {
        let bare = raw(Path::new(":memory:"));
        bare.execute_batch(TABLE).expect("made");
        println!("found {:?}", found(&bare));
        return;
    }
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture"])
        .arg("vector::sqlite_vss::tests::defects::row_01_a_search_without_rows_is_never_made")
        .env(CHILD, "1")
        .output()
        .expect("run");
    assert_eq!(child.status.signal(), Some(6), "the bare extension aborts");

    let mut pair = Pair::new();
    pair.check(&[1.0; 4], 10, None);
    pair.apply(&entries(1..4));
    pair.index().flush().expect("written");
    pair.check(&[1.0; 4], 10, None);
    let gone = [1, 2, 3].map(|passage| Change::Delete { passage });
    pair.apply(&gone);
    pair.check(&[1.0; 4], 10, None);
    pair.index().flush().expect("written");
    pair.check(&[1.0; 4], 10, None);
    pair.open();
    pair.check(&[1.0; 4], 10, None);
    pair.index().clear().expect("cleared");
    pair.check(&[1.0; 4], 10, None);
}

#[test]
fn row_02_there_is_no_second_connection_that_sees_less() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (
        raw(&folder.path().join("x.db")),
        raw(&folder.path().join("x.db")),
    );
    one.execute_batch(TABLE).expect("made");
    insert(&one, &[1]);
    assert_eq!(found(&two), [1]);
    insert(&one, &[2, 3]);
    assert_eq!(found(&two), [1], "the bare extension does not see them");

    let mut pair = Pair::new();
    pair.apply(&entries(1..4));
    pair.index().flush().expect("written");
    let second = SqliteVss::open(pair.folder.path(), &spec(), &extension());
    let error = second.expect_err("the first has it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    pair.check(&[1.0; 4], 10, None);
    pair.open();
    pair.check(&[1.0; 4], 10, None);
}

#[test]
fn row_03_two_writers_lose_nothing() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.db");
    let (one, two) = (raw(&path), raw(&path));
    one.execute_batch(TABLE).expect("made");
    insert(&one, &[1]);
    assert_eq!(found(&two), [1]);
    insert(&one, &[2, 3]);
    insert(&two, &[4]);
    let lost = import(&path, "x", "v").expect("flat").lost();
    assert_eq!(lost, 2, "the bare extension overwrote them");

    let pair = Pair::new();
    std::thread::scope(|scope| {
        for part in 0..4_u16 {
            let index = pair.index();
            scope.spawn(move || {
                let first = part * 600 + 1;
                let changes = entries(first..first + 600);
                index.apply(&changes, 2400).expect("taken in");
                index.flush().expect("written");
            });
        }
    });
    assert_eq!(pair.index().stats().expect("known").entries, 2400);
    drop(pair.index);
    let import = import(&pair.folder.path().join("index.db"), "vectors", "vector");
    let import = import.expect("flat");
    assert_eq!(import.lost(), 0);
    assert_eq!(import.count(), 2400);
}

#[test]
fn row_04_what_was_rolled_back_to_a_savepoint_is_not_found() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.db");
    let bare = raw(&path);
    bare.execute_batch(TABLE).expect("made");
    bare.execute_batch("BEGIN; SAVEPOINT here").expect("begun");
    insert(&bare, &[21]);
    bare.execute_batch("ROLLBACK TO here").expect("back");
    insert(&bare, &[1]);
    bare.execute_batch("COMMIT").expect("done");
    assert_eq!(found(&bare), [1, 21], "the bare extension kept it");
    drop(bare);
    let rows: Vec<_> = import(&path, "x", "v")
        .expect("flat")
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [(1, vec![1.0, 1.0])]);

    // Such an index is not believed when it is opened.
    let mut pair = Pair::new();
    pair.apply(&entries(1..10));
    pair.index().flush().expect("written");
    pair.index = None;
    let bare = raw(&pair.path());
    let delete = "DELETE FROM vectors_data WHERE rowid = 4";
    bare.execute_batch(delete).expect("a phantom made");
    drop(bare);
    pair.open();
    assert_eq!(pair.index().durable(), 0);
}

#[test]
fn row_05_a_transaction_that_failed_leaves_nothing() {
    if !available() {
        return;
    }
    let bare = raw(Path::new(":memory:"));
    bare.execute_batch(TABLE).expect("made");
    insert(&bare, &[1]);
    bare.execute_batch("BEGIN").expect("begun");
    insert(&bare, &[2]);
    bare.execute_batch("ROLLBACK").expect("back");
    assert_eq!(found(&bare), [1], "this the bare extension can do");
    // That a failed commit leaves nothing either is `a_full_disk_does_no_harm`.
}

#[test]
fn row_06_updates_work() {
    if !available() {
        return;
    }
    let bare = raw(Path::new(":memory:"));
    bare.execute_batch(TABLE).expect("made");
    insert(&bare, &[1]);
    let update = "UPDATE x SET v = '[2, 2]' WHERE rowid = 1";
    let error = bare.execute_batch(update).expect_err("not supported");
    assert!(error.to_string().contains("not supported"), "{error}");

    let mut pair = Pair::new();
    pair.apply(&entries(1..50));
    pair.index().flush().expect("written");
    let moved = Change::Upsert(Entry {
        passage: 7,
        embedding: 9,
        vector: vec![500.0; 4],
    });
    pair.apply(&[moved]);
    pair.check(&[500.0; 4], 3, None);
    pair.index().flush().expect("written");
    pair.check(&[500.0; 4], 3, None);
    pair.check(&[7.0; 4], 3, None);
}

#[test]
fn row_07_filters_still_give_what_passes() {
    if !available() {
        return;
    }
    let bare = raw(Path::new(":memory:"));
    bare.execute_batch(TABLE).expect("made");
    insert(&bare, &[1, 2, 3]);
    let nearest = "SELECT count(*) FROM x WHERE rowid IN (3)
         AND vss_search(v, vss_search_params('[1, 1]', 1))";
    let count: i64 = bare
        .query_row(nearest, [], |row| row.get(0))
        .expect("searched");
    assert_eq!(count, 0, "the bare extension filters what is left");

    let mut pair = Pair::new();
    pair.apply(&entries(1..200));
    pair.index().flush().expect("written");
    pair.check(&[1.0; 4], 1, Some(&[190]));
    pair.check(&[1.0; 4], 5, Some(&[190, 7, 100, 5, 30, 2]));
}

#[test]
fn row_08_changes_are_found_before_they_are_written() {
    if !available() {
        return;
    }
    let bare = raw(Path::new(":memory:"));
    bare.execute_batch(TABLE).expect("made");
    insert(&bare, &[1]);
    bare.execute_batch("BEGIN").expect("begun");
    insert(&bare, &[2]);
    assert_eq!(found(&bare), [1], "the bare extension finds it later");

    let mut pair = Pair::new();
    pair.apply(&entries(1..5));
    assert_eq!(pair.index().durable(), 0);
    pair.check(&[1.0; 4], 3, None);
}

#[test]
fn row_09_one_row_does_not_write_the_whole_index() {
    if !available() {
        return;
    }
    let mut pair = Pair::new();
    pair.apply(&entries(1..500));
    pair.index().flush().expect("written");
    let bytes = |pair: &Pair| pair.index().stats().expect("known").file_bytes;
    let before = bytes(&pair);
    for passage in 500..1499 {
        pair.apply(&[entry(passage)]);
        assert_eq!(bytes(&pair), before, "passage={passage}");
    }
    pair.check(&[900.0; 4], 3, None);
    pair.apply(&[entry(1499)]);
    assert!(
        bytes(&pair) > before,
        "the thousandth is written with the rest"
    );
}

#[test]
fn row_10_a_transaction_has_a_thousand_rows_at_most() {
    if !available() {
        return;
    }
    let mut pair = Pair::new();
    pair.apply(&entries(1..2));
    pair.index().flush().expect("written");
    pair.apply(&entries(2..2502));
    // Dropped with 500 that wait: those before are in two transactions.
    pair.open();
    assert_eq!(pair.index().durable(), 1, "they have to be given again");
    assert_eq!(pair.index().stats().expect("known").entries, 2001);
    pair.index().apply(&entries(2..2502), 2501).expect("again");
    assert_eq!(pair.index().stats().expect("known").entries, 2501);
    pair.check(&[2400.0; 4], 10, None);
}

#[test]
fn row_11_more_than_one_value_can_hold_is_refused() {
    let connection = Connection::open_in_memory().expect("open");
    let check = |dimensions, rows| {
        let spec = Spec {
            dimensions,
            ..spec()
        };
        table::check_size(&connection, &spec, rows)
    };
    check(384, 647_668).expect("999,999,520 bytes");
    let error = check(384, 647_669).expect_err("1,000,001,064 bytes");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("hint: set store.vector_engine"), "{text}");
    assert!(text.contains("rows=647669, dimensions=384"), "{text}");
    check(8192, 30_000).expect("fits");
    check(8192, 31_000).expect_err("does not");
    check(1, usize::MAX).expect_err("does not");
}

#[test]
fn row_12_the_index_has_no_lists_of_which_one_is_looked_at() {
    if !available() {
        return;
    }
    let mut pair = Pair::new();
    pair.apply(&entries(1..300));
    pair.index().flush().expect("written");
    pair.index = None;
    let import = import(&pair.path(), "vectors", "vector").expect("flat");
    assert_eq!(
        (import.dimensions(), import.metric()),
        (4, Metric::Euclidean)
    );
    assert_eq!(import.count(), 299);
}

#[test]
fn row_13_the_index_is_read_once() {
    if !available() {
        return;
    }
    let mut pair = Pair::new();
    pair.apply(&entries(1..300));
    pair.index().flush().expect("written");
    pair.open();
    pair.check(&[1.0; 4], 3, None);
    // It is in memory, and is not read again.
    std::fs::remove_file(pair.path()).expect("there");
    for _ in 0..20 {
        pair.check(&[9.0; 4], 3, None);
    }
    let stats = pair.index().stats().expect("known");
    assert!(stats.memory_bytes >= 299 * 4 * 4, "{stats:?}");
}

#[test]
fn row_14_scores_are_those_of_the_exact_engine() {
    if !available() {
        return;
    }
    let mut pair = Pair::new();
    pair.apply(&entries(1..1200));
    pair.index().flush().expect("written");
    let exact = Exact::new(spec());
    for value in [0.1, 3.3, 777.7, 1e6] {
        let request = Request {
            query: &[value, 0.3, -0.7, value / 7.0],
            wanted: 20,
            filter: None,
        };
        let bits = |index: &dyn VectorIndex| -> Vec<_> {
            let found = index.search(request, &pair.rows).expect("found");
            found
                .iter()
                .map(|one| (one.passage, one.score.to_bits()))
                .collect()
        };
        assert_eq!(bits(pair.index()), bits(&exact));
    }
}

/// The first two bytes of the value are the heading of the extension's format.
const UNLUCKY: u32 = 0x3f80_0176;

#[test]
fn row_15_no_vector_is_taken_for_another_format() {
    if !available() {
        return;
    }
    let unlucky = f32::from_bits(UNLUCKY);
    let bare = raw(Path::new(":memory:"));
    bare.execute_batch(TABLE).expect("made");
    bare.execute_batch("BEGIN").expect("begun");
    for (row, first) in [(1, unlucky), (2, 1.0), (3, 1.0)] {
        let values = rusqlite::params![row, crate::vector::sidecar::to_bytes(&[first, 1.0])];
        let insert = "INSERT INTO x(rowid, v) VALUES (?, ?)";
        bare.execute(insert, values).expect("inserted");
    }
    bare.execute_batch("COMMIT").expect("written");
    // The second and third are [1, 1], as is what is looked for.
    let search = "SELECT distance FROM x WHERE vss_search(v, vss_search_params('[1, 1]', 3))";
    let mut search = bare.prepare(search).expect("prepared");
    let found = search.query_map([], |row| row.get(0)).expect("searched");
    let found: Vec<f64> = found.map(|row| row.expect("a row")).collect();
    assert_ne!(found.get(..2), Some(&[0.0, 0.0][..]), "the bare extension");

    let mut pair = Pair::new();
    let unlucky = Change::Upsert(Entry {
        passage: 1,
        embedding: 1,
        vector: vec![unlucky, 1.0, 2.0, 3.0],
    });
    pair.apply(&[vec![unlucky], entries(2..300)].concat());
    pair.index().flush().expect("written");
    pair.check(&[1.0, 1.0, 2.0, 3.0], 10, None);
    pair.check(&[200.0, 0.0, 0.0, -66.0], 10, None);
    // The query too.
    pair.check(&[f32::from_bits(UNLUCKY), 1.0, 2.0, 3.0], 10, None);
}
