//! What a device knows: the project's own documents and a book, found by words
//! and by meaning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::process::Setup;
use crate::story::{row, say, show};

/// How long installing or embedding may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the packages gave.
#[derive(Debug)]
pub(crate) struct Samples {
    /// A real model.
    model: PathBuf,
    /// A real book.
    book: PathBuf,
}

/// Installs the model and the book, and puts the model where the agent looks
/// for one.
pub(crate) async fn prepare(setup: &Setup) -> anyhow::Result<Option<Samples>> {
    let printed = match script("tests/samples").await {
        Ok(printed) => printed,
        Err(error) => {
            say(&format!(
                "  no model and no book, so only words are compared: {error:#}"
            ));
            return Ok(None);
        }
    };
    let mut lines = printed.lines();
    let (model, book) = (lines.next(), lines.next());
    let samples = Samples {
        model: model.context("no model was named")?.into(),
        book: book.context("no book was named")?.into(),
    };
    let state = setup.folder.join("agent");
    make_private(&state)?;
    link(&samples.model, &state.join("embedder"))?;
    Ok(Some(samples))
}

/// Adds, searches, and searches again with another engine.
pub(crate) async fn tell(setup: &Setup, samples: Option<&Samples>) -> anyhow::Result<()> {
    add(setup, "docs").await?;
    search(setup, "how a lost link is made again", "docs/").await?;
    let Some(samples) = samples else {
        return Ok(());
    };
    let book = samples.book.to_str().context("path is not UTF-8")?;
    add(setup, book).await?;
    search(
        setup,
        "a cat that vanishes and leaves its smile",
        "alice.txt",
    )
    .await?;
    search(setup, "who painted the flowers", "alice.txt").await?;
    other_engine(setup).await
}

async fn add(setup: &Setup, path: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let told = timeout(PATIENCE, setup.ginnel_for_long(&["add", path])).await;
    let told = told.context("adding takes too long")??;
    let last = told.lines().last().context("nothing was told")?;
    let done: Value = serde_json::from_str(last)?;
    ensure!(done["event"] == "done" && done["failed"] == 0, "{last}");
    let what = format!(
        "{} files, {} passages ({})",
        done["added"],
        done["passages"],
        show(began.elapsed())
    );
    let name = Path::new(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    row(&format!("ginnel add {name}"), &what);
    Ok(())
}

async fn search(setup: &Setup, question: &str, source: &str) -> anyhow::Result<()> {
    let found = setup
        .ginnel(&["search", "--json", "--limit", "3", question])
        .await?;
    let found: Value = serde_json::from_str(&found)?;
    let first = &found["hits"][0];
    let from = first["source"].as_str().unwrap_or_default();
    ensure!(
        from.starts_with(source),
        "found in {from:?}, not in {source}: {question}"
    );
    let text = first["text"].as_str().unwrap_or_default();
    let start: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = start.chars().take(60).collect();
    let what = format!(
        "{from} by {} in {:.1} ms: “{start}…”",
        found["mode"].as_str().unwrap_or_default(),
        found["took_ms"].as_f64().unwrap_or_default()
    );
    row(&format!("“{question}”"), &what);
    Ok(())
}

/// Searches a copy of the store with sqlite-vss, where that can be installed.
async fn other_engine(setup: &Setup) -> anyhow::Result<()> {
    let extension = match script("tests/vss").await {
        Ok(printed) => printed.trim().to_owned(),
        Err(error) => {
            row("with sqlite-vss", &format!("not here: {error:#}"));
            return Ok(());
        }
    };
    let state = setup.folder.join("other");
    std::fs::create_dir_all(state.join("store"))?;
    let copy = state.join("store/store.db");
    let copy = copy.to_str().context("path is not UTF-8")?;
    setup.ginnel(&["store", "backup", copy]).await?;
    link(
        &setup.folder.join("agent/embedder"),
        &state.join("embedder"),
    )?;
    let settings = format!("[store]\nvector_engine = \"sqlite-vss\"\nvss_dir = {extension:?}\n");
    std::fs::write(state.join("config.toml"), settings)?;
    let state = state.to_str().context("path is not UTF-8")?;
    let question = "a cat that vanishes and leaves its smile";
    let command = [
        "--state", state, "search", "--json", "--mode", "vector", question,
    ];
    let found = setup.ginnel(&command).await?;
    let found: Value = serde_json::from_str(&found)?;
    let from = found["hits"][0]["source"].as_str().unwrap_or_default();
    ensure!(from == "alice.txt", "sqlite-vss found {from:?}");
    // Another engine would find the same: this is which one it was.
    let stats = ["--state", state, "store", "stats", "--json"];
    let stats: Value = serde_json::from_str(&setup.ginnel(&stats).await?)?;
    let model = &stats["models"][0];
    ensure!(
        model["engine"] == "sqlite-vss" && model["index_bytes"].as_u64() > Some(0),
        "the engine is not sqlite-vss: {model}"
    );
    let what = format!(
        "{from} too, in {:.1} ms, {} vectors in {}",
        found["took_ms"].as_f64().unwrap_or_default(),
        model["vectors"],
        model["engine"].as_str().unwrap_or_default()
    );
    row("a copy, by sqlite-vss", &what);
    Ok(())
}

/// Runs a script of the project, and gives what it prints.
async fn script(path: &str) -> anyhow::Result<String> {
    let output = timeout(PATIENCE, Command::new(path).kill_on_drop(true).output()).await;
    let output = output.with_context(|| format!("{path} takes too long"))??;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Makes a folder for this user alone.
fn make_private(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    Ok(builder.create(folder)?)
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(to, at)?)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("this system has no links")
}
