//! Litestream, a peer: it ships pages of one database to the same S3 server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use tokio::time::{Instant, sleep};

use super::ground::Ground;
use crate::process::{Process, Times, timed};

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program, and how it reaches the bucket.
pub(super) struct Litestream {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    endpoint: String,
    bucket: String,
}

impl Litestream {
    /// Installed by `benches/litestream`.
    pub(super) fn find(ground: &Ground) -> anyhow::Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/litestream-0.5.17/bin/litestream");
        ensure!(
            program.exists(),
            "there is no Litestream; hint: run benches/litestream"
        );
        let bucket = &ground.world.r2.bucket;
        Ok(Self {
            program,
            environment: vec![
                ("AWS_ACCESS_KEY_ID", bucket.keys.id.clone()),
                ("AWS_SECRET_ACCESS_KEY", bucket.keys.secret.clone()),
            ],
            endpoint: format!("http://{}", ground.other.address),
            bucket: bucket.name.clone(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        // A bundle of certificates in the environment keeps it from starting.
        command.envs(environment).env_remove("AWS_CA_BUNDLE");
        command
    }

    /// Writes a configuration for a database that goes to that place.
    fn configure(&self, folder: &Path, database: &Path, place: &str) -> anyhow::Result<PathBuf> {
        let file = folder.join("litestream.yml");
        let text = format!(
            "dbs:\n  - path: {}\n    replica:\n      type: s3\n      bucket: {}\n      path: {place}\n      endpoint: {}\n      region: us-east-1\n      force-path-style: true\n",
            database.display(),
            self.bucket,
            self.endpoint
        );
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Begins to replicate, with the settings it comes with.
    pub(super) fn replicate(
        &self,
        folder: &Path,
        database: &Path,
        place: &str,
    ) -> anyhow::Result<Process> {
        let configuration = self.configure(folder, database, place)?;
        let mut command = self.command();
        let log = std::fs::File::create(folder.join("litestream.log"))?;
        command
            .arg("replicate")
            .arg("-config")
            .arg(configuration)
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start("litestream", &mut command)
    }

    /// Replicates all that there is, with a snapshot, and ends.
    pub(super) async fn back_up(
        &self,
        folder: &Path,
        database: &Path,
        place: &str,
    ) -> anyhow::Result<()> {
        let configuration = self.configure(folder, database, place)?;
        let mut command = self.command();
        command
            .args(["replicate", "-once", "-force-snapshot", "-config"])
            .arg(configuration);
        run(command).await.map(drop)
    }

    /// Restores a database, and says what that took.
    pub(super) async fn restore(
        &self,
        folder: &Path,
        database: &Path,
        to: &Path,
    ) -> anyhow::Result<Times> {
        let configuration = folder.join("litestream.yml");
        let mut command = self.command();
        command
            .args(["restore", "-config"])
            .arg(configuration)
            .arg("-o")
            .arg(to)
            .arg(database);
        run(command).await
    }

    /// Follows a database, as often as it does by itself.
    pub(super) fn follow(
        &self,
        folder: &Path,
        database: &Path,
        to: &Path,
    ) -> anyhow::Result<Process> {
        let mut command = self.command();
        let log = std::fs::File::create(folder.join("follow.log"))?;
        command
            .args(["restore", "-f", "-config"])
            .arg(folder.join("litestream.yml"))
            .arg("-o")
            .arg(to)
            .arg(database)
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start("litestream", &mut command)
    }
}

/// Runs it to its end, while the proxy of this process goes on.
async fn run(command: Command) -> anyhow::Result<Times> {
    tokio::task::spawn_blocking(move || timed(&command)).await?
}

/// A copy of what is published, as an application would use it.
pub(super) fn copy(published: &Path, folder: &Path) -> anyhow::Result<(PathBuf, Connection)> {
    let database = folder.join("copy.db");
    std::fs::copy(published, &database).context("cannot copy what is published")?;
    let connection = Connection::open(&database)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the copy has no write-ahead log");
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok((database, connection))
}

/// Waits until nothing was written for so long. Gives all that was.
pub(super) async fn until_quiet(
    received: impl Fn() -> u64,
    quiet: Duration,
) -> anyhow::Result<u64> {
    let began = Instant::now();
    let mut last = (received(), Instant::now());
    while last.1.elapsed() < quiet {
        ensure!(began.elapsed() < PATIENCE, "writes do not end");
        sleep(Duration::from_millis(50)).await;
        let now = received();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(last.0)
}
