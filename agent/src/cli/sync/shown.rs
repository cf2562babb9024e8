//! Shows devices getting in step: a bar on a terminal, lines of JSON where those
//! were asked for, else nothing before the end.

use std::io::{self, IsTerminal as _, Write};

use ginnel_daemon::environment::{Environment, shows_colours};
use ginnel_daemon::quantity::bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{json, printable};
use crate::knowledge::sync::status::{MovingStatus, SyncState, SyncStatus};

/// What is shown.
pub(super) struct Shown<'a> {
    environment: Environment<'a>,
    json: bool,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    /// The most that there was to do in this phase.
    most: u64,
    last: Option<String>,
    waits: Option<String>,
}

/// What takes the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The published database is on its way.
    Moving,
    /// Batches of others are read.
    Reading,
    /// Changes of this device are sent.
    Sending,
    /// Nobody knows how long.
    Waiting,
}

impl<'a> Shown<'a> {
    pub(super) fn new(json: bool, environment: Environment<'a>) -> Self {
        let bar = (!json && io::stderr().is_terminal())
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        Self {
            environment,
            json,
            bar,
            phase: None,
            most: 0,
            last: None,
            waits: None,
        }
    }

    /// How it goes now.
    pub(super) fn show(&mut self, status: &SyncStatus, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            // The same twice says nothing.
            let line = serde_json::to_string(status)?;
            if self.last.as_ref() != Some(&line) {
                json::line(status, out)?;
                self.last = Some(line);
            }
            return Ok(());
        }
        let Some(bar) = &self.bar else {
            return Ok(());
        };
        let (phase, left) = phase_of(status);
        if self.phase != Some(phase) {
            bar.reset();
            bar.set_style(style(phase, self.environment));
            self.phase = Some(phase);
            self.most = 0;
        }
        match &status.moving {
            Some(moving) => {
                bar.set_length(moving.needed);
                bar.set_position(moving.sent);
            }
            None => {
                self.most = self.most.max(left);
                bar.set_length(self.most);
                bar.set_position(self.most - left);
            }
        }
        bar.set_message(in_words(phase, status));
        bar.tick();
        Ok(())
    }

    /// Says once why it takes so long, to people.
    pub(super) fn waits_for(&mut self, why: &str) {
        if self.json || self.waits.as_deref() == Some(why) {
            return;
        }
        self.waits = Some(why.to_owned());
        let line = format!("waiting: {}", printable::line(why));
        match &self.bar {
            Some(bar) => bar.println(line),
            // Who reads nothing there misses nothing.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    /// Nothing more is shown.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What takes the time, and how much of it is left.
fn phase_of(status: &SyncStatus) -> (Phase, u64) {
    match status {
        SyncStatus {
            moving: Some(MovingStatus { sent, needed, .. }),
            ..
        } => (Phase::Moving, needed.saturating_sub(*sent)),
        SyncStatus { behind, .. } if *behind > 0 => (Phase::Reading, *behind),
        SyncStatus { backlog, .. } if *backlog > 0 => (Phase::Sending, *backlog),
        _ => (Phase::Waiting, 0),
    }
}

fn in_words(phase: Phase, status: &SyncStatus) -> String {
    match phase {
        Phase::Moving => match &status.moving {
            Some(moving) if moving.direction == "push" => "publishing everything".to_owned(),
            _ => "fetching what is published".to_owned(),
        },
        Phase::Reading => format!("batches of others, {} so far", bytes(status.read_bytes)),
        Phase::Sending => format!("changes of this device, {} sent", bytes(status.sent_bytes)),
        Phase::Waiting if status.state == SyncState::NoLink => {
            "waiting for a link to the relay".to_owned()
        }
        Phase::Waiting => "working".to_owned(),
    }
}

fn style(phase: Phase, environment: Environment<'_>) -> ProgressStyle {
    let bar = match shows_colours(environment) {
        true => "{bar:24.cyan}",
        false => "{bar:24}",
    };
    let template = match phase {
        Phase::Moving => format!(
            "{bar} {{decimal_bytes}}/{{decimal_total_bytes}} {{decimal_bytes_per_sec}} ETA {{eta}} {{wide_msg}}"
        ),
        Phase::Reading | Phase::Sending => {
            format!("{bar} {{pos}}/{{len}} {{per_sec}} ETA {{eta}} {{wide_msg}}")
        }
        Phase::Waiting => "{spinner} {elapsed} {wide_msg}".to_owned(),
    };
    // The template is ours; a default bar is better than none.
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
