//! `ginnel-relay user`: all that there is of a user, given away or erased.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use ginnel_daemon::quantity::bytes;
use ginnel_proto::id::UserName;

use super::opened::Opened;
use super::{Terminal, now_ms};
use crate::config::bucket::BucketConfig;
use crate::config::place::RelayPlace;
use crate::daemon::open_bucket;
use crate::knowledge::Knowledge;
use crate::relay::system_clock;
use crate::user::{erase, export};

/// `user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Write all that there is of a user into an archive
    Export {
        /// Whose
        user: UserName,
        /// The archive, a new .tar file
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Erase all that there is of a user, here and on all of their devices
    Erase {
        /// Whose
        user: UserName,
        /// Really do it; nothing brings it back
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(
    (place, bucket): (&RelayPlace, &BucketConfig),
    command: UserCommand,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let bucket = open_bucket(bucket)?;
    let opened = Opened::open(place).await?;
    let registry = &opened.registry;
    let known = registry.users().await?;
    let is_known = |user: &UserName| known.iter().any(|row| row.name == *user);
    match command {
        UserCommand::Export { user, out, json } => {
            if !is_known(&user) {
                bail!("there is no such user, user={user}");
            }
            let exported = export::export(&bucket, registry, &user, &out).await;
            let exported = exported.with_context(|| format!("file={}", out.display()))?;
            if json {
                return terminal.json(&exported);
            }
            let size = bytes(exported.bytes);
            writeln!(
                terminal.out,
                "Wrote {}: {} objects ({size}) and {} rows of {user}",
                out.display(),
                exported.objects,
                exported.rows
            )?;
            for key in &exported.left_out {
                writeln!(
                    terminal.notes,
                    "Not in it, for it was replaced again and again: {key}; hint: export once more"
                )?;
            }
        }
        UserCommand::Erase { user, yes, json } => {
            if !is_known(&user) {
                bail!("there is no such user, user={user}");
            }
            if !yes {
                bail!(
                    "this erases all that {user} has here, and what their devices know; models and \
                     files on the devices stay; hint: ginnel-relay user export {user} --out FILE.tar \
                     keeps a copy; then add --yes"
                );
            }
            let knowledge = Knowledge::new(bucket.clone(), system_clock());
            let now = now_ms();
            let receipt = erase::erase(&bucket, registry, &knowledge, &user, now).await?;
            if json {
                return terminal.json(&receipt);
            }
            let rows: u64 = receipt.rows.values().sum();
            let when = super::when::utc(now);
            writeln!(
                terminal.out,
                "Erased all of {user} at {when}: {} objects ({}) and {rows} rows",
                receipt.objects,
                bytes(receipt.bytes)
            )?;
            for name in &receipt.names {
                writeln!(terminal.notes, "The name {name} stays the user's")?;
            }
            for device in &receipt.devices {
                writeln!(
                    terminal.out,
                    "{device} erases what it has when it is connected"
                )?;
            }
        }
    }
    Ok(())
}
