//! `ginnel models`: models, adapters and data sets of this device.

mod import;
mod list;
mod room;
mod show;
mod transfer;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};
use ginnel_daemon::environment::Environment;
use ginnel_daemon::quantity::{bytes, parse_bytes};
use ginnel_proto::artifact::{Artifact, FileName};
use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::knowledge::Asked;
use super::printable;
use crate::api::knowledge::artifacts::Work;
use crate::api::knowledge::artifacts::view::{
    ArtifactView, Artifacts, Pinning, Removed, RepairRequest, RoomRequest, UseAnswer, UseRequest,
    VerifyRequest,
};
use transfer::Move;
use work::Shown;

/// `ginnel models`.
#[derive(Debug, Subcommand)]
pub enum Models {
    /// List models, adapters and data sets
    Ls {
        /// Those that the relay has
        #[arg(long)]
        remote: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a model's file says of itself
    Show {
        /// Its name; models/ may be left out
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read files again and compare them with what they were
    Verify {
        /// Names; all without any
        names: Vec<String>,
        /// Take files that were written to as they are
        #[arg(long)]
        accept: bool,
        /// Print a line of JSON for each event, as is done where there is no terminal
        #[arg(long)]
        json: bool,
    },
    /// Make damaged files whole from others of this device and from the relay
    Repair {
        /// Names; all without any
        names: Vec<String>,
        /// Print a line of JSON for each event, as is done where there is no terminal
        #[arg(long)]
        json: bool,
    },
    /// Take a file away; what is published stays
    Rm {
        /// Its name; models/ may be left out
        name: String,
        /// Even if it is pinned, in use or nowhere else
        #[arg(long, conflicts_with = "remote")]
        force: bool,
        /// Take it away from the relay instead; the file here stays
        #[arg(long)]
        remote: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Never take a file away to make room
    Pin {
        /// Its name; models/ may be left out
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a file be taken away to make room
    Unpin {
        /// Its name; models/ may be left out
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make room: take published files away that were not used for longest
    Gc {
        /// Bytes that models may take, such as 200GB, in place of models.budget
        #[arg(long, value_name = "AMOUNT", value_parser = parse_bytes)]
        budget: Option<u64>,
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over files of other programs without a second copy
    Import(Import),
    /// Send an artifact to the relay: only what it lacks travels
    Push {
        /// Its name, or a file, which is taken over first
        what: String,
        /// What to call a file from elsewhere
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
        /// Do not wait until it has arrived
        #[arg(long)]
        detach: bool,
        /// Print a line of JSON each time something changes, as is done where there is no terminal
        #[arg(long)]
        json: bool,
    },
    /// Fetch an artifact from the relay: only what is lacking here travels
    Pull {
        /// Its name; models/ may be left out
        name: String,
        /// Even if changes here are lost that were never pushed
        #[arg(long)]
        force: bool,
        /// Do not wait until it has arrived
        #[arg(long)]
        detach: bool,
        /// Print a line of JSON each time something changes, as is done where there is no terminal
        #[arg(long)]
        json: bool,
    },
    /// List artifacts on their way, and those that arrived last
    Transfers {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop a transfer until it is let go on
    Pause {
        /// Its number
        transfer: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a transfer go on that was stopped, or failed
    Resume {
        /// Its number
        transfer: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a transfer, and what has arrived of it
    Cancel {
        /// Its number
        transfer: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print where a file is, and note that it is used
    Path {
        /// Its name; models/ may be left out
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `ginnel models import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Which ones, as they are called here or there; all without any
    pub only: Vec<String>,
    /// Where to look: ollama, lmstudio, huggingface, or a folder or file
    #[arg(long, value_name = "PLACE", value_hint = ValueHint::AnyPath)]
    pub from: Option<PathBuf>,
    /// Only show what there is
    #[arg(long)]
    pub list: bool,
    /// Make a second copy where bytes cannot be shared
    #[arg(long)]
    pub copy: bool,
    /// What to call it; for one file
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Print a line of JSON for each event, as is done where there is no terminal
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(
    command: Models,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let asked = Asked::find(state, environment).await?;
    let done = Box::pin(do_it(command, &asked, environment, out)).await;
    asked.close().await?;
    done
}

async fn do_it(
    command: Models,
    asked: &Asked,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        Models::Ls { remote: true, json } => transfer::published(asked, json, out).await?,
        Models::Ls {
            remote: false,
            json,
        } => {
            let all: Artifacts = asked
                .ask(Method::GET, "/v1/artifacts", &Value::Null)
                .await?;
            match json {
                true => write_json(&all, out)?,
                false => list::write(&all, out)?,
            }
        }
        Models::Show { name, json } => {
            let path = path_of(&artifact(&name)?);
            let found: ArtifactView = asked.ask(Method::GET, &path, &Value::Null).await?;
            match json {
                true => write_json(&found, out)?,
                false => show::write(&found, out)?,
            }
        }
        Models::Verify {
            names,
            accept,
            json,
        } => {
            let names = full_names(&names)?;
            let work = Work::Verify(VerifyRequest { names, accept });
            return Shown::new(json, environment, out).follow(asked, work).await;
        }
        Models::Repair { names, json } => {
            let names = full_names(&names)?;
            let work = Work::Repair(RepairRequest { names });
            let shown = Shown::new(json, environment, out);
            let (code, damaged) = shown.follow_damaged(asked, work).await?;
            if damaged.is_empty() || !asked.is_daemon() {
                return Ok(code);
            }
            let moved = Move {
                asked,
                environment,
                detach: false,
                json,
            };
            return moved.fetch_damaged(&damaged, code, out).await;
        }
        Models::Rm {
            name,
            remote: true,
            json,
            ..
        } => transfer::withdraw(asked, &name, json, out).await?,
        Models::Rm {
            name, force, json, ..
        } => remove(asked, &name, force, json, out).await?,
        Models::Push {
            what,
            name,
            detach,
            json,
        } => {
            let moved = Move {
                asked,
                environment,
                detach,
                json,
            };
            return moved.push(&what, name.as_deref(), out).await;
        }
        Models::Pull {
            name,
            force,
            detach,
            json,
        } => {
            let moved = Move {
                asked,
                environment,
                detach,
                json,
            };
            return moved.pull(&name, force, out).await;
        }
        Models::Transfers { json } => transfer::list(asked, json, out).await?,
        Models::Pause { transfer, json } => {
            transfer::set(asked, transfer, "paused", json, out).await?;
        }
        Models::Resume { transfer, json } => {
            transfer::set(asked, transfer, "queued", json, out).await?;
        }
        Models::Cancel { transfer, json } => {
            transfer::cancel(asked, transfer, json, out).await?;
        }
        Models::Pin { name, json } => pin(asked, &name, true, json, out).await?,
        Models::Unpin { name, json } => pin(asked, &name, false, json, out).await?,
        Models::Gc {
            budget,
            dry_run,
            json,
        } => {
            let request = RoomRequest { budget, dry_run };
            let room = asked
                .ask(Method::POST, "/v1/artifacts/gc", &request)
                .await?;
            match json {
                true => write_json(&room, out)?,
                false => room::write(&room, dry_run, out)?,
            }
        }
        Models::Import(import) => {
            return import::run(import, asked, environment, out).await;
        }
        Models::Path { name, json } => {
            let name = artifact(&name)?.to_string();
            let request = UseRequest { name };
            let answer: UseAnswer = asked
                .ask(Method::POST, "/v1/artifacts/use", &request)
                .await?;
            match json {
                true => write_json(&answer, out)?,
                // For programs: as it is.
                false => writeln!(out, "{}", answer.path)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(
    asked: &Asked,
    name: &str,
    force: bool,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let name = artifact(name)?;
    let path = format!("{}?force={force}", path_of(&name));
    let removed: Removed = asked.ask(Method::DELETE, &path, &Value::Null).await?;
    if json {
        return write_json(&removed, out);
    }
    let size = bytes(removed.bytes);
    match removed.published {
        true => writeln!(out, "Took {name} away ({size}); it is still published")?,
        false => writeln!(out, "Removed {name} ({size})")?,
    }
    Ok(())
}

async fn pin(
    asked: &Asked,
    name: &str,
    pinned: bool,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let name = artifact(name)?;
    let request = Pinning { pinned };
    let found: ArtifactView = asked.ask(Method::PUT, &path_of(&name), &request).await?;
    match (json, pinned) {
        (true, _) => write_json(&found, out)?,
        (false, true) => writeln!(out, "Pinned {name}")?,
        (false, false) => writeln!(out, "{name} is no longer pinned")?,
    }
    Ok(())
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

/// The artifact that a person means: a name without a slash is a model's.
fn artifact(text: &str) -> anyhow::Result<Artifact> {
    match text.contains('/') {
        true => Ok(text.parse()?),
        false => Ok(Artifact::SharedModel(FileName::parse(text)?)),
    }
}

fn full_names(texts: &[String]) -> anyhow::Result<Vec<String>> {
    let full = |text: &String| artifact(text).map(|name| name.to_string());
    texts.iter().map(full).collect()
}

/// Where the API has it. No character of a name has to be encoded but `+`,
/// `=` and `@`, which paths may hold as they are (RFC 3986 §3.3).
fn path_of(name: &Artifact) -> String {
    format!("/v1/artifacts/{name}")
}

/// Text that files brought, on one line.
fn plain(text: &str) -> String {
    printable::line(text)
}
