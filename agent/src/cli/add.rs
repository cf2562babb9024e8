//! `ginnel add`: reads folders, files or the standard input, and shows how it
//! goes.

mod fit;

use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use ginnel_daemon::environment::{Environment, shows_colours};
use ginnel_proto::id::CollectionName;
use http::StatusCode;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::knowledge::Asked;
use super::printable;
use crate::api::answer::BoxError;
use crate::api::knowledge::view::AddRequest;
use crate::knowledge::add::{Event, FileOutcome, Summary};
use crate::local_client::ClientError;

/// Longest text of the standard input, in bytes: as that of a file.
const STDIN_MAX: u64 = 64 << 20;

/// What ends an addition that says nothing more.
const STOPPED: &str = "ginnel stopped on the way; hint: try again";

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

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
        let shown = Shown {
            watch: true,
            ..Shown::new(add, environment, out)
        };
        return follow_all(requests, asked, shown).await;
    }
    let mut failed = false;
    for path in &add.paths {
        let mut shown = Shown::new(add, environment, out);
        failed |= match add_one(add, path, asked, &mut shown).await {
            // One that is bad stops none of the others.
            Err(error) if add.paths.len() > 1 && is_of_path(&error) => {
                shown.refused(path, &error)?;
                true
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

/// Nothing of a path could be added, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadPath(String);

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
        true => request_of_stdin(add),
        false => request(add, &std::path::absolute(path)?),
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What people know it by.
fn shown_name(path: &Path) -> String {
    match is_stdin(path) {
        true => "standard input".to_owned(),
        false => printable::line(&path.to_string_lossy()),
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

fn request_of_stdin(add: &Add) -> anyhow::Result<AddRequest> {
    Ok(AddRequest {
        text: Some(read_text(io::stdin().lock())?),
        title: add.title.clone(),
        format: add.format.clone(),
        collection: Some(add.collection.to_string()),
        name: add.name.clone(),
        no_wait: add.no_wait,
        ..AddRequest::default()
    })
}

fn read_text(from: impl io::Read) -> anyhow::Result<String> {
    let mut text = Vec::new();
    from.take(STDIN_MAX + 1).read_to_end(&mut text)?;
    let bytes = text.len();
    anyhow::ensure!(
        bytes as u64 <= STDIN_MAX,
        "text is longer than {STDIN_MAX} bytes; hint: add it as a file of JSON lines"
    );
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("standard input is not UTF-8, byte={at}")
    })
}

/// Shows what happens: a bar on a terminal, else lines of JSON.
struct Shown<'a> {
    out: &'a mut dyn Write,
    /// Whether it goes on when all is done.
    watch: bool,
    bar: Option<ProgressBar>,
    done: Option<Summary>,
    failed: Option<String>,
    /// Whether a failure was among the events.
    is_told: bool,
}

impl<'a> Shown<'a> {
    fn new(add: &Add, environment: Environment<'_>, out: &'a mut dyn Write) -> Self {
        let bar = (!add.json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar.set_style(style("files", environment));
            bar
        });
        Self {
            out,
            watch: false,
            bar,
            done: None,
            failed: None,
            is_told: false,
        }
    }

    fn event(&mut self, event: Event) -> Result<(), BoxError> {
        match &self.bar {
            None => writeln!(self.out, "{}", serde_json::to_string(&event)?)?,
            Some(bar) => show(bar, &event),
        }
        match event {
            Event::Done(summary) => {
                if let Some(bar) = self.bar.as_ref().filter(|_| self.watch) {
                    bar.println(in_words(&summary));
                }
                self.done = Some(summary);
            }
            Event::Failed { message } => {
                self.failed = Some(message);
                self.is_told = true;
            }
            Event::Counted { .. }
            | Event::File { .. }
            | Event::Embedded { .. }
            | Event::Waiting { .. } => {}
        }
        Ok(())
    }

    /// Whether something could not be added.
    fn finish(&mut self, path: &Path, ended: anyhow::Result<()>) -> anyhow::Result<bool> {
        self.end(ended)?;
        let summary = self.done.take().context(STOPPED)?;
        if self.bar.is_some() {
            writeln!(self.out, "{}: {}", shown_name(path), in_words(&summary))?;
            if let Some(problem) = &summary.problem {
                printable::note(
                    &format!("only words are found for now, {problem}"),
                    self.out,
                )?;
            }
        }
        Ok(summary.failed > 0)
    }

    /// Tells that nothing of a path could be added.
    fn refused(&mut self, path: &Path, error: &anyhow::Error) -> anyhow::Result<()> {
        let (name, reason) = (shown_name(path), error.to_string());
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bar.println(printable::line(&format!("cannot add {name}: {reason}")));
        } else if !self.is_told {
            let event = Event::failed(name, reason);
            writeln!(self.out, "{}", serde_json::to_string(&event)?)?;
        }
        Ok(())
    }

    /// Takes the bar away, and fails if the addition did.
    fn end(&mut self, ended: anyhow::Result<()>) -> anyhow::Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        ended?;
        match self.failed.take() {
            Some(message) => Err(BadPath(message).into()),
            None => Ok(()),
        }
    }
}

