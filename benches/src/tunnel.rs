//! The whole tunnel against controls and peers, interleaved in rounds.
//!
//! A busy machine slows all subjects of a round alike, so figures are compared
//! within a round and the median round counts. CPU time does not depend on
//! what else runs, and is the steadiest figure of all.

pub mod bulk;
pub mod links;
pub mod small;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::controls::Control;
use crate::ginnel::Programs;
use crate::peers;
use crate::priority::Priority;
use crate::process::Process;
use crate::report::{Machine, Report};
use crate::samples::Samples;
use crate::subjects::Subject;

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often everything is measured.
    pub rounds: u32,
    /// Small sizes, to see that all works.
    pub quick: bool,
    /// Only these groups; all if empty.
    pub only: Vec<Group>,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
    /// Leave the peers out.
    pub without_peers: bool,
}

/// What belongs together in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Group {
    /// 1 GiB over bare transports and over a link.
    Transport,
    /// 1 GiB over HTTP.
    Bulk,
    /// Small requests.
    Small,
    /// Small requests beside a bulk transfer.
    Mixed,
    /// Idle memory and handshakes.
    Links,
}

impl Plan {
    /// Whether the group is measured.
    #[must_use]
    pub fn has(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }

    fn has_http(&self) -> bool {
        [Group::Bulk, Group::Small, Group::Mixed]
            .iter()
            .any(|group| self.has(*group))
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Bench {
    /// What it does.
    pub plan: Plan,
    /// Everything that processes keep.
    pub folder: TempDir,
    /// Relay and agent.
    pub programs: Programs,
    /// The local service.
    pub origin: Process,
    /// Who is measured over HTTP.
    pub subjects: Vec<Subject>,
    /// The controls' servers.
    pub controls: Vec<(Control, Process, SocketAddr)>,
    /// What was measured.
    pub samples: Samples,
}

/// Measures, prints the report, and writes it as JSON if asked to.
///
/// # Errors
/// Something does not start, or gives wrong answers.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let programs = Programs::build()?;
    let priority = Priority::raise();
    eprintln!("priority: {}", priority.describe());
    let load_before = Machine::load();
    let mut bench = Bench::start(plan, programs).await?;
    for round in 1..=bench.plan.rounds {
        eprintln!("round {round} of {}", bench.plan.rounds);
        bench.round(round).await?;
    }
    let report = Report {
        machine: Machine::describe(priority.describe(), load_before),
        rounds: bench.plan.rounds,
        quick: bench.plan.quick,
        without_peers: bench.plan.without_peers,
        subjects: bench.subjects.iter().map(|subject| subject.name).collect(),
        samples: std::mem::take(&mut bench.samples),
    };
    println!("{}", report.to_markdown());
    if let Some(file) = &bench.plan.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json)
            .with_context(|| format!("cannot write the report, path={}", file.display()))?;
    }
    Ok(())
}

impl Bench {
    async fn start(plan: Plan, programs: Programs) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ginnel-bench").tempdir()?;
        let (origin, address) = Process::own(&["part", "origin"])?;
        let address = address.parse()?;
        let mut bench = Self {
            plan,
            folder,
            programs,
            origin,
            subjects: Vec::new(),
            controls: Vec::new(),
            samples: Samples::default(),
        };
        if bench.plan.has_http() {
            bench.start_subjects(address).await?;
        }
        if bench.plan.has(Group::Transport) {
            for control in Control::ALL {
                let (process, address) =
                    Process::own(&["part", "control", control.word(), bench.authority()?])?;
                bench.controls.push((control, process, address.parse()?));
            }
        }
        Ok(bench)
    }

    async fn start_subjects(&mut self, origin: SocketAddr) -> anyhow::Result<()> {
        let folder = self.folder.path().join("http");
        std::fs::create_dir(&folder)?;
        let mut ginnel = self.programs.start(&folder, origin).await?;
        ginnel
            .wait_ready()
            .await
            .with_context(|| logs(&folder, &["relay.log", "agent.log"]))?;
        self.subjects = vec![Subject::direct(origin), ginnel];
        if !self.plan.without_peers {
            self.subjects.extend(peers::start(&folder, origin).await?);
        }
        Ok(())
    }

    /// The folder of the authority that the controls' certificates are of.
    ///
    /// # Errors
    /// The folder's name is not text.
    pub fn authority(&self) -> anyhow::Result<&str> {
        self.folder.path().to_str().context("path is not text")
    }

    async fn round(&mut self, round: u32) -> anyhow::Result<()> {
        if self.plan.has(Group::Transport) {
            bulk::transport(self, round).await?;
        }
        if self.plan.has(Group::Bulk) {
            bulk::http(self, round).await?;
        }
        if self.plan.has(Group::Small) {
            small::alone(self, round).await?;
        }
        if self.plan.has(Group::Mixed) {
            small::beside_bulk(self, round).await?;
        }
        if self.plan.has(Group::Links) {
            links::measure(self, round).await?;
        }
        Ok(())
    }

    /// The subjects in this round's order: each is first in turn.
    fn order(&self, round: u32) -> Vec<usize> {
        rotated(self.subjects.len(), round)
    }
}

/// The numbers below `count`, beginning elsewhere in each round.
fn rotated(count: usize, round: u32) -> Vec<usize> {
    let first = round as usize;
    (0..count).map(|at| (at + first) % count).collect()
}

/// The last words of processes that did not start.
fn logs(folder: &std::path::Path, names: &[&str]) -> String {
    let mut text = String::from("Ginnel does not start");
    for name in names {
        let log = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        for line in lines.iter().rev() {
            text.push_str(&format!("\n{name}: {line}"));
        }
    }
    text
}
