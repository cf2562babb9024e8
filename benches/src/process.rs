//! Processes that a run starts, and what the kernel says about them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The kernel counts CPU time in these, whatever it uses inside.
const TICKS_PER_SECOND: u64 = 100;

/// A process of the run; it ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Starts this program again with other arguments, and returns the first
    /// line it prints. It must end when its standard input does.
    ///
    /// # Errors
    /// It cannot be started, or ends before it prints a line.
    pub fn own(arguments: &[&str]) -> anyhow::Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdout(Stdio::piped());
        let mut process = Self::start(&arguments.join(" "), &mut command)?;
        let line = process.line()?;
        Ok((process, line))
    }

    /// The next line it prints, if its output is a pipe.
    fn line(&mut self) -> anyhow::Result<String> {
        let output = self.child.stdout.take().context("output is not a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            bail!("process ended early, process={}", self.name);
        }
        Ok(line.trim().to_owned())
    }

    /// CPU time used so far, by it and the processes it has started.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        tree(self.child.id()).into_iter().map(cpu_of).sum()
    }

    /// Memory in use, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 = kib.context("memory use is not known")?.parse()?;
        Ok(kib * 1024)
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("process ended, process={}, {status}", self.name),
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time this process has used.
#[must_use]
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// CPU time of all the processes.
#[must_use]
pub fn cpu<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Duration {
    processes.into_iter().map(Process::cpu).sum()
}

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// On the wall.
    pub wall: Duration,
    /// CPU time of it and its children.
    pub cpu: Duration,
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or fails: then with what it said.
pub fn timed(command: &Command) -> anyhow::Result<Times> {
    // The shell tells the CPU time of what it ran.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "\"$@\" >&2 && times", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let began = Instant::now();
    let done = shell.output()?;
    let wall = began.elapsed();
    if !done.status.success() {
        let program = command.get_program().to_string_lossy();
        bail!("{program}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let times = String::from_utf8_lossy(&done.stdout).into_owned();
    let children = times.lines().last().context("times")?;
    let cpu: Option<Duration> = children.split_whitespace().map(time).sum();
    Ok(Times {
        wall,
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

/// A loopback address that was free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat(id).and_then(|fields| fields.get(1)?.parse::<u32>().ok()) {
            parents.push((id, parent));
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(id, _)| *id),
        );
        at += 1;
    }
    found
}

/// User and system time, that of ended children included.
#[must_use]
pub fn cpu_of(id: u32) -> Duration {
    let fields = stat(id).unwrap_or_default();
    let ticks = fields.iter().skip(11).take(4);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The fields of proc(5)'s stat from the third on: the second is the name,
/// which may hold spaces.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_the_root_and_its_children() {
        let sleeper = Process::start("sleep", Command::new("sleep").arg("60")).expect("started");
        let own = tree(std::process::id());
        assert_eq!(own.first(), Some(&std::process::id()));
        assert!(own.contains(&sleeper.child.id()));
        assert!(sleeper.resident().expect("alive") > 0);
    }

    #[test]
    fn times_of_shells_are_read() {
        assert_eq!(time("1m2.500000s"), Some(Duration::from_millis(62_500)));
        assert_eq!(time("0m0.01s"), Some(Duration::from_millis(10)));
        assert_eq!(time("none"), None);
    }

    #[test]
    fn work_shows_as_cpu_time() {
        let before = own_cpu();
        let mut sum = 0_u64;
        while own_cpu() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(own_cpu() > before);
    }
}
