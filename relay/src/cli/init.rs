//! `ginnel-relay init`: a new relay's state folder and settings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ginnel_daemon::environment::Environment;
use ginnel_proto::id::{Domain, Environment as Stage};

use super::Terminal;
use crate::config::places::state_dir;
use crate::config::{FILE_NAME, Flags};
use crate::state::State;

/// What `init` is told.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The relay's DNS name; services appear at SERVICE.DEVICE.DOMAIN
    #[arg(long)]
    domain: Domain,
    /// The stage; devices of another are refused
    #[arg(long, default_value = "production")]
    environment: Stage,
}

/// Makes the folder, the authority and the settings.
pub(super) fn run(
    args: &InitArgs,
    flags: &Flags,
    environment: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let state = state_dir(flags, environment)?;
    let beside = state.join(FILE_NAME);
    let chosen = environment("GINNEL_RELAY_CONFIG").map(PathBuf::from);
    let file = flags
        .config
        .clone()
        .or(chosen)
        .unwrap_or_else(|| beside.clone());
    for made in [&file, &state.join("relay.db")] {
        refuse_to_overwrite(made)?;
    }

    State::open(&state, &args.domain)?;
    let elsewhere = (file != beside).then_some(state.as_path());
    let text = settings(args, elsewhere)?;
    let written = ginnel_certs::private_file::write_once(&file, text.as_bytes());
    written.context("cannot write the settings")?;

    let domain = &args.domain;
    writeln!(
        terminal.out,
        "Made a relay for {domain} in {}",
        state.display()
    )?;
    writeln!(terminal.out, "  {}  its settings", file.display())?;
    writeln!(
        terminal.out,
        "  {}  its authority: keep a copy, and keep it private",
        state.join("ca.key").display()
    )?;
    writeln!(
        terminal.notes,
        "hint: name your TLS certificate in {FILE_NAME}, then start the relay with: ginnel-relay serve"
    )?;
    Ok(())
}

fn refuse_to_overwrite(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    if fs::exists(path).with_context(|| format!("cannot look for {shown}"))? {
        bail!(
            "there is a relay already, and nothing was changed, path={shown}; \
             hint: choose another folder with --state DIR"
        );
    }
    Ok(())
}

/// The settings' file, every setting explained.
fn settings(args: &InitArgs, state: Option<&Path>) -> anyhow::Result<String> {
    let mut text = TEMPLATE
        .replace("@DOMAIN@", args.domain.as_str())
        .replace("@ENVIRONMENT@", args.environment.as_str());
    if let Some(state) = state {
        let path = state
            .to_str()
            .context("the state folder's path is not text")?;
        // A JSON string is a TOML string too.
        let path = serde_json::to_string(path)?;
        text = text.replace("\ndomain = ", &format!("\nstate = {path}\ndomain = "));
    }
    Ok(text)
}

/// What a person edits. A line that begins with `#` and no space is a setting at
/// its default, which a test holds it to.
const TEMPLATE: &str = r#"# The settings of this relay. A line that begins with # and no space shows a
# default. Flags and the environment win over this file: link.listen is also
# GINNEL_RELAY_LINK_LISTEN, and so on.

# The relay's DNS name. Point it, and *.DEVICE under it, at this machine.
domain = "@DOMAIN@"

# The stage: devices of another are refused.
environment = "@ENVIRONMENT@"

# Seconds that requests have to finish when the relay stops.
#grace = 30

# What is logged, and as "text" or "json".
#log = "info"
#log_format = "text"

# Where devices connect, over UDP.
[link]
#listen = "[::]:443"
# What join codes say, if not the domain and the port above.
#advertise = "@DOMAIN@:443"
# "cubic", or "bbr" for lossy networks.
#congestion = "cubic"

# Where callers connect, over TCP.
[public]
#listen = "[::]:443"
# The certificate for @DOMAIN@ and the names under it, in PEM.
#tls = { certificate = "/etc/ginnel/cert.pem", key = "/etc/ginnel/key.pem" }
# Or, if a proxy in front speaks TLS:
#plain = true
# How callers see the relay, if not as it listens.
#url = "https://@DOMAIN@"
# Connections at once; more have to wait. Each takes an open file (LimitNOFILE).
#connections_max = 10000