fn show(bar: &ProgressBar, event: &Event) {
    match event {
        // Several folders may be followed, each of them again and again.
        Event::Counted { files, .. } => bar.set_length(bar.length().unwrap_or_default() + files),
        Event::File {
            source,
            outcome,
            reason,
            ..
        } => {
            bar.inc(1);
            if let (FileOutcome::Failed, Some(reason)) = (outcome, reason) {
                bar.println(printable::line(&format!("cannot add {source}: {reason}")));
            }
        }
        Event::Embedded { passages, left } => {
            if bar.length() != Some(passages + left) || bar.position() > *passages {
                bar.set_length(passages + left);
                bar.reset_eta();
            }
            bar.set_message("vectors");
            bar.set_position(*passages);
        }
        Event::Waiting { problem } => {
            bar.println(printable::line(&format!("waiting: {problem}")));
        }
        Event::Done(_) | Event::Failed { .. } => {}
    }
}

fn style(what: &'static str, environment: Environment<'_>) -> ProgressStyle {
    let template = match shows_colours(environment) {
        true => "{bar:24.cyan} {pos}/{len} {msg} {per_sec} ETA {eta}",
        false => "{bar:24} {pos}/{len} {msg} {per_sec} ETA {eta}",
    };
    let style = ProgressStyle::with_template(template);
    // The template is ours; a default bar is better than none.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key(
        "what",
        move |_: &indicatif::ProgressState, to: &mut dyn std::fmt::Write| {
            let _ = to.write_str(what);
        },
    )
}

fn in_words(summary: &Summary) -> String {
    let counts = [
        (summary.added, "added"),
        (summary.changed, "changed"),
        (summary.removed, "removed"),
        (summary.unchanged, "unchanged"),
        (summary.skipped, "skipped, not text"),
        (summary.failed, "failed"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if counts.is_empty() {
        return "nothing to add".to_owned();
    }
    let mut passages = format!("{} new passages", summary.passages);
    if summary.without_vectors > 0 {
        // Several may have the same text.
        passages += &format!(", {} texts got no vector", summary.without_vectors);
    }
    if summary.problem.is_some() {
        passages += ", vectors are missing";
    }
    format!("{} ({passages})", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_up_to_the_limit() {
        let read = read_text(io::repeat(b'a').take(STDIN_MAX)).expect("not too long");
        assert_eq!(read.len() as u64, STDIN_MAX);
        let error = read_text(io::repeat(b'a'))
            .expect_err("endless")
            .to_string();
        assert!(
            error.starts_with("text is longer than 67108864 bytes"),
            "{error}"
        );
        let error = read_text(&b"ab\xffc"[..]).expect_err("no text").to_string();
        assert_eq!(error, "standard input is not UTF-8, byte=2");
    }
}
