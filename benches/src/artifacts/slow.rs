//! A bucket far away: each request waits for 50 ms first.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ginnel_tests::chaos::world::Paths;
use tokio::time::Instant;

use super::{float, moved, world};

const DELAY: Duration = Duration::from_millis(50);

/// What is pushed, in bytes.
const SIZE: usize = 256 << 20;

const NAME: &str = "models/far.bin";

pub(super) async fn run(programs: &Path) -> anyhow::Result<()> {
    let world = world(programs, Paths::Strict).await?;
    world.r2.strict.set_delay(DELAY);
    let file = world.laptop.file(NAME);
    std::fs::create_dir_all(file.parent().context("in a folder")?)?;
    let mut bytes = vec![0; SIZE];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    std::fs::write(&file, &bytes)?;
    let stored = stored(&world.metrics().await)?;
    let began = Instant::now();
    moved(&world.laptop, "push", NAME).await?;
    let took = began.elapsed().as_secs_f64();
    let stored = self::stored(&world.metrics().await)? - stored;
    println!(
        "{} MiB to a bucket with {} ms for each request: {:.1} MB/s by \
         ginnel_artifact_bytes_stored",
        SIZE >> 20,
        DELAY.as_millis(),
        float(stored) / took / 1e6
    );
    Ok(())
}

fn stored(metrics: &str) -> anyhow::Result<u64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("ginnel_artifact_bytes_stored_total "));
    Ok(value.context("no such metric")?.parse()?)
}
