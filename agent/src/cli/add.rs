//! `ginnel add`: reads folders, files or the standard input, and shows how it
//! goes.

mod fit;
mod shown;
mod stdin;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use ginnel_daemon::environment::Environment;
use ginnel_proto::id::CollectionName;
use http::StatusCode;

use self::shown::{BadPath, STOPPED, Shown};
use self::stdin::{STDIN, is_stdin};
use super::knowledge::Asked;
use crate::api::knowledge::view::AddRequest;
use crate::local_client::ClientError;

/// `ginnel add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Folders and files; - reads a text from the standard input
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Where the documents go
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub collection: CollectionName,
    /// What their sources begin with, in place of the folder's name
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Go on when something changes, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Also files whose names begin with a dot
    #[arg(long)]
    pub hidden: bool,
    /// Also files that .gitignore names
    #[arg(long)]
    pub ignored: bool,
    /// Go where links lead
    #[arg(long)]
    pub follow_links: bool,
    /// Do not wait for the vectors; words are found at once
    #[arg(long)]
    pub no_wait: bool,
    /// The model that made the vectors in JSON lines
    #[arg(long, value_name = "MODEL")]
    pub vectors: Option<String>,
    /// The title of a text from the standard input
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The kind of a text from the standard input: text, markdown, html or code
    #[arg(long, value_name = "KIND", value_parser = ["text", "markdown", "html", "code"], hide_possible_values = true)]
    pub format: Option<String>,
    /// Print a line of JSON for each event, as is done where there is no terminal
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn add(
    add: Add,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let asked = Asked::find(state, environment).await?;
    let done = add_all(&add, &asked, environment, out).await;
    asked.close().await?;
    done
}

async fn add_all(
    add: &Add,
    asked: &Asked,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if add.watch {
        let requests = add.paths.iter().map(|path| request_of(add, path));
        let requests = requests.collect::<anyhow::Result<_>>()?;
        let mut shown = Shown::new(add, environment, out);
        shown.watch = true;
        return follow_all(requests, asked, shown).await;
    }
    let mut failed = false;
    for path in &add.paths {
        let mut shown = Shown::new(add, environment, out);
        shown.is_stdin = is_stdin(path);
        failed |= match add_one(add, path, asked, &mut shown).await {
            // One that is bad stops none of the others.
            Err(error) if add.paths.len() > 1 && is_of_path(&error) => {
                shown.refused(path, &error)?;
                true
            }
            Err(error) if is_stdin(path) && is_of_path(&error) => {
                anyhow::bail!("{STDIN}: {error}")
            }
            added => added?,
        };
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether something of it could not be added.
async fn add_one(
    add: &Add,
    path: &Path,
    asked: &Asked,
    shown: &mut Shown<'_>,
) -> anyhow::Result<bool> {
    let request = request_of(add, path).map_err(|error| BadPath(error.to_string()))?;
    let ended = asked.add(vec![request], |event| shown.event(event)).await;
    shown.finish(path, ended)
}

/// Whether it is the path's fault, so that another may do.
fn is_of_path(error: &anyhow::Error) -> bool {
    let refused = match error.downcast_ref() {
        Some(ClientError::Refused { status, .. }) => *status == StatusCode::BAD_REQUEST,
        Some(_) | None => false,
    };
    refused || error.is::<BadPath>()
}

/// Follows all of them, until one of them fails.
async fn follow_all(
    requests: Vec<AddRequest>,
    asked: &Asked,
    mut shown: Shown<'_>,
) -> anyhow::Result<ExitCode> {
    let mut names = HashSet::new();
    for AddRequest { path, name, .. } in &requests {
        let own = Path::new(path).file_name().and_then(|name| name.to_str());
        let name = name.as_deref().or(own).unwrap_or_default();
        // Each would take the other's documents for its own.
        anyhow::ensure!(
            names.insert(name),
            "two of the paths have the same name, name={name:?}; hint: follow one of them by itself, with --as NAME"
        );
    }
    let ended = asked.add(requests, |event| shown.event(event)).await;
    shown.end(ended)?;
    anyhow::bail!(STOPPED)
}

fn request_of(add: &Add, path: &Path) -> anyhow::Result<AddRequest> {
    match is_stdin(path) {
        true => stdin::request(add),
        false => request(add, &std::path::absolute(path)?),
    }
}

fn request(add: &Add, path: &Path) -> anyhow::Result<AddRequest> {
    let text = path.to_str();
    let text = text.with_context(|| format!("path is not UTF-8, path={}", path.display()))?;
    Ok(AddRequest {
        path: text.to_owned(),
        collection: Some(add.collection.to_string()),
        name: add.name.clone(),
        hidden: add.hidden,
        ignored: add.ignored,
        follow_links: add.follow_links,
        watch: add.watch,
        no_wait: add.no_wait,
        vectors: add.vectors.clone(),
        ..AddRequest::default()
    })
}