# Health, readiness, metrics and live devices. On loopback it answers to local
# host names only, anywhere else to all.
[admin]
#listen = "127.0.0.1:7490"

# Where models, LoRAs and data sets are kept: a folder, by default "bucket" in
# the state folder, or R2 or anything else that speaks S3.
[bucket]
# Bytes that a user's artifacts may take together.
#quota = "100 GiB"
# Of S3. Its keys stand in the variables R2_ACCESS_KEY_ID and
# R2_SECRET_ACCESS_KEY, or in those of AWS.
# url = "s3://models"
# Of R2, the endpoint follows from the variable R2_ACCOUNT_ID.
# endpoint = "https://s3.example.com"
# region = "auto"
# ca_file = "/etc/ginnel/s3-ca.pem"

# Examples

# A cloud API that devices may reach. Its credential stays here: it stands in a
# variable, or in a file that only this user can read (credential_file).
# [upstream.openai]
# url = "https://api.openai.com"
# credential_env = "OPENAI_API_KEY"

# [upstream.anthropic]
# url = "https://api.anthropic.com"
# header = "x-api-key"
# credential_env = "ANTHROPIC_API_KEY"

# A port that leads to one public TCP service of a device.
# [[tcp]]
# listen = "[::]:2222"
# device = "laptop"
# service = "ssh"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_template_shows_the_defaults() {
        let template = settings(&args(), None).expect("text");
        let least = uncomment(&template, |line| line.starts_with("#tls = "));
        let full = uncomment(&template, |line| {
            !line.starts_with("# ") && !line.starts_with("#plain")
        });
        assert!(full.lines().count() == least.lines().count() && full != least);

        let (mut least, mut full) = (load(&least), load(&full));
        assert_eq!(least.environment.as_str(), "staging");
        let shown = |config: &Config| {
            let url = config.public_url(config.public.listen);
            format!("{url:?} {}", config.advertise(config.link.listen))
        };
        assert_eq!(shown(&least), shown(&full));
        for config in [&mut least, &mut full] {
            config.public.url = None;
            config.link.advertise = None;
        }
        assert_eq!(format!("{least:?}"), format!("{full:?}"));
    }

    #[test]
    fn the_examples_of_the_template_are_valid() {
        let template = settings(&args(), None).expect("text");
        let (settings, examples) = template.split_once("# Examples\n").expect("there");
        let settings = uncomment(settings, |line| line.starts_with("#tls = "));
        let examples = uncomment(examples, |line| {
            line.starts_with("# [") || line.contains(" = \"")
        });
        let config = load(&format!("{settings}{}", examples.replace("\n ", "\n")));
        assert_eq!(config.upstreams.len(), 2);
        assert_eq!(config.tcp.len(), 1);
    }

    #[test]
    fn a_state_folder_elsewhere_is_named() {
        let text = settings(&args(), Some(Path::new("/var/\"odd\""))).expect("text");
        assert!(text.contains("\nstate = \"/var/\\\"odd\\\"\"\ndomain = \"relay.example\"\n"));
    }

    fn args() -> InitArgs {
        InitArgs {
            domain: "relay.example".parse().expect("valid"),
            environment: "staging".parse().expect("valid"),
        }
    }

    /// Takes the `#` off some of the comments.
    fn uncomment(text: &str, which: impl Fn(&str) -> bool) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if which(line) && !setting.is_empty() => format!("{setting}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    fn load(text: &str) -> Config {
        let dir = tempfile::tempdir().expect("folder");
        fs::write(dir.path().join(FILE_NAME), text).expect("written");
        let flags = Flags {
            state: Some("/relay".into()),
            config: Some(dir.path().join(FILE_NAME)),
            ..Flags::default()
        };
        let key = |name: &str| name.ends_with("_API_KEY").then(|| "sk-1".into());
        Config::serve(&flags, &key).expect("valid")
    }
}
