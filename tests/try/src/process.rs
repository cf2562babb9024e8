//! The two processes, and what they may be asked from the command line.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::caller::Caller;

/// Nothing in the story takes this long on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The scratch folder, the programs, and where they listen.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) link: u16,
    pub(crate) public: u16,
    pub(crate) admin: u16,
    pub(crate) local: u16,
}

impl Setup {
    /// Prefers the ports of the documentation, so that people can go on with
    /// what they read there.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let programs = own.parent().context("this program has no folder")?;
        Ok(Self {
            folder: folder.to_owned(),
            programs: programs.to_owned(),
            link: free_port(7443)?,
            public: free_port(7480)?,
            admin: free_port(7490)?,
            local: free_port(7411)?,
        })
    }

    /// Starts `ginnel-relay dev`.
    pub(crate) fn relay(&self) -> anyhow::Result<Child> {
        let address = |port| format!("127.0.0.1:{port}");
        let mut command = self.command("ginnel-relay");
        command
            .args(["dev", "--link", &address(self.link)])
            .args(["--public", &address(self.public)])
            .args(["--admin", &address(self.admin)]);
        self.start(command, "relay.log")
    }

    /// Starts `ginnel up`.
    pub(crate) fn agent(&self) -> anyhow::Result<Child> {
        let mut command = self.command("ginnel");
        let local = format!("127.0.0.1:{}", self.local);
        command.args(["up", "--local", &local]);
        self.start(command, "agent.log")
    }

    /// Runs a command of `ginnel` to its end and returns what it prints.
    pub(crate) async fn ginnel(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run("ginnel", arguments).await
    }

    /// As [`Setup::ginnel`], for what may take minutes.
    pub(crate) async fn ginnel_for_long(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command("ginnel");
        command.args(arguments).stdin(Stdio::null());
        told("ginnel", arguments, command.output().await?)
    }

    /// Runs a command of `ginnel-relay` to its end and returns what it prints.
    pub(crate) async fn ginnel_relay(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run("ginnel-relay", arguments).await
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null());
        let output = timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("{program} {} takes too long", arguments.join(" ")))??;
        told(program, arguments, output)
    }

    /// Waits until `ginnel status` says that the link is up.
    pub(crate) async fn connected(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(status) = self.ginnel(&["status", "--json"]).await {
                let status: serde_json::Value = serde_json::from_str(&status)?;
                if status["link"]["state"] == "connected" {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                bail!("the agent does not connect; see {}", self.log("agent.log"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the relay says that it is ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let admin = Caller {
            port: self.admin,
            tasks: TaskTracker::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = admin.send("localhost", "/ready", Bytes::new(), &[]).await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the relay does not start; see {}", self.log("relay.log"));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env("GINNEL_STATE", self.folder.join("agent"))
            .env("GINNEL_RELAY_STATE", self.folder.join("relay"))
            .kill_on_drop(true);
        command
    }

    fn start(&self, mut command: Command, log: &str) -> anyhow::Result<Child> {
        let log = std::fs::File::create(self.folder.join(log))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.spawn().context("cannot start a process")
    }

    fn log(&self, name: &str) -> String {
        let path = self.folder.join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        format!("{}:\n{text}", path.display())
    }
}

/// What a command printed, if it went well.
fn told(program: &str, arguments: &[&str], output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!(
            "{program} {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The port, or another if it is taken.
fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
