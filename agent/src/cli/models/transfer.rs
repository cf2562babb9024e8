//! `ginnel models push | pull | transfers | pause | resume | cancel`: artifacts
//! to and from the relay, shown as they go.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use ginnel_daemon::environment::Environment;
use ginnel_daemon::quantity::bytes;
use ginnel_proto::artifact::Artifact;
use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::Value;
use tokio::time::sleep;

use super::work::{Shown, style};
use super::{artifact, plain, write_json};
use crate::api::knowledge::artifacts::Work;
use crate::api::knowledge::artifacts::view::ImportRequest;
use crate::api::knowledge::transfers::view::{
    NewTransferView, Published, TransferView, Transfers, Wanted,
};
use crate::cli::knowledge::Asked;
use crate::cli::table;

/// How often a transfer is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is to be moved, and how it is shown.
pub(super) struct Move<'a> {
    pub(super) asked: &'a Asked,
    pub(super) environment: Environment<'a>,
    pub(super) detach: bool,
    pub(super) json: bool,
}

impl Move<'_> {
    /// Pushes an artifact, or a file that becomes one.
    pub(super) async fn push(
        &self,
        what: &str,
        name: Option<&str>,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let name = name.map(artifact).transpose()?;
        let known = self.known(what).await?;
        let artifact = match (known, name) {
            (Some(known), None) => known,
            (Some(known), Some(_)) => {
                bail!("it has a name already, and --as is for files from elsewhere, name={known}")
            }
            (None, name) => self.take_over(what, name, out).await?,
        };
        self.begin("push", &artifact, false, out).await
    }

    /// Pulls an artifact.
    pub(super) async fn pull(
        &self,
        name: &str,
        force: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        self.begin("pull", &artifact(name)?, force, out).await
    }

    /// Fetches the chunks that files lack whose blobs the relay has. `code` is
    /// how it ends where nothing can be fetched.
    pub(super) async fn fetch_damaged(
        &self,
        damaged: &[(String, String)],
        code: ExitCode,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let published: Option<Published> = self.asked.look("/v1/published").await.unwrap_or(None);
        let published = published.map(|all| all.artifacts).unwrap_or_default();
        let mut fetched = 0;
        for (name, blob) in damaged {
            let is_there = published
                .iter()
                .any(|it| it.name == *name && it.blob == *blob);
            if !is_there {
                continue;
            }
            // What is whole here is copied, and only the rest is fetched.
            self.begin("pull", &artifact(name)?, true, out).await?;
            fetched += 1;
        }
        Ok(match fetched == damaged.len() {
            true => ExitCode::SUCCESS,
            false => code,
        })
    }

    /// The artifact of that name, if there is one.
    async fn known(&self, what: &str) -> anyhow::Result<Option<Artifact>> {
        let Ok(artifact) = artifact(what) else {
            return Ok(None);
        };
        let found: Option<Value> = self.asked.look(&super::path_of(&artifact)).await?;
        Ok(found.map(|_| artifact))
    }

    /// A file from elsewhere comes into the models folder first, so that it is
    /// there when the push goes on tomorrow.
    async fn take_over(
        &self,
        what: &str,
        name: Option<Artifact>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Artifact> {
        let path = std::path::absolute(what)?;
        if !path.is_file() {
            bail!(
                "there is neither an artifact nor a file of that name, name={what}; \
                 hint: ginnel models ls"
            );
        }
        let name = match name {
            Some(name) => name,
            None => artifact(file_name(&path)?)?,
        };
        let request = ImportRequest {
            path: super::import::text(&path)?,
            kind: Some("path".to_owned()),
            rename: Some(name.to_string()),
            copy: true,
            ..ImportRequest::default()
        };
        let shown = Shown::new(self.json, self.environment, out);
        let ended = shown.follow(self.asked, Work::Import(request)).await?;
        if ended != ExitCode::SUCCESS {
            bail!("the file was not taken over, path={}", path.display());
        }
        Ok(name)
    }

    async fn begin(
        &self,
        direction: &str,
        name: &Artifact,
        force: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let new = NewTransferView {
            direction: direction.to_owned(),
            name: name.to_string(),
            force,
        };
        let begun: TransferView = self.asked.ask(Method::POST, "/v1/transfers", &new).await?;
        if self.detach {
            match self.json {
                true => write_json(&begun, out)?,
                false => writeln!(out, "Transfer {} is queued", begun.id)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        self.follow(begun, out).await
    }

    /// Shows a transfer until it ends.
    async fn follow(
        &self,
        mut transfer: TransferView,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let bar = (!self.json && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(self.environment));
            bar
        });
        let mut last: Option<TransferView> = None;
        loop {
            if last.as_ref() != Some(&transfer) {
                match &bar {
                    Some(bar) => advance(bar, &transfer),
                    None => writeln!(out, "{}", serde_json::to_string(&transfer)?)?,
                }
                last = Some(transfer.clone());
            }
            match &*transfer.state {
                "done" => break,
                "failed" | "paused" => {
                    if let Some(bar) = &bar {
                        bar.finish_and_clear();
                    }
                    let why = transfer
                        .last_error
                        .unwrap_or_else(|| transfer.state.clone());
                    bail!("{}, name={}", plain(&why), transfer.name);
                }
                _ => {}
            }
            sleep(LOOK_EVERY).await;
            let path = format!("/v1/transfers/{}", transfer.id);
            transfer = self.asked.ask(Method::GET, &path, &Value::Null).await?;
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
            writeln!(out, "{}", in_words(&transfer))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn file_name(path: &Path) -> anyhow::Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    match name {
        Some(name) => Ok(name),
        None => bail!("the file's name is not UTF-8; hint: --as NAME"),
    }
}

fn advance(bar: &ProgressBar, transfer: &TransferView) {
    bar.set_length(transfer.needed);
    bar.set_position(transfer.sent);
    let waits = match (&*transfer.state, &transfer.last_error) {
        ("queued", Some(error)) => format!(", waits: {}", plain(error)),
        _ => String::new(),
    };
    let reused = match transfer.reused {
        0 => String::new(),
        reused => format!(", {} reused", bytes(reused)),
    };
    bar.set_message(format!("{}{reused}{waits}", transfer.name));
}

fn in_words(transfer: &TransferView) -> String {
    let (done, moved) = match &*transfer.direction {
        "push" => ("Pushed", "sent"),
        _ => ("Pulled", "fetched"),
    };
    format!(
        "{done} {}, {}: {} {moved}, {} reused",
        transfer.name,
        bytes(transfer.size),
        bytes(transfer.sent),
        bytes(transfer.reused)
    )
}

/// Shows all transfers.
pub(super) async fn list(asked: &Asked, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let all: Transfers = asked
        .ask(Method::GET, "/v1/transfers", &Value::Null)
        .await?;
    if json {
        return write_json(&all, out);
    }
    let rows: Vec<_> = all.transfers.iter().map(row).collect();
    table::write(out, &rows)?;
    if all.transfers.is_empty() {
        writeln!(out, "There are no transfers")?;
    }
    Ok(())
}

fn row(one: &TransferView) -> [String; 6] {
    let share = match one.needed {
        0 => String::new(),
        needed => format!("{} of {}", bytes(one.sent), bytes(needed)),
    };
    [
        one.id.to_string(),
        one.direction.clone(),
        one.name.clone(),
        one.state.clone(),
        share,
        one.last_error.as_deref().map(plain).unwrap_or_default(),
    ]
}

/// Pauses a transfer, or lets it go on.
pub(super) async fn set(
    asked: &Asked,
    id: i64,
    state: &str,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let wanted = Wanted {
        state: state.to_owned(),
    };
    let path = format!("/v1/transfers/{id}");
    let now: TransferView = asked.ask(Method::PUT, &path, &wanted).await?;
    match json {
        true => write_json(&now, out)?,
        false => writeln!(out, "Transfer {id} is {}", now.state)?,
    }
    Ok(())
}

/// Forgets a transfer.
pub(super) async fn cancel(
    asked: &Asked,
    id: i64,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let path = format!("/v1/transfers/{id}");
    let was: TransferView = asked.ask(Method::DELETE, &path, &Value::Null).await?;
    match json {
        true => write_json(&was, out)?,
        false => writeln!(out, "Transfer {id} is forgotten")?,
    }
    Ok(())
}

/// Shows what the relay has.
pub(super) async fn published(
    asked: &Asked,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let all: Published = asked
        .ask(Method::GET, "/v1/published", &Value::Null)
        .await?;
    if json {
        return write_json(&all, out);
    }
    let rows: Vec<_> = all
        .artifacts
        .iter()
        .map(|one| {
            [
                one.name.clone(),
                bytes(one.size),
                format!("{} from {}", one.owner, one.device),
            ]
        })
        .collect();
    table::write(out, &rows)?;
    if !all.complete {
        writeln!(out, "There are more")?;
    }
    writeln!(out, "{} of {} are used", bytes(all.used), bytes(all.quota))?;
    Ok(())
}

/// Takes an artifact away from the relay.
pub(super) async fn withdraw(
    asked: &Asked,
    name: &str,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let name = artifact(name)?;
    let path = format!("/v1/published/{name}");
    let gone: Value = asked.ask(Method::DELETE, &path, &Value::Null).await?;
    match json {
        true => write_json(&gone, out)?,
        false => writeln!(out, "Took {name} away from the relay; a file here stays")?,
    }
    Ok(())
}
