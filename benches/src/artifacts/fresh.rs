//! A large artifact that nobody has, to the bucket: beside rclone, which has
//! one hop where this has two.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ginnel_tests::chaos::world::{Paths, World};
use ginnel_tests::processes::peak_memory;
use tokio::process::Child;
use tokio::time::Instant;

use super::{float, moved, sample, world};
use crate::process::cpu_of;

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
    let mut command = Command::new("sh");
    // The shell tells the CPU time of what it ran.
    command
        .args(["-c", "\"$@\" >&2 && times", "sh"])
        .arg(rclone)
        .arg("copyto")
        .arg(file)
        .arg(to)
        .env("AWS_ACCESS_KEY_ID", &bucket.keys.id)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.keys.secret)
        .env("RCLONE_CONFIG", "/dev/null");
    let size = std::fs::metadata(file)?.len();
    let began = Instant::now();
    let done = command.output()?;
    let took = began.elapsed();
    ensure!(
        done.status.success(),
        "rclone: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let times = String::from_utf8_lossy(&done.stdout).into_owned();
    let children = times.lines().last().context("times")?;
    let cpu: Option<Duration> = children.split_whitespace().map(time).sum();
    Ok(Speed {
        bytes_per_second: float(size) / took.as_secs_f64(),
        cpu: cpu.with_context(|| format!("no times: {times}"))?,
    })
}

/// `1m2.500000s`, as shells write it.
fn time(text: &str) -> Option<Duration> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    let minutes: u64 = minutes.parse().ok()?;
    let seconds = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    Some(seconds + Duration::from_secs(minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_shells_are_read() {
        assert_eq!(time("1m2.500000s"), Some(Duration::from_millis(62_500)));
        assert_eq!(time("0m0.01s"), Some(Duration::from_millis(10)));
        assert_eq!(time("none"), None);
    }
}
