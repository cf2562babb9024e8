//! `ginnel store import-vss`: takes over what an application keeps with the
//! extension sqlite-vss.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueHint};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ginnel_store::vector::sqlite_vss::import::{import, texts};
use http::Method;

use super::knowledge::Asked;
use crate::api::knowledge::view::{NewDocument, NewModel, NewPassage, StoredView};
use crate::api::percent;

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
    pub vectors: String,
    /// The table and column with the texts, by the same rowid
    #[arg(long, value_name = "TABLE.COLUMN")]
    pub texts: String,
    /// What to call the model that made the vectors
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Where the documents go
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub collection: String,
}

pub(super) async fn run(
    command: &ImportVss,
    asked: &Asked,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (table, column) = place(&command.vectors)?;
    let mut rows = import(&command.file, table, column)?;
    let (table, column) = place(&command.texts)?;
    let texts = texts(&command.file, table, column)?;
    let model = NewModel {
        dimensions: rows.dimensions(),
        metric: Some(rows.metric().to_string()),
    };
    let path = format!("/v1/models/{}", percent::encode(&command.model));
    let _: NewModel = asked.ask(Method::PUT, &path, &model).await?;
    let name = command
        .file
        .file_name()
        .context("file has no name")?
        .to_string_lossy();
    let (mut stored, mut without_text) = (0_u64, 0_u64);
    let lost = rows.lost();
    let mut storing = FuturesUnordered::new();
    loop {
        let row = rows.next().transpose()?;
        if let Some((rowid, vector)) = row {
            match texts.text(rowid)?.filter(|text| !text.trim().is_empty()) {
                None => without_text += 1,
                Some(text) => {
                    let new = document(command, format!("{name}#{rowid}"), text, vector);
                    storing.push(store(asked, new));
                }
            }
            if storing.len() < AT_ONCE {
                continue;
            }
        } else if storing.is_empty() {
            break;
        }
        if let Some(done) = storing.next().await {
            done?;
            stored += 1;
        }
    }
    writeln!(
        out,
        "Imported {stored} documents with vectors of model {}",
        command.model
    )?;
    if without_text > 0 {
        writeln!(out, "{without_text} vectors have no text and were left out")?;
    }
    if lost > 0 {
        writeln!(out, "{lost} rows had lost their vectors in that database")?;
    }
    Ok(())
}

async fn store(asked: &Asked, new: NewDocument) -> anyhow::Result<StoredView> {
    asked.ask(Method::POST, "/v1/documents", &new).await
}

fn document(command: &ImportVss, source: String, text: String, vector: Vec<f32>) -> NewDocument {
    NewDocument {
        collection: Some(command.collection.clone()),
        source: Some(source),
        passages: vec![NewPassage {
            text,
            vector: Some(vector),
        }],
        model: Some(command.model.clone()),
        ..NewDocument::default()
    }
}

fn place(text: &str) -> anyhow::Result<(&str, &str)> {
    match text.split_once('.') {
        Some((table, column)) if !table.is_empty() && !column.is_empty() => Ok((table, column)),
        _ => bail!("not of the form TABLE.COLUMN, found={text:?}"),
    }
}
