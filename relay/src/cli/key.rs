//! `ginnel-relay key`: the API keys by which callers reach private services.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use ginnel_proto::id::UserName;
use serde::Serialize;
use tokio::time::sleep;

use super::opened::Opened;
use super::table::{Align, Table};
use super::{Terminal, duration, now_ms, when};
use crate::config::place::RelayPlace;
use crate::daemon::NOTICED_AFTER;
use crate::registry::api_key::KeyEnvironment;
use crate::registry::api_keys::{KeyRow, NewKey};
use crate::registry::scope::Scope;

/// What `key` is told.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown this once
    Create(CreateArgs),
    /// List all keys, without their secrets
    Ls(LsArgs),
    /// Refuse a key from now on
    Revoke(RevokeArgs),
}

/// What `key create` is told.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose devices it reaches
    #[arg(long, value_name = "NAME")]
    user: UserName,
    /// A note, for the list
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it may do: forward:DEVICE/SERVICE, where either may be *
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// When it ends, such as 90d [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    expires: Option<Duration>,
    /// Make a key for tests: gnl_test_…
    #[arg(long)]
    test: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `key ls` is told.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `key revoke` is told.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The key's public id, as listed
    id: String,
}

/// A new key as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct CreatedView<'a> {
    key: &'a str,
    id: &'a str,
    user: &'a str,
    expires_unix_ms: Option<i64>,
}

/// A key as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct KeyView {
    id: String,
    user: String,
    name: Option<String>,
    environment: String,
    scopes: Vec<String>,
    status: &'static str,
    created_unix_ms: i64,
    last_used_unix_ms: Option<i64>,
    expires_unix_ms: Option<i64>,
    revoked_unix_ms: Option<i64>,
}

/// Runs one of the commands.
pub(super) async fn run(
    place: &RelayPlace,
    command: KeyCommand,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let opened = Opened::open(place).await?;
    match command {
        KeyCommand::Create(args) => create(&opened, args, terminal).await?,
        KeyCommand::Ls(args) => ls(&opened, &args, terminal).await?,
        KeyCommand::Revoke(args) => revoke(&opened, &args, terminal).await?,
    }
    Ok(opened.registry.close().await?)
}

async fn create(
    opened: &Opened,
    args: CreateArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let users = opened.registry.users().await?;
    let user = args.user;
    // A key of nobody reaches nothing: more likely a typing error.
    if !users.iter().any(|known| known.name == user) {
        bail!(
            "there is no such user, user={user}; hint: users are made with their first \
             device: ginnel-relay invite --user {user}"
        );
    }
    let now_ms = now_ms();
    let length_ms = args.expires.map(|length| i64::try_from(length.as_millis()));
    let expires_at_ms = length_ms.transpose()?.map(|ms| now_ms.saturating_add(ms));
    let environment = if args.test {
        KeyEnvironment::Test
    } else {
        KeyEnvironment::Live
    };
    let new = NewKey {
        user: user.clone(),
        name: args.name,
        environment,
        scopes: args.scopes,
        expires_at_ms,
    };
    let key = opened.registry.create_key(new, now_ms).await?;
    // Whoever sees the key may use it at once: a running relay has noticed.
    sleep(NOTICED_AFTER).await;
    if args.json {
        return terminal.json(&CreatedView {
            key: key.expose(),
            id: key.id(),
            user: user.as_str(),
            expires_unix_ms: expires_at_ms,
        });
    }
    writeln!(terminal.out, "{}", key.expose())?;
    let id = key.id();
    writeln!(
        terminal.notes,
        "hint: keep it now, it is not shown again; callers send it as Authorization: Bearer …; \
         revoke it with: ginnel-relay key revoke {id}"
    )?;
    Ok(())
}

async fn ls(opened: &Opened, args: &LsArgs, terminal: &mut Terminal<'_>) -> anyhow::Result<()> {
    let now_ms = now_ms();
    let rows = opened.registry.keys().await?.into_iter();
    let keys: Vec<KeyView> = rows.map(|row| view(row, now_ms)).collect();
    if args.json {
        return terminal.json(&keys);
    }
    if keys.is_empty() {
        writeln!(terminal.notes, "There are no API keys")?;
        writeln!(
            terminal.notes,
            "hint: make one with: ginnel-relay key create --user NAME --scope forward:DEVICE/SERVICE"
        )?;
        return Ok(());
    }
    let mut table = Table::new([
        ("ID", Align::Left),
        ("USER", Align::Left),
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("STATUS", Align::Left),
        ("USED", Align::Left),
        ("ENDS", Align::Left),
        ("SCOPES", Align::Left),
    ]);
    for key in keys {
        table.push([
            key.id,
            key.user,
            key.name.unwrap_or_default(),
            key.environment,
            key.status.to_owned(),
            when::ago(now_ms, key.last_used_unix_ms),
            when::until(now_ms, key.expires_unix_ms),
            key.scopes.join(", "),
        ]);
    }
    Ok(table.write(terminal.out)?)
}

async fn revoke(
    opened: &Opened,
    args: &RevokeArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let id = &args.id;
    if opened.registry.revoke_key(id, now_ms()).await? {
        writeln!(terminal.out, "Revoked {id}")?;
        return Ok(());
    }
    let keys = opened.registry.keys().await?;
    if !keys.iter().any(|key| key.id == *id) {
        // A whole key may have been pasted, so it is not repeated.
        bail!("there is no key of that id; hint: list them with: ginnel-relay key ls");
    }
    writeln!(terminal.notes, "{id} was revoked before")?;
    Ok(())
}

fn view(row: KeyRow, now_ms: i64) -> KeyView {
    let status = if row.revoked_at_ms.is_some() {
        "revoked"
    } else if row.expires_at_ms.is_some_and(|end| end <= now_ms) {
        "expired"
    } else {
        "valid"
    };
    KeyView {
        id: row.id,
        user: row.user.to_string(),
        name: row.name,
        environment: row.environment.to_string(),
        scopes: row.scopes.iter().map(ToString::to_string).collect(),
        status,
        created_unix_ms: row.created_at_ms,
        last_used_unix_ms: row.last_used_ms,
        expires_unix_ms: row.expires_at_ms,
        revoked_unix_ms: row.revoked_at_ms,
    }
}
