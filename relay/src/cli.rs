//! The command line: `ginnel-relay …`.
//!
//! `dev` and `serve` are the relay itself. All other commands work beside a
//! running relay, on the same state folder; it notices by itself. What a
//! command was asked for goes to the standard output, everything else to the
//! standard error output. Nothing is coloured.

pub mod devices;
pub mod duration;
pub mod init;
pub mod invite;
pub mod key;
pub mod knowledge;
pub mod live;
pub mod opened;
pub mod table;
pub mod usage;
pub mod user;
pub mod when;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use serde::Serialize;

use ginnel_daemon::environment::Environment;
use ginnel_daemon::log;
use ginnel_daemon::output::Output;
use ginnel_daemon::report::{self, Style};
use ginnel_daemon::shell;

use crate::config::place::RelayPlace;
use crate::config::{Config, Flags};
use crate::daemon;
use crate::relay::unix_ms;

/// The cloud half of Ginnel: public requests in, device tunnels out
#[derive(Debug, Parser)]
#[command(name = "ginnel-relay", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The folder of everything the relay keeps [env: GINNEL_RELAY_STATE]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The settings, if not relay.toml in the state folder [env: GINNEL_RELAY_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a relay on this machine, to try things out
    Dev(DevArgs),
    /// Make the state folder and the settings of a new relay
    Init(init::InitArgs),
    /// Run the relay
    Serve,
    /// Make a join code, by which one device joins
    Invite(invite::InviteArgs),
    /// List, show or revoke devices
    #[command(subcommand)]
    Devices(devices::DevicesCommand),
    /// Make, list or revoke the API keys of callers
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Restore what a user's devices know
    #[command(subcommand)]
    Knowledge(knowledge::KnowledgeCommand),
    /// Export or erase all that there is of a user
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show what users and devices sent to upstreams
    Usage(usage::UsageArgs),
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them to a folder
    Man {
        /// The folder; made if there is none
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct DevArgs {
    /// Where devices connect, over UDP [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    link: Option<String>,
    /// Where callers connect, over TCP [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    public: Option<String>,
    /// Where health and metrics are asked for [default: 127.0.0.1:7490]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

/// Where commands write.
pub struct Terminal<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Everything else that people should know.
    pub notes: &'a mut dyn Write,
}

/// The whole program: reads the arguments, runs the command, tells errors.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Not locked: the relay's log goes there too, from other threads.
    let (mut out, mut notes) = (Output::new(io::stdout()), Output::new(io::stderr()));
    let mut terminal = Terminal {
        out: &mut out,
        notes: &mut notes,
    };
    let environment = |name: &str| std::env::var_os(name);
    match run(cli, &environment, &mut terminal) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough, as `head` does.
        Err(error) if out.explains(&error) || notes.explains(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere left to say that this failed.
            let text = report::render(&error, Style::of_stderr(&environment));
            let _ = notes.write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Runs one command.
///
/// # Errors
/// What went wrong, for [`report::render`].
pub fn run(
    cli: Cli,
    environment: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let flags = cli.flags();
    let find = || RelayPlace::find(&flags, environment);
    match cli.command {
        Command::Dev(_) => run_relay(Config::dev(&flags, environment)?, environment),
        Command::Serve => run_relay(Config::serve(&flags, environment)?, environment),
        Command::Init(args) => init::run(&args, &flags, environment, terminal),
        Command::Invite(args) => block_on(invite::run(&find()?, args, terminal)),
        Command::Devices(command) => block_on(devices::run(&find()?, command, terminal)),
        Command::Key(command) => block_on(key::run(&find()?, command, terminal)),
        Command::Knowledge(command) => {
            let (_, bucket) = RelayPlace::find_with_bucket(&flags, environment)?;
            block_on(knowledge::run(&bucket, command, terminal))
        }
        Command::User(command) => {
            let (place, bucket) = RelayPlace::find_with_bucket(&flags, environment)?;
            block_on(user::run((&place, &bucket), command, terminal))
        }
        Command::Usage(args) => block_on(usage::run(&find()?, &args, terminal)),
        Command::Completions { shell } => shell::completions(Cli::command(), shell, terminal.out),
        Command::Man { dir } => shell::man(Cli::command(), dir.as_deref(), terminal.out),
    }
}

impl Cli {
    fn flags(&self) -> Flags {
        let mut flags = Flags {
            state: self.global.state.clone(),
            config: self.global.config.clone(),
            ..Flags::default()
        };
        if let Command::Dev(dev) = &self.command {
            flags.link.clone_from(&dev.link);
            flags.public.clone_from(&dev.public);
            flags.admin.clone_from(&dev.admin);
        }
        flags
    }
}

impl Terminal<'_> {
    /// Writes a value as JSON, for programs.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        // Not straight into the output, where errors of the pipe would hide.
        let text = serde_json::to_string_pretty(value)?;
        Ok(writeln!(self.out, "{text}")?)
    }
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

fn run_relay(config: Config, environment: Environment<'_>) -> anyhow::Result<()> {
    log::start(&config.log, config.log_format, environment);
    block_on(daemon::run(config))
}

/// Runs a command to its end.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// The system's wall clock, unix milliseconds.
fn now_ms() -> i64 {
    unix_ms(SystemTime::now())
}
