//! Counts the instructions of the hot paths under callgrind.
//!
//! Unlike times, counts are the same on a busy machine, so they are what is
//! compared between commits. Each path runs twice with different numbers of
//! operations: the difference is theirs alone, without the start.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::hot::HotPath;
use crate::peers::install::find;

/// How many operations the two runs differ by, and the shorter one's.
const FEW: u32 = 200;
const MORE: u32 = 1000;

/// Prints instructions for each operation, and the change against those
/// stored; `save` stores them.
///
/// # Errors
/// Valgrind is missing or fails, or the stored counts cannot be read.
pub fn run(save: bool) -> anyhow::Result<()> {
    let Some(valgrind) = find("valgrind") else {
        bail!("instructions are counted by valgrind, which is not installed");
    };
    ensure!(
        !cfg!(debug_assertions),
        "only a release build tells; hint: cargo run --release"
    );
    let stored = read()?;
    let mut counts = BTreeMap::new();
    println!("| | instructions | stored | change |");
    println!("| --- | --- | --- | --- |");
    for path in HotPath::ALL {
        let count = |times| count(&valgrind, path, times);
        let difference = count(FEW + MORE)?.saturating_sub(count(FEW)?);
        let each = difference / u64::from(MORE);
        let name = path.name().to_owned();
        match stored.get(&name) {
            Some(before) => {
                let change = (each as f64 / *before as f64 - 1.0) * 100.0;
                println!("| {name} | {each} | {before} | {change:+.1} % |");
            }
            None => println!("| {name} | {each} | | |"),
        }
        counts.insert(name, each);
    }
    if save {
        let mut json = serde_json::to_string_pretty(&counts)?;
        json.push('\n');
        fs::write(file(), json)?;
    }
    Ok(())
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

fn read() -> anyhow::Result<BTreeMap<String, u64>> {
    if !file().exists() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_slice(&fs::read(file())?).context("instructions.json is damaged")
}

/// Instructions of a whole run with so many operations.
fn count(valgrind: &std::path::Path, path: HotPath, times: u32) -> anyhow::Result<u64> {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["hot", path.name(), &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {text}");
    let line = text.lines().find(|line| line.contains("Collected :"));
    let count = line.and_then(|line| line.split_whitespace().last());
    let count = count.context("valgrind tells no count")?;
    Ok(count.parse()?)
}
