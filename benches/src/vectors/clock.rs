//! What a process has used.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// CPU time of all threads of this process, in nanoseconds' steps, unlike what
/// `/proc` tells.
#[must_use]
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// What something took.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Took {
    /// CPU seconds of all threads.
    pub cpu_s: f64,
    /// Seconds on the wall.
    pub wall_s: f64,
}

/// Does something, and says what it took.
///
/// # Errors
/// Those of what is done.
pub fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Took)> {
    let (cpu_before, wall) = (cpu(), Instant::now());
    let done = work()?;
    let took = Took {
        cpu_s: (cpu() - cpu_before).as_secs_f64(),
        wall_s: wall.elapsed().as_secs_f64(),
    };
    Ok((done, took))
}

/// Memory of this process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes that belong to it alone.
    pub anonymous: u64,
    /// Bytes of files that it has mapped and touched.
    pub mapped: u64,
}

impl Memory {
    /// Now; zero where the system does not tell.
    #[must_use]
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            anonymous: 1024 * number(&status, "RssAnon:"),
            mapped: 1024 * number(&status, "RssFile:"),
        }
    }
}

/// Bytes that this process has had read from disks so far, rather than from
/// the page cache.
#[must_use]
pub fn disk_reads() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    number(&io, "read_bytes:")
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}
