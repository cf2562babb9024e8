//! Relay, bucket and two devices that know the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ginnel_agent::knowledge::sync::status::{SyncState, SyncStatus};
use ginnel_tests::bucket::Strict;
use ginnel_tests::chaos::world::{Device, Paths, Programs, Setting, Which, World, ask};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::rows;
use crate::store::Material;

/// How long devices may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often they are asked.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// What all is measured on.
pub(super) struct Ground {
    pub(super) world: World,
    /// The proxy by which Litestream reaches the same server, so that its bytes
    /// are counted.
    pub(super) other: Strict,
    /// What is published, as a database of its own.
    pub(super) published: PathBuf,
    /// How many passages there are.
    pub(super) passages: usize,
}

impl Ground {
    pub(super) async fn lay(
        programs: &Path,
        material: &Material,
        passages: usize,
    ) -> anyhow::Result<Self> {
        let mut world = start(programs).await?;
        eprintln!("laying the ground: {passages} passages");
        world.laptop.kill().await;
        let store = world.laptop.state().join("store");
        rows::fill(&store, "laptop", material, passages).await?;
        world.restart(Which::Laptop);
        until_in_step(&world.laptop).await?;
        until_known(&world.desktop, passages).await?;
        publish(&world.laptop).await?;
        let other = Strict::start(world.r2.weed.address).await;
        other.set_between_writes(Duration::ZERO);
        let published = world.laptop.file("knowledge/embeddings.db");
        ensure!(published.exists(), "nothing was published");
        Ok(Self {
            world,
            other,
            published,
            passages,
        })
    }
}

/// A relay, two devices and a bucket.
pub(super) async fn start(programs: &Path) -> anyhow::Result<World> {
    let setting = Setting {
        programs: Programs::Folder(programs.to_owned()),
        paths: Paths::Strict,
        bandwidth: None,
    };
    let world = World::start(setting).await;
    world.context("there is no SeaweedFS; hint: run tests/bucket")
}

/// Asks a device.
pub(super) async fn get<T: DeserializeOwned>(device: &Device, path: &str) -> anyhow::Result<T> {
    Ok(ask(device.state(), Method::GET, path, &Value::Null).await?)
}

/// Tells a device something.
pub(super) async fn tell<T: DeserializeOwned>(
    device: &Device,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<T> {
    Ok(ask(device.state(), method, path, body).await?)
}

/// Waits until a device has sent and read all.
pub(super) async fn until_in_step(device: &Device) -> anyhow::Result<SyncStatus> {
    let began = Instant::now();
    loop {
        if let Ok(status) = get::<SyncStatus>(device, "/v1/sync").await
            && status.state == SyncState::InStep
            && status.backlog == 0
        {
            return Ok(status);
        }
        ensure!(began.elapsed() < PATIENCE, "devices do not get in step");
        sleep(LOOK).await;
    }
}

/// Waits until a device has so many passages.
pub(super) async fn until_known(device: &Device, passages: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        if let Ok(known) = known(device).await
            && known == passages
        {
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "a device does not get everything"
        );
        sleep(LOOK).await;
    }
}

/// How many passages a device has.
pub(super) async fn known(device: &Device) -> anyhow::Result<usize> {
    let stats: Value = get(device, "/v1/knowledge").await?;
    let passages = stats["passages"].as_u64().context("stats")?;
    Ok(usize::try_from(passages)?)
}

/// Publishes all, and waits until it is.
pub(super) async fn publish(device: &Device) -> anyhow::Result<()> {
    let before: SyncStatus = tell(device, Method::POST, "/v1/sync/publish", &Value::Null).await?;
    let began = Instant::now();
    loop {
        let status: SyncStatus = get(device, "/v1/sync").await?;
        if status.published_unix_ms != before.published_unix_ms {
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "nothing is published: {:?}",
            status.unpublished
        );
        sleep(LOOK).await;
    }
}
