//! `ginnel store`: looking after what this device knows.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Subcommand, ValueHint};
use ginnel_daemon::environment::Environment;
use ginnel_daemon::quantity::bytes;
use ginnel_daemon::report;
use http::Method;
use serde_json::Value;

use super::import_vss::{self, ImportVss};
use super::knowledge::Asked;
use super::{json, printable, table};
use crate::api::knowledge::view::{BackupAnswer, BackupRequest, CheckAnswer, KnowledgeStatus};

/// `ginnel store`.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// What is done to the store as it is.
    #[command(flatten)]
    Upkeep(Upkeep),
    /// Take over the texts and vectors of a database that uses sqlite-vss
    ImportVss(ImportVss),
}

/// What is done to the store as it is.
#[derive(Debug, Subcommand)]
pub enum Upkeep {
    /// Show what there is and what it takes
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for damage; reads everything
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make all indexes anew from the documents
    RebuildIndex {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a copy of the database, whole while it is in use
    Backup {
        /// A file that is not there yet
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(
    command: Store,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let command = match command {
        Store::Upkeep(command) => command,
        Store::ImportVss(command) => {
            return import_vss::run(&command, state, environment, out).await;
        }
    };
    let asked = Asked::find(state, environment).await?;
    let done = look_after(&command, &asked, out).await;
    asked.close().await?;
    done
}

async fn look_after(
    command: &Upkeep,
    asked: &Asked,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        Upkeep::Stats { json } => {
            let status = asked
                .ask(Method::GET, "/v1/knowledge?too_long=true", &Value::Null)
                .await?;
            write_status(&status, *json, out)?;
        }
        Upkeep::Check { json } => {
            let found: CheckAnswer = asked
                .ask(Method::POST, "/v1/store/check", &Value::Null)
                .await?;
            write_findings(&found, *json, out)?;
            if !found.findings.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Upkeep::RebuildIndex { json } => {
            let path = "/v1/store/rebuild-index";
            let status = asked.ask(Method::POST, path, &Value::Null).await?;
            if !json {
                writeln!(out, "All indexes are new")?;
            }
            write_status(&status, *json, out)?;
        }
        Upkeep::Backup { file, json } => {
            let path = std::path::absolute(file)?;
            let path = path.to_str().context("path is not UTF-8")?.to_owned();
            let request = BackupRequest { path };
            let answer: BackupAnswer = asked
                .ask(Method::POST, "/v1/store/backup", &request)
                .await?;
            match json {
                true => json::line(&answer, out)?,
                false => writeln!(out, "Wrote {}, {}", file.display(), bytes(answer.bytes))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_status(status: &KnowledgeStatus, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        return json::pretty(status, out);
    }
    let embedder = &status.embedder;
    let mut state = match (&embedder.model, &embedder.settings) {
        (Some(model), _) => format!("{}, {model}", embedder.state),
        (None, Some(settings)) => format!("{}, {settings}", embedder.state),
        (None, None) => embedder.state.clone(),
    };
    let mut hints = Vec::new();
    if let Some(problem) = &embedder.problem {
        let problem = report::take_hints(&printable::line(problem), &mut hints);
        state.push_str(&format!(", {problem}"));
    }
    let mut rows = vec![
        ["documents".to_owned(), status.documents.to_string()],
        ["passages".to_owned(), status.passages.to_string()],
        ["deleted rows".to_owned(), status.tombstones.to_string()],
        ["database".to_owned(), bytes(status.database_bytes)],
        ["embedder".to_owned(), state],
    ];
    if status.unindexed > 0 {
        let text = format!("{} passages, not found by words yet", status.unindexed);
        rows.push(["being indexed".to_owned(), text]);
    }
    if let Some(found) = &embedder.too_long {
        let least = if found.complete { "" } else { "at least " };
        let text = format!(
            "{least}{} passages have more than the {} tokens that the model reads",
            found.passages, found.tokens_max
        );
        rows.push(["too long".to_owned(), text]);
    }
    for model in &status.models {
        if let Some(problem) = &model.engine_problem {
            let problem = report::take_hints(&printable::line(problem), &mut hints);
            let text = format!("not {}: {problem}", status.vector_engine);
            rows.push(["engine".to_owned(), text]);
        }
        let ready = if model.ready { "ready" } else { "being made" };
        let text = format!(
            "{} vectors of {} dimensions, {} passages without; index {} {ready}, {} on disk, {} in memory",
            model.vectors,
            model.dimensions,
            model.missing,
            model.engine,
            bytes(model.index_bytes),
            bytes(model.memory_bytes)
        );
        rows.push([format!("model {}", model.name), text]);
    }
    table::write(out, &rows)?;
    for hint in hints {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(())
}

fn write_findings(found: &CheckAnswer, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        return json::pretty(found, out);
    }
    for finding in &found.findings {
        let what = printable::line(&finding.what);
        writeln!(out, "{}: {what}", finding.part)?;
    }
    if found.findings.is_empty() {
        writeln!(out, "All is well")?;
    }
    let has = |part: &str| found.findings.iter().any(|finding| finding.part == part);
    if has("file") {
        writeln!(
            out,
            "hint: restore a backup; what can be read can be saved with sqlite3 .recover"
        )?;
    }
    if has("row") {
        writeln!(out, "hint: add the documents again")?;
    }
    if has("index") {
        writeln!(out, "hint: ginnel store rebuild-index")?;
    }
    Ok(())
}
