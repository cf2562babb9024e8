//! `ginnel store import-vss`: takes over what an application keeps with the
//! extension sqlite-vss.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ginnel_daemon::environment::Environment;
use ginnel_proto::id::CollectionName;
use ginnel_store::vector::sqlite_vss::import::texts::{self, Place, Texts};
use ginnel_store::vector::sqlite_vss::import::{Import, import};
use http::{Method, StatusCode};
use serde::Serialize;

use super::knowledge::Asked;
use super::{json, printable};
use crate::api::knowledge::view::{NewDocument, NewModel, NewPassage, StoredView};
use crate::api::percent;
use crate::local_client::ClientError;

/// Documents that are stored at once, so that they share commits.
const AT_ONCE: usize = 32;

/// `ginnel store import-vss`.
#[derive(Debug, Args)]
pub struct ImportVss {
    /// The database; it is only read
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The table of the extension and its column, such as vss_articles.body
    #[arg(long, value_name = "TABLE.COLUMN")]
    pub vectors: Column,
    /// The table and column with the texts, by the same rowid
    #[arg(long, value_name = "TABLE.COLUMN")]
    pub texts: Column,
    /// What to call the model that made the vectors
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Where the documents go
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub collection: CollectionName,
    /// What the documents' sources begin with, instead of the file's name. Two
    /// files of one name need it, or the second replaces the first
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A column, written `TABLE.COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    table: String,
    column: String,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Imported {
    documents: u64,
    /// Vectors without a text.
    without_text: u64,
    /// Rows that had lost their vectors in that database.
    lost: usize,
    /// Rows that could not be taken.
    failed: u64,
}

pub(super) async fn run(
    command: &ImportVss,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let ImportVss { file, vectors, .. } = command;
    let rows = import(file, &vectors.table, &vectors.column)?;
    let Column { table, column } = &command.texts;
    let texts = texts::open(file, table, column)?;
    // All that was asked for is there: from here on something is written.
    let asked = Asked::find(state, environment).await?;
    let done = take_over(command, (rows, texts), &asked, out).await;
    asked.close().await?;
    done
}

async fn take_over(
    command: &ImportVss,
    (mut rows, texts): (Import, Texts),
    asked: &Asked,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let model = NewModel {
        dimensions: rows.dimensions(),
        metric: Some(rows.metric().to_string()),
    };
    let path = format!("/v1/models/{}", percent::encode(&command.model));
    let _: NewModel = asked.ask(Method::PUT, &path, &model).await?;
    let mut imported = Imported {
        lost: rows.lost(),
        ..Imported::default()
    };
    let mut storing = FuturesUnordered::new();
    loop {
        let row = rows.next().transpose()?;
        if let Some((rowid, vector)) = row {
            match texts.text(rowid)? {
                Place::Text(text) if !text.trim().is_empty() => {
                    storing.push(store(command, asked, rowid, (text, vector)));
                }
                Place::Text(_) | Place::Empty => imported.without_text += 1,
                Place::NoText(reason) => {
                    imported.failed += 1;
                    tell(&Refused { rowid, reason }, command.json, out)?;
                }
            }
            if storing.len() < AT_ONCE {
                continue;
            }
        } else if storing.is_empty() {
            break;
        }
        match storing.next().await.transpose()? {
            None => {}
            Some(Ok(())) => imported.documents += 1,
            Some(Err(refused)) => {
                imported.failed += 1;
                tell(&refused, command.json, out)?;
            }
        }
    }
    imported.write(command, out)?;
    Ok(match imported.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Imported {
    fn write(&self, command: &ImportVss, out: &mut dyn Write) -> anyhow::Result<()> {
        if command.json {
            return json::line(self, out);
        }
        let (documents, model) = (self.documents, printable::line(&command.model));
        writeln!(
            out,
            "Imported {documents} documents with vectors of model {model}"
        )?;
        if self.without_text > 0 {
            let count = self.without_text;
            writeln!(out, "{count} vectors have no text and were left out")?;
        }
        if self.lost > 0 {
            let count = self.lost;
            writeln!(out, "{count} rows had lost their vectors in that database")?;
        }
        if self.failed > 0 {
            writeln!(out, "{} rows could not be taken", self.failed)?;
        }
        Ok(())
    }
}

/// A row that was not taken, and why.
#[derive(Debug, Serialize)]
struct Refused {
    rowid: i64,
    reason: String,
}

fn tell(refused: &Refused, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    match json {
        true => json::line(refused, out),
        false => {
            let reason = printable::line(&refused.reason);
            Ok(writeln!(
                out,
                "cannot import row {}: {reason}",
                refused.rowid
            )?)
        }
    }
}

/// Stores one row. The inner error is about this row only, and the others go
/// on.
async fn store(
    command: &ImportVss,
    asked: &Asked,
    rowid: i64,
    (text, vector): (String, Vec<f32>),
) -> anyhow::Result<Result<(), Refused>> {
    let refused = |reason: String| Ok(Err(Refused { rowid, reason }));
    // JSON has no such numbers.
    if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
        return refused(format!(
            "vector has a value that is not finite, dimension={at}"
        ));
    }
    let source = source(command, rowid)?;
    let new = document(command, source, text, vector);
    let stored = asked.ask(Method::POST, "/v1/documents", &new).await;
    match stored {
        Ok(StoredView { .. }) => Ok(Ok(())),
        Err(error) => match error.downcast_ref() {
            Some(ClientError::Refused { status, .. }) if is_of_row(*status) => {
                refused(error.to_string())
            }
            Some(_) | None => Err(error),
        },
    }
}

/// `old.db#articles.body#7`: rows of two tables do not meet.
fn source(command: &ImportVss, rowid: i64) -> anyhow::Result<String> {
    let name = match &command.name {
        Some(name) => name.clone(),
        None => {
            let name = command.file.file_name().context("file has no name")?;
            name.to_string_lossy().into_owned()
        }
    };
    Ok(format!("{name}#{}#{rowid}", command.texts))
}

fn is_of_row(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE
    )
}

fn document(command: &ImportVss, source: String, text: String, vector: Vec<f32>) -> NewDocument {
    NewDocument {
        collection: Some(command.collection.to_string()),
        source: Some(source),
        passages: vec![NewPassage {
            text,
            vector: Some(vector),
        }],
        model: Some(command.model.clone()),
        ..NewDocument::default()
    }
}

impl FromStr for Column {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((table, column)) if !table.is_empty() && !column.is_empty() => Ok(Self {
                table: table.to_owned(),
                column: column.to_owned(),
            }),
            _ => Err("is not of the form TABLE.COLUMN"),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}
