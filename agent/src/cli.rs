//! The command line: what people type, and what they read back.
//!
//! Commands about the running daemon ask it over its local API; those about
//! what to share work without it too. Text follows three rules: plain short
//! English, no full stop after a single sentence, and nothing that only colour
//! says.

pub mod argument;

pub mod add;
pub mod documents;
mod down;
pub mod import_vss;
mod json;
mod knowledge;
pub mod loras;
pub mod models;
mod printable;
pub mod search;
mod services;
mod share;
mod status;
pub mod store;
pub mod sync;
mod table;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use ginnel_daemon::environment::Environment;
use ginnel_daemon::log::{self, LogFormat};
use ginnel_daemon::output::Output;
use ginnel_daemon::report::{self, Style};
use ginnel_daemon::shell;
use ginnel_ingest::pdf;
use ginnel_proto::id::{DeviceName, ServiceName};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Flags};
use crate::knowledge::files::PDF_COMMAND;
use crate::running::is_running;
use crate::services::spec::ServiceSpec;
use crate::{daemon, join, tcp};
use argument::{JoinText, RemoteService};

/// Joins this device to a relay: its services can be called from anywhere, and
/// its apps call cloud APIs without keeping their keys.
#[derive(Debug, Parser)]
#[command(name = "ginnel", bin_name = "ginnel", version, max_term_width = 100)]
pub struct Cli {
    /// Keep everything in this folder
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Connect to the relay and stay connected
    Up(Up),
    /// Stop the running ginnel
    Down,
    /// Show how the link to the relay is doing
    Status(Status),
    /// Make this device known to a relay
    Join(Join),
    /// Let callers reach a local service
    Share(Share),
    /// Stop sharing a service
    Unshare {
        /// The service's name
        name: ServiceName,
    },
    /// List what this device shares
    Services {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Share a small built-in service to try things out
    Demo {
        /// Let callers in without an API key
        #[arg(long)]
        public: bool,
    },
    /// Reach a TCP service of another device
    Tcp(Tcp),
    /// Add folders, files or a text to what this device knows
    Add(add::Add),
    /// Find passages by words and meaning
    Search(search::Search),
    /// List, show and delete documents
    #[command(subcommand)]
    Documents(documents::Documents),
    /// List the collections of documents
    Collections {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep models, adapters and data sets
    #[command(subcommand)]
    Models(models::Models),
    /// Find, describe and rate LoRA adapters
    #[command(subcommand)]
    Loras(loras::Loras),
    /// Look after what this device knows
    #[command(subcommand)]
    Store(store::Store),
    /// Keep what this device knows in step with your other devices
    Sync(sync::Sync),
    /// Read a PDF from the standard input and write its text as JSON
    #[command(name = PDF_COMMAND, hide = true)]
    ReadPdf,
    /// Print a script that completes commands in a shell
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

/// `ginnel up`.
#[derive(Debug, Default, Args)]
pub struct Up {
    /// Join a relay first; - reads the code from the standard input
    #[arg(long, value_name = "CODE")]
    pub join: Option<JoinText>,
    /// Where apps of this machine reach ginnel [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDRESS")]
    pub local: Option<String>,
    /// What to log, such as debug or ginnel_agent=trace [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// What log lines look like, text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How sending adapts to the network, cubic or bbr [default: cubic]
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// Most requests worked on at once [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pub max_requests: Option<String>,
}

/// `ginnel status`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show it again every second until interrupted
    #[arg(long)]
    pub watch: bool,
}

/// `ginnel join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The code that the relay printed; - reads it from the standard input
    pub code: JoinText,
    /// What to call this device
    #[arg(long, value_name = "DEVICE")]
    pub name: Option<DeviceName>,
}

/// `ginnel share`.
#[derive(Debug, Args)]
pub struct Share {
    /// The service's name, part of its address
    pub name: ServiceName,
    /// Where it is: a port, http://HOST:PORT, https://HOST:PORT,
    /// tcp://HOST:PORT, unix:/PATH, tcp+unix:/PATH, demo or knowledge
    pub target: String,
    /// Let callers in without an API key
    #[arg(long)]
    pub public: bool,
    /// Allow a target on another machine
    #[arg(long)]
    pub allow_remote: bool,
    /// Trust an https target whose certificate this authority signed
    ///
    /// The file may be a self-signed certificate itself, but not one that is
    /// an authority's too, as `openssl req -x509` makes by default: the log
    /// then says CaUsedAsEndEntity. Make it with
    /// `-addext basicConstraints=critical,CA:FALSE`, or use --tls-insecure.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_ca: Option<PathBuf>,
    /// Trust an https target whatever its certificate
    #[arg(long, conflicts_with = "tls_ca")]
    pub tls_insecure: bool,
}

/// `ginnel tcp`.
#[derive(Debug, Args)]
pub struct Tcp {
    /// The service, of this user's device if one is named
    #[arg(value_name = "[DEVICE/]NAME")]
    pub service: RemoteService,
    /// Where local programs connect to
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

impl Cli {
    /// Whether the flags of the command fit together.
    ///
    /// # Errors
    /// They do not, for this reason.
    pub fn check(&self) -> Result<(), clap::Error> {
        let Command::Add(add) = &self.command else {
            return Ok(());
        };
        add.check().map_err(|reason| {
            let mut all = Self::command();
            // So that it knows its own usage.
            all.build();
            let kind = ErrorKind::ArgumentConflict;
            match all.find_subcommand_mut("add") {
                Some(command) => command.error(kind, reason),
                None => all.error(kind, reason),
            }
        })
    }
}

/// Does what the command line says and tells how it went.
pub async fn run(cli: Cli) -> ExitCode {
    let environment = |name: &str| std::env::var_os(name);
    if let Err(mistake) = cli.check() {
        // Nobody is left to tell if this fails.
        let _ = mistake.print();
        return ExitCode::from(2);
    }
    let mut out = Output::new(io::stdout());
    let done = execute(cli, &environment, &mut out).await;
    match done {
        Ok(code) => code,
        // Whoever read the output has seen enough, as `head` does.
        Err(error) if out.explains(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let error = printable::error(&error);
            let text = report::render(&error, Style::of_stderr(&environment));
            // Nobody is left to tell if this fails.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

async fn execute(
    cli: Cli,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let state = || config::state_dir(cli.state.as_deref(), environment);
    match cli.command {
        Command::Up(up) => {
            let (flags, join) = up.split(cli.state);
            let config = Config::load(&flags, environment)?;
            log::start(&config.log, config.log_format, environment);
            let code = join.map(|code| code.as_str().to_owned());
            Box::pin(daemon::run(config, code)).await?;
        }
        Command::Join(Join { code, name }) => {
            let state = state()?;
            let device = Box::pin(join::join(&state, code.as_str(), name)).await?;
            writeln!(out, "Joined as {device}")?;
            if is_running(&state)? {
                writeln!(out, "hint: run ginnel down, then ginnel up, to use it")?;
            } else {
                writeln!(out, "hint: ginnel up")?;
            }
        }
        Command::Tcp(Tcp { service, listen }) => {
            log::start("warn", LogFormat::Text, environment);
            let stop = CancellationToken::new();
            let state = state()?;
            let told = |address: SocketAddr| {
                // Whether someone reads it or not, the port is open.
                let _ = writeln!(out, "Listening on {address} for {service}");
            };
            let RemoteService { device, service } = service.clone();
            let carried = tcp::listen(&state, device, service, listen, stop.clone(), told);
            tokio::select! {
                carried = carried => carried?,
                () = daemon::signalled_twice(&stop) => {}
            }
        }
        Command::Down => down::down(&state()?, out).await?,
        Command::Status(status) => return status::status(&state()?, status, out).await,
        Command::Share(share) => {
            let spec = share.spec()?;
            share::share(&state()?, share.name, &spec, out).await?;
        }
        Command::Demo { public } => {
            let spec = ServiceSpec {
                public,
                ..ServiceSpec::new("demo")
            };
            share::share(&state()?, ServiceName::parse("demo")?, &spec, out).await?;
        }
        Command::Unshare { name } => share::unshare(&state()?, &name, out).await?,
        Command::Services { json } => {
            let list = services::list(&state()?).await?;
            if json {
                services::write_json(list, out)?;
            } else {
                services::write_text(&list, out)?;
            }
        }
        Command::Add(add) => {
            let state = cli.state.as_deref();
            return Box::pin(add::add(add, state, environment, out)).await;
        }
        Command::Search(search) => {
            let state = cli.state.as_deref();
            return Box::pin(search::search(search, state, environment, out)).await;
        }
        Command::Documents(command) => {
            let state = cli.state.as_deref();
            Box::pin(documents::run(command, state, environment, out)).await?;
        }
        Command::Collections { json } => {
            let state = cli.state.as_deref();
            Box::pin(documents::collections(json, state, environment, out)).await?;
        }
        Command::Models(command) => {
            let state = cli.state.as_deref();
            return Box::pin(models::run(command, state, environment, out)).await;
        }
        Command::Loras(command) => {
            let state = cli.state.as_deref();
            return Box::pin(loras::run(command, state, environment, out)).await;
        }
        Command::Store(command) => {
            let state = cli.state.as_deref();
            return Box::pin(store::run(command, state, environment, out)).await;
        }
        Command::Sync(sync) => {
            let state = cli.state.as_deref();
            return Box::pin(sync::run(sync, state, environment, out)).await;
        }
        Command::ReadPdf => pdf::child::main(&mut io::stdin().lock(), &mut io::stdout().lock())?,
        Command::Completions { shell } => shell::completions(Cli::command(), shell, out)?,
        Command::Man { dir } => shell::man(Cli::command(), dir.as_deref(), out)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Up {
    /// The settings as given, and the code to join with.
    #[must_use]
    pub fn split(self, state: Option<PathBuf>) -> (Flags, Option<JoinText>) {
        let flags = Flags {
            state,
            local: self.local,
            log: self.log,
            log_format: self.log_format,
            congestion: self.congestion,
            max_requests: self.max_requests,
        };
        (flags, self.join)
    }
}

impl Share {
    /// The service as text. A file is made absolute: the daemon may run in
    /// another folder.
    fn spec(&self) -> anyhow::Result<ServiceSpec> {
        let tls_ca = match &self.tls_ca {
            Some(file) => {
                let file = std::path::absolute(file)?;
                let text = file
                    .to_str()
                    .ok_or_else(|| anyhow::anyhow!("path is not UTF-8, path={}", file.display()))?;
                Some(text.to_owned())
            }
            None => None,
        };
        Ok(ServiceSpec {
            target: self.target.clone(),
            public: self.public,
            allow_remote: self.allow_remote,
            tls_ca,
            tls_insecure: self.tls_insecure,
        })
    }
}

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
