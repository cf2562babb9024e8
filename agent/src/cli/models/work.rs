//! Shows long work on models as it goes: a bar on a terminal, else lines of
//! JSON.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use ginnel_daemon::environment::{Environment, shows_colours};
use ginnel_daemon::quantity::bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain;
use crate::api::answer::BoxError;
use crate::api::knowledge::artifacts::Work;
use crate::cli::knowledge::Asked;
use crate::models::event::{Candidate, Event, Outcome, Range, Verified};

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Ranges that are told; the rest is counted. JSON has all of them.
const RANGES_MAX: usize = 20;

/// Shows what happens.
pub(super) struct Shown<'a> {
    out: &'a mut dyn Write,
    bar: Option<ProgressBar>,
    /// The file that the bar is about.
    current: String,
    done: Option<(u64, u64)>,
    failed: Option<String>,
    /// Names and hashes of what is damaged.
    damaged: Vec<(String, String)>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(json: bool, environment: Environment<'_>, out: &'a mut dyn Write) -> Self {
        let bar = is_for_people(json).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar.set_style(style(environment));
            bar
        });
        Self {
            out,
            bar,
            current: String::new(),
            done: None,
            failed: None,
            damaged: Vec::new(),
        }
    }

    /// As on a terminal, without a bar.
    #[cfg(test)]
    pub(super) fn as_text(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            bar: Some(ProgressBar::hidden()),
            current: String::new(),
            done: None,
            failed: None,
            damaged: Vec::new(),
        }
    }

    /// Has work done and shows how it goes. Fails if some of it did.
    pub(super) async fn follow(self, asked: &Asked, work: Work) -> anyhow::Result<ExitCode> {
        let (code, _) = self.follow_damaged(asked, work).await?;
        Ok(code)
    }

    /// The same, and what is damaged in the end: names and hashes.
    pub(super) async fn follow_damaged(
        mut self,
        asked: &Asked,
        work: Work,
    ) -> anyhow::Result<(ExitCode, Vec<(String, String)>)> {
        let ended = asked.follow(work, |event| self.event(&event)).await;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        ended?;
        if let Some(message) = self.failed {
            bail!(message);
        }
        let Some((_, bad)) = self.done else {
            bail!("ginnel stopped on the way; hint: try again");
        };
        let code = match bad {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
        Ok((code, self.damaged))
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), BoxError> {
        if let Event::Done { good, bad } = event {
            self.done = Some((*good, *bad));
        }
        if let Event::Verified(verified) = event
            && verified.outcome == Outcome::Damaged
        {
            self.damaged
                .push((verified.name.clone(), verified.blob.clone()));
        }
        if let Event::Failed {
            name: None,
            message,
        } = event
        {
            self.failed = Some(message.clone());
        }
        match self.bar.clone() {
            None => writeln!(self.out, "{}", serde_json::to_string(event)?)?,
            Some(bar) => {
                if let Event::Progress { name, bytes, of } = event {
                    self.advance(&bar, name, *bytes, *of);
                }
                if let Some(text) = in_words(event) {
                    bar.suspend(|| writeln!(self.out, "{text}"))?;
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, bar: &ProgressBar, name: &str, bytes: u64, of: u64) {
        bar.set_length(of);
        if self.current != name {
            name.clone_into(&mut self.current);
            bar.set_message(name.to_owned());
            bar.reset();
        }
        bar.set_position(bytes);
    }
}

/// Whether someone reads along, who is shown words and a bar.
pub(super) fn is_for_people(json: bool) -> bool {
    !json && io::stderr().is_terminal()
}

pub(super) fn style(environment: Environment<'_>) -> ProgressStyle {
    let template = match shows_colours(environment) {
        true => {
            "{bar:24.cyan} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} ETA {eta} {wide_msg}"
        }
        false => {
            "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} ETA {eta} {wide_msg}"
        }
    };
    // The template is ours; a default bar is better than none.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn in_words(event: &Event) -> Option<String> {
    match event {
        Event::Progress { .. } | Event::Failed { name: None, .. } => None,
        Event::Verified(verified) => Some(of_verified(verified)),
        Event::Found(candidate) => Some(of_candidate(candidate)),
        Event::Imported {
            name,
            origin,
            how,
            bytes: size,
        } => {
            let origin = plain(origin);
            Some(format!("{name}: {}, {how} of {origin}", bytes(*size)))
        }
        Event::Failed {
            name: Some(name),
            message,
        } => Some(format!("{}: {}", plain(name), plain(message))),
        Event::Done { good: 0, bad: 0 } => Some("There is nothing".to_owned()),
        Event::Done { .. } => None,
    }
}

fn of_verified(verified: &Verified) -> String {
    let name = &verified.name;
    let mut text = match verified.outcome {
        Outcome::Whole => format!("{name}: whole, {}", bytes(verified.bytes)),
        Outcome::Recorded => {
            let chunks = verified.chunks;
            format!(
                "{name}: noted as it is, {}, {chunks} chunks",
                bytes(verified.bytes)
            )
        }
        Outcome::Repaired => format!("{name}: repaired, {}", bytes(verified.bytes)),
        Outcome::Damaged => format!("{name}: damaged"),
        Outcome::Changed => format!("{name}: was written to since it was read"),
    };
    for range in verified.bad.iter().take(RANGES_MAX) {
        text += &format!("\n  {}", of_range(range));
    }
    if let Some(more @ 1..) = verified.bad.len().checked_sub(RANGES_MAX) {
        text += &format!("\n  and {more} more, see --json");
    }
    if verified.extra > 0 {
        text += &format!("\n  {} behind its end", bytes(verified.extra));
    }
    match verified.outcome {
        Outcome::Damaged => text += "\nhint: ginnel models repair",
        Outcome::Changed => text += "\nhint: --accept takes it as it is",
        Outcome::Whole | Outcome::Recorded | Outcome::Repaired => {}
    }
    text
}

fn of_range(range: &Range) -> String {
    let Range {
        first,
        last,
        from,
        to,
    } = range;
    let chunks = match first == last {
        true => format!("chunk {first}"),
        false => format!("chunks {first} to {last}"),
    };
    format!("{chunks}: bytes {from} to {to}")
}

fn of_candidate(candidate: &Candidate) -> String {
    let origin = plain(&candidate.origin);
    let size = bytes(candidate.bytes);
    match &candidate.problem {
        Some(problem) => format!("{origin}: cannot be taken over: {}", plain(problem)),
        None if candidate.present => format!("{origin}: {size}, here as {}", candidate.name),
        None => format!("{origin}: {size}, as {}", candidate.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_its_bytes() {
        let verified = Verified {
            name: "models/phi.gguf".into(),
            outcome: Outcome::Damaged,
            bytes: 10,
            chunks: 9,
            blob: String::new(),
            bad: vec![
                Range {
                    first: 2,
                    last: 2,
                    from: 100,
                    to: 200,
                },
                Range {
                    first: 5,
                    last: 7,
                    from: 500,
                    to: 800,
                },
            ],
            extra: 2,
        };
        let mut out = Vec::new();
        let mut shown = Shown::as_text(&mut out);
        shown.event(&Event::Verified(verified)).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "models/phi.gguf: damaged\n  chunk 2: bytes 100 to 200\n  \
             chunks 5 to 7: bytes 500 to 800\n  2 B behind its end\n\
             hint: ginnel models repair\n"
        );
    }

    #[test]
    fn names_of_other_programs_do_nothing_to_the_terminal() {
        let failed = Event::Failed {
            name: Some("evil\u{1b}[31m".into()),
            message: "no\u{7}".into(),
        };
        assert_eq!(in_words(&failed).as_deref(), Some("evil[31m: no"));
    }
}
