//! Taking over a database that the extension itself made, with rows that nobody
//! can use.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;

/// Made by `tests/vss` with the Python package, where a Python can do that.
fn example() -> Option<PathBuf> {
    let extension = std::env::var_os("GINNEL_VSS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vss/sqlite_vss"),
        PathBuf::from,
    );
    let example = extension.join("../example.db");
    if example.is_file() {
        return Some(example);
    }
    println!("skipped, there is no example; hint: run tests/vss");
    None
}

#[tokio::test]
async fn bad_rows_are_named_and_left_out() {
    let Some(example) = example() else {
        return;
    };
    let dir = tempfile::tempdir().expect("folder");
    std::fs::copy(example, dir.path().join("old.db")).expect("copied");
    let line =
        "store import-vss DIR/old.db --vectors spoilt.v --texts spoilt_text.body --model org/100%";
    let (code, said) = run_in(&dir, line).await.expect("it goes on");
    assert_eq!(code, ExitCode::FAILURE, "{said}");
    let mut lines: Vec<&str> = said.lines().collect();
    let summary = lines.split_off(7);
    assert_eq!(
        summary,
        [
            "Imported 2 documents with vectors of model org/100%",
            "3 vectors have no text and were left out",
            "7 rows could not be taken",
        ]
    );
    lines.sort_unstable();
    for (line, begins) in lines.iter().zip([
        "cannot import row 10: a number stands where a text should",
        "cannot import row 11: a blob stands where a text should",
        "cannot import row 12: text is not UTF-8, byte=3",
        "cannot import row 2: vector has a value that is not finite, dimension=1",
        "cannot import row 3: vector has a value that is not finite, dimension=2",
        "cannot import row 4: passage is empty, too long",
        "cannot import row 7: vector",
    ]) {
        assert!(line.starts_with(begins), "{line}");
    }
    let found = say(&dir, "search ferry").await;
    assert!(found.contains("old.db#spoilt_text.body#1"), "{found}");
    let found = say(&dir, "search apples").await;
    assert!(found.contains("old.db#spoilt_text.body#8"), "{found}");

    // The same again changes nothing, and says the same to programs.
    let (code, said) = run_in(&dir, &format!("{line} --json"))
        .await
        .expect("again");
    assert_eq!(code, ExitCode::FAILURE, "{said}");
    let mut lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let summary = lines.pop().expect("a summary");
    assert_eq!(
        summary,
        json!({"documents": 2, "without_text": 3, "lost": 0, "failed": 7})
    );
    let mut rows: Vec<i64> = lines
        .iter()
        .filter_map(|line| line["rowid"].as_i64())
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [2, 3, 4, 7, 10, 11, 12]);
    assert!(lines.iter().all(|line| line["reason"].is_string()));

    // Another table of that file, and another file of that name, take nothing
    // away from it.
    let other = "store import-vss DIR/old.db --vectors articles.headline --texts articles_text.body --model other --json";
    let (_, said) = run_in(&dir, other).await.expect("imported");
    assert!(said.contains("\"documents\":"), "{said}");
    run_in(&dir, &format!("{line} --as second"))
        .await
        .expect("imported");
    let found = say(&dir, "search ferry --mode text").await;
    assert!(found.contains("old.db#spoilt_text.body#1"), "{found}");
    assert!(found.contains("second#spoilt_text.body#1"), "{found}");
}

#[tokio::test]
async fn what_is_asked_for_is_checked_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("notes.txt"), "no database").expect("written");
    std::fs::write(dir.path().join("empty.db"), "").expect("written");
    for (file, says) in [
        ("notes.txt", "file is no SQLite database, path="),
        ("gone.db", "no such file, path="),
        ("empty.db", "no such vss0 table, table=a"),
    ] {
        let line = format!("store import-vss DIR/{file} --vectors a.v --texts b.t --model m");
        let error = run_in(&dir, &line).await.expect_err(file).to_string();
        assert!(error.starts_with(says), "{error}");
    }
    for line in [
        "store import-vss DIR/empty.db --vectors a --texts b.t --model m",
        "store import-vss DIR/empty.db --vectors a.v --texts .t --model m",
        "store import-vss DIR/empty.db --vectors a.v --texts b.t --model m -c No/Name",
    ] {
        let error = run_in(&dir, line).await.expect_err(line);
        let error = error.downcast_ref::<clap::Error>().expect("of the line");
        assert_eq!(error.exit_code(), 2);
    }
    assert!(!dir.path().join("store").exists());
}
