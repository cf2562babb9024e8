//! `ginnel sync`: keeping what this device knows in step with the user's other
//! devices.

pub mod key;
mod shown;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use ginnel_daemon::environment::Environment;
use ginnel_daemon::quantity::bytes;
use ginnel_daemon::report;
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::key::KeyCommand;
use self::shown::Shown;
use super::knowledge::Asked;
use super::{json, printable, table};
use crate::api::knowledge::sync::{EncryptionWanted, SyncWanted};
use crate::knowledge::sync::status::{SyncState, SyncStatus};

/// How often it is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long `ginnel sync now` waits for nothing to move.
const STILL_MAX: Duration = Duration::from_secs(30);

/// Batches that were not applied, of which a person is told; programs of all.
const QUARANTINED_SHOWN: usize = 16;

/// How long `ginnel sync publish` waits.
const PUBLISH_MAX: Duration = Duration::from_secs(600);

/// `ginnel sync`.
#[derive(Debug, clap::Args)]
pub struct Sync {
    /// What to do; without one, it shows how it goes
    #[command(subcommand)]
    pub command: Option<SyncCommand>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum SyncCommand {
    /// Look at everything now, and wait until all is in step
    Now,
    /// Publish all as one database now, and wait until it is
    Publish,
    /// Show how it goes
    Status,
    /// Stop until it is resumed, over restarts too
    Pause,
    /// Let it go on
    Resume,
    /// Encrypt all that the relay keeps, so that only devices with the key can read it
    Encrypt {
        /// With a new key, which then no device has but this one
        #[arg(long)]
        new_key: bool,
    },
    /// Encrypt nothing any more
    Decrypt,
    /// The key with which all is encrypted
    #[command(subcommand)]
    Key(KeyCommand),
}

pub(super) async fn run(
    sync: Sync,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if let Some(SyncCommand::Key(command)) = &sync.command {
        return key::run(command, state, environment, out).await;
    }
    let asked = Asked::find(state, environment).await?;
    let shown = Shown::new(sync.json, environment);
    let done = Box::pin(do_it(&sync, &asked, shown, out)).await;
    asked.close().await?;
    done
}

async fn do_it(
    sync: &Sync,
    asked: &Asked,
    shown: Shown<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut ended_well = true;
    let status = match &sync.command {
        None | Some(SyncCommand::Status) => look(asked).await?,
        Some(SyncCommand::Now) => {
            let path = "/v1/sync/now";
            let before = asked.ask(Method::POST, path, &Value::Null).await?;
            let (status, is_in_step) = Box::pin(wait(asked, before, shown, out)).await?;
            ended_well = is_in_step;
            status
        }
        Some(SyncCommand::Publish) => Box::pin(publish(asked, shown, out)).await?,
        Some(SyncCommand::Pause) => set(asked, true).await?,
        Some(SyncCommand::Resume) => set(asked, false).await?,
        Some(SyncCommand::Encrypt { new_key }) => {
            Box::pin(encrypt(asked, (true, *new_key), shown, out)).await?
        }
        Some(SyncCommand::Decrypt) => Box::pin(encrypt(asked, (false, false), shown, out)).await?,
        // Done above: it needs no daemon.
        Some(SyncCommand::Key(_)) => look(asked).await?,
    };
    write_status(&status, sync.json, out)?;
    if matches!(sync.command, Some(SyncCommand::Encrypt { .. })) && !sync.json {
        let lost = "Without its key nobody can read it, should all devices be lost";
        writeln!(out, "{lost}\nhint: ginnel sync key show")?;
    }
    Ok(match ended_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn look(asked: &Asked) -> anyhow::Result<SyncStatus> {
    asked.ask(Method::GET, "/v1/sync", &Value::Null).await
}

async fn set(asked: &Asked, paused: bool) -> anyhow::Result<SyncStatus> {
    let wanted = SyncWanted { paused };
    asked.ask(Method::PUT, "/v1/sync", &wanted).await
}

async fn encrypt(
    asked: &Asked,
    (on, new_key): (bool, bool),
    mut shown: Shown<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<SyncStatus> {
    let wanted = EncryptionWanted { on, new_key };
    let path = "/v1/sync/encryption";
    let mut changing = Box::pin(asked.ask(Method::PUT, path, &wanted));
    loop {
        tokio::select! {
            changed = &mut changing => {
                shown.end();
                return changed;
            }
            () = sleep(LOOK_EVERY) => {
                let status = look(asked).await?;
                shown.show(&status, out)?;
            }
        }
    }
}

/// Waits until all is in step, or nothing moves for too long. Gives how it is then,
/// and whether it is in step.
async fn wait(
    asked: &Asked,
    mut status: SyncStatus,
    mut shown: Shown<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<(SyncStatus, bool)> {
    let listed = status.listed_unix_ms;
    let mut moved = (Instant::now(), status.moved());
    loop {
        // What was in step before it was asked says nothing yet.
        let is_in_step = status.state == SyncState::InStep && status.listed_unix_ms != listed;
        let cannot_go_on = cannot_go_on(status.state).is_some();
        if is_in_step || cannot_go_on || moved.0.elapsed() > STILL_MAX {
            shown.end();
            return Ok((status, is_in_step));
        }
        shown.show(&status, out)?;
        sleep(LOOK_EVERY).await;
        status = look(asked).await?;
        if status.moved() != moved.1 {
            moved = (Instant::now(), status.moved());
        }
    }
}

/// Waits until this device has published, or nothing comes of it for too long.
async fn publish(
    asked: &Asked,
    mut shown: Shown<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<SyncStatus> {
    let path = "/v1/sync/publish";
    let before: SyncStatus = asked.ask(Method::POST, path, &Value::Null).await?;
    let began = Instant::now();
    loop {
        let status = look(asked).await?;
        if status.published_unix_ms != before.published_unix_ms {
            shown.end();
            return Ok(status);
        }
        if let Some(why) = cannot_go_on(status.state) {
            shown.end();
            anyhow::bail!("nothing is published: {why}");
        }
        shown.show(&status, out)?;
        if let Some(why) = &status.unpublished {
            shown.waits_for(why);
        }
        if began.elapsed() > PUBLISH_MAX {
            shown.end();
            let why = status.unpublished.or(status.problem);
            let why = why.as_deref().unwrap_or("another device may be at it");
            anyhow::bail!("nothing was published yet: {why}; hint: ginnel sync status");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Why nothing will move, however long anybody waits.
fn cannot_go_on(state: SyncState) -> Option<&'static str> {
    match state {
        SyncState::Paused => Some("syncing is paused; hint: ginnel sync resume"),
        SyncState::NotKept => Some(
            "the relay keeps no logs; hint: whoever runs it can give it a bucket, ginnel-relay up --help",
        ),
        SyncState::Locked => Some("devices do not agree on a key; hint: ginnel sync status"),
        SyncState::NoLink | SyncState::Syncing | SyncState::InStep => None,
    }
}

fn write_status(status: &SyncStatus, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        return json::line(status, out);
    }
    let mut hints = Vec::new();
    let mut rows = vec![
        ["device".to_owned(), status.device.clone()],
        ["state".to_owned(), state(status.state).to_owned()],
        ["to send".to_owned(), format!("{} changes", status.backlog)],
        ["to read".to_owned(), format!("{} batches", status.behind)],
        [
            "sent".to_owned(),
            format!(
                "{} in {} batches",
                bytes(status.sent_bytes),
                status.sent_batches
            ),
        ],
        [
            "read".to_owned(),
            format!(
                "{} in {} batches, {} rows taken",
                bytes(status.read_bytes),
                status.read_batches,
                status.rows_applied
            ),
        ],
    ];
    if let Some(moving) = &status.moving {
        let what = match &*moving.direction {
            "push" => "publishing",
            _ => "fetching",
        };
        let text = format!("{} of {}", bytes(moving.sent), bytes(moving.needed));
        rows.push([what.to_owned(), text]);
    }
    if let Some(key) = &status.key {
        let text = format!("with key {}", printable::line(key));
        rows.push(["encrypted".to_owned(), text]);
    }
    for log in &status.logs {
        let text = format!("log read up to batch {}", log.sequence);
        rows.push([printable::line(&log.device), text]);
    }
    if let Some(problem) = &status.problem {
        let problem = report::take_hints(&printable::line(problem), &mut hints);
        rows.push(["problem".to_owned(), problem]);
    }
    if let Some(why) = &status.unpublished {
        let why = report::take_hints(&printable::line(why), &mut hints);
        rows.push(["not published".to_owned(), why]);
    }
    if let Some(left_out) = &status.incomplete {
        rows.push(["left out".to_owned(), printable::line(left_out)]);
    }
    for left in status.quarantined.iter().take(QUARANTINED_SHOWN) {
        let reason = report::take_hints(&printable::line(&left.reason), &mut hints);
        let mut text = format!("batch {} of {}: {reason}", left.sequence, left.device);
        if let Some(object) = &left.object {
            text = format!("{text} ({object})");
        }
        rows.push(["not applied".to_owned(), printable::line(&text)]);
    }
    if let Some(more) = status.quarantined.len().checked_sub(QUARANTINED_SHOWN + 1) {
        let text = format!("{} more batches", more + 1);
        rows.push(["not applied".to_owned(), text]);
    }
    if status.state == SyncState::Paused {
        hints.push("ginnel sync resume".to_owned());
    }
    table::write(out, &rows)?;
    for hint in hints {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(())
}

fn state(state: SyncState) -> &'static str {
    match state {
        SyncState::Paused => "paused",
        SyncState::NoLink => "waiting for a link to the relay",
        SyncState::NotKept => "the relay keeps no logs",
        SyncState::Locked => "locked",
        SyncState::Syncing => "on its way",
        SyncState::InStep => "in step",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::sync::status::{LogStatus, MovingStatus, QuarantineStatus};

    fn status() -> SyncStatus {
        let empty = serde_json::json!({
            "device": "ada/laptop", "state": "in_step", "epoch": 1, "key": null, "backlog": 0,
            "behind": 0, "sent_batches": 3, "sent_bytes": 2_000_000, "read_batches": 0,
            "read_bytes": 0, "rows_applied": 0, "last_unix_ms": null, "published_unix_ms": null,
            "unpublished": null, "problem": null, "logs": [], "quarantined": [],
        });
        serde_json::from_value(empty).expect("a status")
    }

    fn shown(status: &SyncStatus) -> String {
        let mut out = Vec::new();
        write_status(status, false, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_quiet_device_is_told_in_few_lines() {
        let expected = "\
device   ada/laptop
state    in step
to send  0 changes
to read  0 batches
sent     2.0 MB in 3 batches
read     0 B in 0 batches, 0 rows taken
";
        assert_eq!(shown(&status()), expected);
    }

    #[test]
    fn all_that_is_wrong_is_told_and_what_to_do() {
        let status = SyncStatus {
            state: SyncState::Syncing,
            backlog: 12,
            behind: 3,
            moving: Some(MovingStatus {
                direction: "pull".to_owned(),
                sent: 1_000_000,
                needed: 4_000_000,
            }),
            key: Some("00ff".to_owned()),
            logs: vec![LogStatus {
                device: "desk\u{1b}[31m".to_owned(),
                sequence: 7,
                changed_unix_ms: 1,
            }],
            problem: Some("the relay is busy; hint: wait".to_owned()),
            unpublished: Some("device desk publishes now".to_owned()),
            incomplete: Some("log/e1/desk/1.batch: it is missing".to_owned()),
            quarantined: (0..20)
                .map(|sequence| QuarantineStatus {
                    device: "desk".to_owned(),
                    sequence,
                    object: Some(format!("log/e1/desk/{sequence}.batch")),
                    reason: "it is damaged".to_owned(),
                    unix_ms: 1,
                })
                .collect(),
            ..status()
        };
        let shown = shown(&status);
        for line in [
            "state          on its way",
            "to send        12 changes",
            "to read        3 batches",
            "fetching       1.0 MB of 4.0 MB",
            "encrypted      with key 00ff",
            "problem        the relay is busy",
            "not published  device desk publishes now",
            "left out       log/e1/desk/1.batch: it is missing",
            "not applied    batch 0 of desk: it is damaged (log/e1/desk/0.batch)",
            "not applied    4 more batches",
            "hint: wait",
        ] {
            assert!(shown.lines().any(|it| it == line), "{line}\n{shown}");
        }
        let log = "log read up to batch 7";
        assert!(shown.lines().any(|it| it.ends_with(log)), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
