//! `ginnel sync key`: the key with which all is encrypted, brought from one of the
//! user's devices to another, or from paper.

use std::fs;
use std::io::{BufRead as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use ginnel_certs::private_file;
use ginnel_daemon::environment::Environment;
use ginnel_proto::sync::seal::{Key, PREFIX};
use http::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::{Config, Flags};
use crate::knowledge::sync::keys::KeyFile;
use crate::local_client::{ClientError, LocalClient};

/// The longest line that is looked at, in bytes.
const LINE_MAX: u64 = 1 << 10;

/// What to do with the key.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Print the key: whoever has it can read all. Keep it where no device is
    Show {
        /// Write it to a new file instead, for its owner only
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take the key of another device, from the standard input or a file
    Enter {
        /// The file
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(super) async fn run(
    command: &KeyCommand,
    state: Option<&Path>,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let flags = Flags {
        state: state.map(Path::to_owned),
        ..Flags::default()
    };
    let config = Config::load(&flags, environment)?;
    let keys = KeyFile::of(&config.state);
    match command {
        KeyCommand::Show { out: file } => show(&keys, file.as_deref(), out)?,
        KeyCommand::Enter { file } => {
            private_file::create_dir_private(&config.state)?;
            let key = enter(&keys, file.as_deref())?;
            writeln!(out, "This device has key {} now", key.id())?;
            look_again(&config.state).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(keys: &KeyFile, file: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<()> {
    let keys = keys.read()?;
    let key = keys.newest().context(
        "this device has no key; hint: ginnel sync encrypt, or ginnel sync key enter if another device has one",
    )?;
    match file {
        Some(file) => {
            let mut text = key.to_text();
            text.push('\n');
            private_file::write_once(file, text.as_bytes())?;
            writeln!(out, "Wrote key {} to {}", key.id(), file.display())?;
        }
        None => writeln!(out, "{}", &*key.to_text())?,
    }
    Ok(())
}

fn enter(keys: &KeyFile, file: Option<&Path>) -> anyhow::Result<Key> {
    let mut line = Zeroizing::new(String::new());
    if let Some(file) = file
        && file.to_string_lossy().starts_with(PREFIX)
    {
        anyhow::bail!(
            "a key is not taken as an argument, which others on this machine can read; hint: ginnel sync key enter, and then the key"
        );
    }
    match file {
        Some(file) => {
            let text =
                fs::File::open(file).and_then(|it| it.take(LINE_MAX).read_to_string(&mut line));
            text.with_context(|| format!("cannot read {}", file.display()))?;
        }
        None => {
            let read = std::io::stdin().lock().take(LINE_MAX).read_line(&mut line);
            read.context("cannot read the key from the standard input")?;
        }
    }
    let key = line.trim().parse::<Key>();
    let key = key.with_context(|| match file {
        Some(file) => format!("{} has no key", file.display()),
        None => "what was entered is no key".to_owned(),
    })?;
    let mut all = keys.read()?;
    all.add(key.clone());
    all.use_only(Some(key.id()));
    keys.write(&all)?;
    Ok(key)
}

/// A daemon that runs looks for the key when it looks at the logs.
async fn look_again(state: &Path) -> anyhow::Result<()> {
    match LocalClient::find(state).await {
        Ok(client) => {
            let path = "/v1/sync/now";
            // Before it has joined a relay there is nothing to look at.
            let _: Result<Value, _> = client.send_long(Method::POST, path, &Value::Null).await;
            Ok(())
        }
        Err(ClientError::NotRunning(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
