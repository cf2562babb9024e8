//! A large artifact that nobody has, to the bucket: beside rclone, which has
//! one hop where this has two.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use ginnel_tests::chaos::world::{Paths, World};
use ginnel_tests::processes::peak_memory;
use tokio::process::Child;
use tokio::time::Instant;

use super::{float, moved, sample, world};
use crate::process::{Times, cpu_of, timed};

const RCLONE: &str = "bucket/rclone-1.75.2/bin/rclone";

/// What one round gave.
struct Round {
    ours: Speed,
    rclone: Speed,
}

/// Of one copy.
struct Speed {
    bytes_per_second: f64,
    cpu: Duration,
}

pub(super) async fn run(programs: &Path, rounds: u32, mib: u64) -> anyhow::Result<()> {
    let rclone = sample(RCLONE)?;
    let world = world(programs, Paths::Bare).await?;
    let file = world.laptop.state().join("fresh");
    let mut all = Vec::new();
    for number in 1..=rounds {
        write_random(&file, mib)?;
        let name = format!("models/fresh-{number}.bin");
        // Another one is first in each round.
        let round = if number % 2 == 1 {
            let ours = push(&world, &name, &file).await?;
            let rclone = copy(&world, &rclone, &file, number)?;
            Round { ours, rclone }
        } else {
            let rclone = copy(&world, &rclone, &file, number)?;
            let ours = push(&world, &name, &file).await?;
            Round { ours, rclone }
        };
        eprintln!("round {number}: {}", row(&round));
        all.push(round);
    }
    println!("| fresh {mib} MiB | MB/s | rclone | ratio | CPU s | rclone | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (number, round) in all.iter().enumerate() {
        println!("| round {} | {} |", number + 1, row(round));
    }
    let memory = |child: Option<&Child>| child.map(peak_memory).context("it runs");
    println!(
        "\npeak memory: agent {} MB, relay {} MB\n",
        memory(world.laptop.process())? / 1_000_000,
        memory(world.relay())? / 1_000_000,
    );
    Ok(())
}

fn row(Round { ours, rclone }: &Round) -> String {
    let cpu = |speed: &Speed| speed.cpu.as_secs_f64();
    format!(
        "{:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2}",
        ours.bytes_per_second / 1e6,
        rclone.bytes_per_second / 1e6,
        ours.bytes_per_second / rclone.bytes_per_second,
        cpu(ours),
        cpu(rclone),
        cpu(ours) / cpu(rclone),
    )
}

/// Bytes that nothing makes shorter.
fn write_random(path: &Path, mib: u64) -> anyhow::Result<()> {
    let mut random = File::open("/dev/urandom")?;
    let mut file = File::create(path)?;
    let mut piece = vec![0; 1 << 20];
    for _ in 0..mib {
        random.read_exact(&mut piece)?;
        file.write_all(&piece)?;
    }
    Ok(())
}

/// From the command to the last write: hashing and cutting are in it.
async fn push(world: &World, name: &str, file: &Path) -> anyhow::Result<Speed> {
    let to = world.laptop.file(name);
    std::fs::create_dir_all(to.parent().context("in a folder")?)?;
    std::fs::hard_link(file, &to)?;
    let size = std::fs::metadata(&to)?.len();
    let processes = [world.laptop.process(), world.relay()];
    let cpu = || -> Duration {
        let ids = processes.iter().flatten().filter_map(|it| it.id());
        ids.map(cpu_of).sum()
    };
    let (began, before) = (Instant::now(), cpu());
    moved(&world.laptop, "push", name).await?;
    let took = began.elapsed();
    let cpu = cpu().saturating_sub(before);
    std::fs::remove_file(&to)?;
    Ok(Speed {
        bytes_per_second: float(size) / took.as_secs_f64(),
        cpu,
    })
}

fn copy(world: &World, rclone: &Path, file: &Path, number: u32) -> anyhow::Result<Speed> {
    let bucket = &world.r2.bucket;
    let to = format!(
        ":s3,provider=Other,env_auth,no_check_bucket,endpoint='http://{}':{}/rclone-{number}",
        world.r2.weed.address, bucket.name
    );
    let mut command = Command::new(rclone);
    command
        .arg("copyto")
        .arg(file)
        .arg(to)
        .env("AWS_ACCESS_KEY_ID", &bucket.keys.id)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.keys.secret)
        .env("RCLONE_CONFIG", "/dev/null");
    let size = std::fs::metadata(file)?.len();
    let Times { wall, cpu } = timed(&command)?;
    Ok(Speed {
        bytes_per_second: float(size) / wall.as_secs_f64(),
        cpu,
    })
}
