//! `ginnel-relay knowledge`: what users' devices know, as it was.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use ginnel_proto::id::UserName;
use serde::Serialize;

use super::table::{Align, Table};
use super::{Terminal, now_ms, when};
use crate::config::bucket::BucketConfig;
use crate::daemon::open_bucket;
use crate::knowledge::Knowledge;
use crate::relay::system_clock;
use crate::sync::catalog::Catalog;

/// `knowledge`.
#[derive(Debug, Subcommand)]
pub enum KnowledgeCommand {
    /// List the moments that a user's knowledge can be restored to
    Ls {
        /// Whose
        user: UserName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a user's knowledge as it was at a time; all devices follow
    Restore {
        /// Whose
        user: UserName,
        /// The time: `2026-01-31 23:59:59Z`, or how long ago, such as 2h
        #[arg(long, value_name = "TIME")]
        at: String,
        /// Really do it: what was changed since then goes, on every device
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A moment as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct KeptView {
    published_unix_ms: u64,
    epoch: u64,
}

/// A restore as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct RestoredView {
    user: String,
    epoch: u64,
    at_unix_ms: u64,
    snapshot_unix_ms: u64,
}

pub(super) async fn run(
    bucket: &BucketConfig,
    command: KnowledgeCommand,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let bucket = open_bucket(bucket)?;
    let knowledge = Knowledge::new(bucket.clone(), system_clock());
    match command {
        KnowledgeCommand::Ls { user, json } => {
            let kept = knowledge.kept(&user).await?;
            if json {
                let view = |(published_unix_ms, epoch)| KeptView {
                    published_unix_ms,
                    epoch,
                };
                return terminal.json(&kept.into_iter().map(view).collect::<Vec<_>>());
            }
            if kept.is_empty() {
                writeln!(terminal.notes, "Nothing is kept of {user} yet")?;
                return Ok(());
            }
            let mut table = Table::new([
                ("PUBLISHED", Align::Left),
                ("", Align::Left),
                ("EPOCH", Align::Right),
            ]);
            for (unix_ms, epoch) in kept {
                let unix_ms = unix_ms.cast_signed();
                let ago = when::ago(now_ms(), Some(unix_ms));
                table.push([when::utc(unix_ms), ago, epoch.to_string()]);
            }
            table.write(terminal.out)?;
            writeln!(
                terminal.notes,
                "Every moment after the first of an epoch can be restored, until the next epoch began"
            )?;
        }
        KnowledgeCommand::Restore {
            user,
            at,
            yes,
            json,
        } => {
            let at = when::parse(&at, now_ms()).context("--at is no time")?;
            if !yes {
                bail!(
                    "this makes what all devices of {user} know as it was at {}, and what was \
                     changed since goes; hint: add --yes",
                    when::utc(at)
                );
            }
            let at_unix_ms = u64::try_from(at).context("--at is before 1970")?;
            let catalog = Catalog::new(bucket);
            let restored = knowledge.restore(&catalog, &user, at_unix_ms).await?;
            if json {
                return terminal.json(&RestoredView {
                    user: user.to_string(),
                    epoch: restored.epoch,
                    at_unix_ms,
                    snapshot_unix_ms: restored.snapshot_unix_ms,
                });
            }
            let at = when::utc(at);
            writeln!(
                terminal.out,
                "Knowledge of {user} is as it was at {at}, in epoch {}",
                restored.epoch
            )?;
            writeln!(
                terminal.notes,
                "Devices follow within half a minute, or when they are back"
            )?;
        }
    }
    Ok(())
}
