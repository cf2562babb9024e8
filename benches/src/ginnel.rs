//! Relay and agent as a person runs them: the two programs, in development
//! mode, with state in a scratch folder.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::process::{Process, free_address};
use crate::subjects::{GINNEL, Subject, logged};

/// How long a daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// The two programs, as fresh as this one.
#[derive(Debug, Clone)]
pub struct Programs {
    relay: PathBuf,
    agent: PathBuf,
}

impl Programs {
    /// Builds them beside this program, in the same profile.
    ///
    /// # Errors
    /// They do not build.
    pub fn build() -> anyhow::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args([
                "build",
                "--quiet",
                "--bin",
                "ginnel",
                "--bin",
                "ginnel-relay",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["--package", "ginnel-agent", "--package", "ginnel-relay"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let built = command.status().context("cannot run cargo")?;
        ensure!(built.success(), "ginnel and ginnel-relay do not build");
        let own = env::current_exe()?;
        let folder = own.parent().context("a program is in a folder")?;
        Ok(Self {
            relay: folder.join("ginnel-relay"),
            agent: folder.join("ginnel"),
        })
    }

    /// The folder that both are in.
    ///
    /// # Errors
    /// None: both are in one.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.relay.parent().context("a program is in a folder")?;
        Ok(folder.to_owned())
    }

    /// Starts a relay with its state in `folder`.
    ///
    /// # Errors
    /// It does not start; what it said is in `relay.log` in the folder.
    pub async fn relay(&self, folder: &Path) -> anyhow::Result<Relay> {
        let (link, public, admin) = (free_address()?, free_address()?, free_address()?);
        let state = folder.join("relay");
        let mut command = logged(&self.relay, &folder.join("relay.log"))?;
        command.arg("--state").arg(&state).arg("dev");
        for (flag, address) in [("--link", link), ("--public", public), ("--admin", admin)] {
            command.arg(flag).arg(address.to_string());
        }
        let mut process = Process::start("relay", &mut command)?;
        let began = Instant::now();
        while tokio::net::TcpStream::connect(public).await.is_err() {
            process.check()?;
            ensure!(began.elapsed() < PATIENCE, "the relay does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Relay {
            process,
            link,
            public,
            state,
        })
    }

    /// Starts relay and agent, and shares the origin.
    ///
    /// # Errors
    /// One of them does not start; what it said is in the folder.
    pub async fn start(&self, folder: &Path, origin: SocketAddr) -> anyhow::Result<Subject> {
        let relay = self.relay(folder).await?;
        let began = Instant::now();
        while !relay.state.join("dev.join").exists() {
            ensure!(began.elapsed() < PATIENCE, "the relay leaves no join code");
            sleep(Duration::from_millis(20)).await;
        }
        let state = folder.join("agent");
        // Before it runs, a service is simply written down.
        let shared = logged(&self.agent, &folder.join("share.log"))?
            .arg("--state")
            .arg(&state)
            .args(["share", "bench", &format!("http://{origin}"), "--public"])
            .status()?;
        ensure!(shared.success(), "the origin cannot be shared");
        let mut command = logged(&self.agent, &folder.join("agent.log"))?;
        command
            .arg("--state")
            .arg(&state)
            .args(["up", "--local", &free_address()?.to_string()])
            .env("GINNEL_RELAY_STATE", &relay.state);
        let agent = Process::start("agent", &mut command)?;
        Ok(Subject {
            name: GINNEL,
            public: relay.public,
            processes: vec![relay.process, agent],
        })
    }
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    /// Its process.
    pub process: Process,
    /// Where devices connect.
    pub link: SocketAddr,
    /// Where callers connect.
    pub public: SocketAddr,
    /// Its state folder.
    pub state: PathBuf,
}
