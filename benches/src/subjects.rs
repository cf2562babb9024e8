//! Who is measured end to end: a public address, and the processes behind it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::time::{sleep, timeout};

use crate::http1::Connection;
use crate::process::Process;

/// The origin itself, which all others are compared with.
pub const DIRECT: &str = "direct";

/// Relay and agent.
pub const GINNEL: &str = "Ginnel";

/// How long a subject may take until it forwards.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a request reaches the origin.
#[derive(Debug)]
pub struct Subject {
    /// As in tables.
    pub name: &'static str,
    /// Where callers connect.
    pub public: SocketAddr,
    /// What carries the request; empty for the origin itself.
    pub processes: Vec<Process>,
}

impl Subject {
    /// The origin without anything in between.
    #[must_use]
    pub fn direct(origin: SocketAddr) -> Self {
        Self {
            name: DIRECT,
            public: origin,
            processes: Vec::new(),
        }
    }

    /// Waits until requests come through.
    ///
    /// # Errors
    /// They do not, or a process has ended.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            for process in &mut self.processes {
                process.check()?;
            }
            let asked = async { Connection::open(self.public).await?.small().await };
            let why = match timeout(Duration::from_secs(2), asked).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer"),
            };
            if began.elapsed() > PATIENCE {
                bail!("{} does not forward: {why:#}", self.name);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A command whose output goes to a file in the folder.
///
/// # Errors
/// The file cannot be made.
pub fn logged(program: &Path, log: &Path) -> anyhow::Result<Command> {
    let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    Ok(command)
}
