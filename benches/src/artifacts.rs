//! Artifacts: how fast a new one reaches the bucket, beside rclone, and what an
//! edit of a real model costs.
//!
//! * [`fresh`]: 1 GiB that nobody has, agent → relay → SeaweedFS.
//! * [`edits`]: the variants of a real model that `tests/models` makes, counted
//!   at the proxy that keeps R2's law.
//! * [`slow`]: a bucket that takes 50 ms for every request.
//!
//! Relay and agents are processes of their own, as in `ginnel_tests::chaos`.

mod edits;
mod fresh;
mod slow;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ginnel_tests::chaos::Watch;
use ginnel_tests::chaos::world::{Device, Paths, Programs, Setting, World};

use crate::ginnel;

/// How long a transfer may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a run does.
#[derive(Debug)]
pub struct Plan {
    /// How often the large artifact is moved.
    pub rounds: u32,
    /// Its size in MiB.
    pub mib: u64,
    /// Where `ginnel` and `ginnel-relay` are; they are built if not told.
    pub programs: Option<PathBuf>,
}

/// Measures, and prints tables.
///
/// # Errors
/// A program or a sample is missing, or a transfer fails.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let programs = match plan.programs {
        Some(programs) => programs,
        None => ginnel::Programs::build()?.folder()?,
    };
    Box::pin(fresh::run(&programs, plan.rounds, plan.mib)).await?;
    Box::pin(edits::run(&programs)).await?;
    Box::pin(slow::run(&programs)).await
}

async fn world(programs: &Path, paths: Paths) -> anyhow::Result<World> {
    let setting = Setting {
        programs: Programs::Folder(programs.to_owned()),
        paths,
        bandwidth: None,
    };
    let world = World::start(setting).await;
    world.context("there is no SeaweedFS; hint: run tests/bucket")
}

/// Moves an artifact, and returns how many bytes travelled.
async fn moved(device: &Device, direction: &str, name: &str) -> anyhow::Result<u64> {
    let begun = device.begin(direction, name).await;
    let mut watch = Watch::new(device.state(), &begun);
    match watch.until_over(PATIENCE).await {
        Ok(seen) => Ok(seen.sent),
        Err(error) => anyhow::bail!("a {direction} failed: {error}"),
    }
}

/// Puts a file where a device keeps the artifact.
fn put(device: &Device, name: &str, from: &Path) -> anyhow::Result<()> {
    let to = device.file(name);
    let folder = to.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// A file of the samples.
fn sample(path: &str) -> anyhow::Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let path = target.join(path);
    ensure!(
        path.exists(),
        "{} is missing; hint: run tests/models and tests/bucket",
        path.display()
    );
    Ok(path)
}

/// For figures only: exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "no more than 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
