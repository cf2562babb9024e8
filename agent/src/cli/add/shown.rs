//! Shows how an addition goes: a bar on a terminal, else lines of JSON.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ginnel_daemon::environment::{Environment, shows_colours};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Add;
use super::stdin::{STDIN, is_stdin};
use crate::api::answer::BoxError;
use crate::cli::printable;
use crate::knowledge::add::{Event, FileOutcome, Summary};

/// What ends an addition that says nothing more.
pub(super) const STOPPED: &str = "ginnel stopped on the way; hint: try again";

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Nothing of a path could be added, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadPath(pub(super) String);

/// Shows what happens.
pub(super) struct Shown<'a> {
    out: &'a mut dyn Write,
    /// Whether it goes on when all is done.
    pub(super) watch: bool,
    /// Whether it is about the standard input, which its own failures cannot
    /// name.
    pub(super) is_stdin: bool,
    bar: Option<ProgressBar>,
    done: Option<Summary>,
    failed: Option<String>,
    /// Whether a failure was among the events.
    is_told: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(add: &Add, environment: Environment<'_>, out: &'a mut dyn Write) -> Self {
        let bar = (!add.json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar.set_style(style("files", environment));
            bar
        });
        Self {
            out,
            watch: false,
            is_stdin: false,
            bar,
            done: None,
            failed: None,
            is_told: false,
        }
    }

    pub(super) fn event(&mut self, event: Event) -> Result<(), BoxError> {
        match &self.bar {
            None => {
                let event = self.named(&event);
                writeln!(self.out, "{}", serde_json::to_string(&*event)?)?;
            }
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

    fn named<'b>(&self, event: &'b Event) -> Cow<'b, Event> {
        if let (Event::Failed { message }, true) = (event, self.is_stdin) {
            let message = format!("{STDIN}: {message}");
            return Cow::Owned(Event::Failed { message });
        }
        Cow::Borrowed(event)
    }

    /// Whether something could not be added.
    pub(super) fn finish(
        &mut self,
        path: &Path,
        ended: anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
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
    pub(super) fn refused(&mut self, path: &Path, error: &anyhow::Error) -> anyhow::Result<()> {
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
    pub(super) fn end(&mut self, ended: anyhow::Result<()>) -> anyhow::Result<()> {
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

/// What people know it by.
fn shown_name(path: &Path) -> String {
    match is_stdin(path) {
        true => STDIN.to_owned(),
        false => printable::line(&path.to_string_lossy()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn failures_of_the_standard_input_name_it() {
        let cli = Cli::try_parse_from(["ginnel", "add", "--json", "-"]).expect("valid");
        let Command::Add(add) = cli.command else {
            panic!("it is add");
        };
        for (is_stdin, says) in [
            (true, "standard input: no text in it"),
            (false, "no text in it"),
        ] {
            let mut out = Vec::new();
            let mut shown = Shown::new(&add, &|_| None, &mut out);
            shown.is_stdin = is_stdin;
            let message = "no text in it".to_owned();
            shown.event(Event::Failed { message }).expect("written");
            let said: Event = serde_json::from_slice(&out).expect("JSON");
            let message = says.to_owned();
            assert_eq!(said, Event::Failed { message });
        }
    }
}
