//! `ginnel documents` and `ginnel collections`.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use ginnel_daemon::environment::Environment;
use ginnel_store::id::DocumentId;
use http::Method;
use serde_json::{Value, json};

use super::knowledge::Asked;
use super::{json, printable, table};
use crate::api::knowledge::view::{Collections, DocumentView, Documents as Page};
use crate::api::percent;

/// Documents that are asked for at a time.
const PAGE: usize = 1000;

/// `ginnel documents`.
#[derive(Debug, Subcommand)]
pub enum Documents {
    /// List documents
    Ls {
        /// Only of this collection
        #[arg(long, short, value_name = "NAME")]
        collection: Option<String>,
        /// Only where the source begins so
        #[arg(long, value_name = "PREFIX")]
        source: Option<String>,
        /// Print a line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Show a document, without characters that a terminal would obey
    Show {
        /// Its id, or its source
        document: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a document
    Rm {
        /// Its id, or its source
        document: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(
    command: Documents,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let asked = Asked::find(state, environment).await?;
    let done = match &command {
        Documents::Ls {
            collection,
            source,
            json,
        } => list(&asked, collection.as_deref(), source.as_deref(), *json, out).await,
        Documents::Show { document, json } => show(&asked, document, *json, out).await,
        Documents::Rm { document, json } => remove(&asked, document, *json, out).await,
    };
    asked.close().await?;
    done
}

async fn list(
    asked: &Asked,
    collection: Option<&str>,
    source: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = page(asked, collection, source, after).await?;
        if json {
            for document in &page.documents {
                json::line(document, out)?;
            }
        } else {
            let rows: Vec<_> = page.documents.iter().map(row).collect();
            table::write(out, &rows)?;
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

async fn page(
    asked: &Asked,
    collection: Option<&str>,
    source: Option<&str>,
    after: i64,
) -> anyhow::Result<Page> {
    let mut path = format!("/v1/documents?limit={PAGE}&after={after}");
    for (name, value) in [("collection", collection), ("source", source)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", percent::encode(value)));
        }
    }
    asked.ask(Method::GET, &path, &Value::Null).await
}

fn row(document: &DocumentView) -> [String; 4] {
    [
        document.id.clone(),
        document.collection.clone(),
        document.source.clone().unwrap_or_default(),
        format!("{} passages", document.passages),
    ]
}

async fn show(
    asked: &Asked,
    document: &str,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let id = find(asked, document).await?;
    let path = format!("/v1/documents/{id}");
    let found: DocumentView = asked.ask(Method::GET, &path, &Value::Null).await?;
    if json {
        return json::pretty(&found, out);
    }
    let text = found.text.unwrap_or_default();
    writeln!(out, "{}", printable::lines(&text))?;
    Ok(())
}

async fn remove(
    asked: &Asked,
    document: &str,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let id = find(asked, document).await?;
    let path = format!("/v1/documents/{id}");
    let _: Value = asked.ask(Method::DELETE, &path, &Value::Null).await?;
    match json {
        true => json::line(&json!({ "deleted": id }), out),
        false => Ok(writeln!(out, "Deleted {}", printable::line(document))?),
    }
}

/// The id of a document that was named by its id or source.
async fn find(asked: &Asked, document: &str) -> anyhow::Result<String> {
    if document.parse::<DocumentId>().is_ok() {
        return Ok(document.to_owned());
    }
    let mut found = Vec::new();
    // Its collection and source make the id.
    let all: Collections = asked
        .ask(Method::GET, "/v1/collections", &Value::Null)
        .await?;
    for collection in all.collections {
        let id = DocumentId::of_source(&collection.name, document);
        let there = asked.look(&format!("/v1/documents/{id}")).await?;
        found.extend(there.map(|document: DocumentView| document.id));
    }
    match (found.pop(), found.is_empty()) {
        (None, _) => bail!("no such document, document={document:?}; hint: ginnel documents ls"),
        (Some(id), true) => Ok(id),
        (Some(_), false) => {
            bail!("several collections have it, document={document:?}; hint: name it by its id")
        }
    }
}

/// `ginnel collections`.
pub(super) async fn collections(
    json: bool,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let asked = Asked::find(state, environment).await?;
    let found = asked
        .ask(Method::GET, "/v1/collections", &Value::Null)
        .await;
    asked.close().await?;
    let found: Collections = found?;
    if json {
        return json::pretty(&found, out);
    }
    if found.collections.is_empty() {
        writeln!(out, "There is nothing yet")?;
        writeln!(out, "hint: ginnel add FOLDER")?;
        return Ok(());
    }
    let rows = found.collections.iter().map(|collection| {
        [
            collection.name.clone(),
            format!("{} documents", collection.documents),
            format!("{} passages", collection.passages),
        ]
    });
    Ok(table::write(out, &rows.collect::<Vec<_>>())?)
}
