//! The run as tables for people and as JSON for programs.

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::controls::Control;
use crate::samples::{Figure, Samples, Summary};
use crate::subjects::{DIRECT, GINNEL};
use crate::targets::{Bound, Target, targets};
use crate::tunnel::links::{LINKS, QUINN};
use crate::tunnel::{bulk, small};

/// Where it ran.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor.
    pub processor: String,
    /// Its cores.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// Load averages before and after.
    pub load: (String, String),
    /// Whether the run was preferred.
    pub priority: &'static str,
}

impl Machine {
    /// This machine, now.
    #[must_use]
    pub fn describe(priority: &'static str, load_before: String) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: kernel.trim().to_owned(),
            load: (load_before, Self::load()),
            priority,
        }
    }

    /// In words.
    #[must_use]
    pub fn to_line(&self) -> String {
        let (before, after) = &self.load;
        format!(
            "{}, {} cores, Linux {}; load {before} before, {after} after; priority {}",
            self.processor, self.cores, self.kernel, self.priority
        )
    }

    /// How busy it is.
    #[must_use]
    pub fn load() -> String {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        load.split_whitespace().next().unwrap_or("?").to_owned()
    }
}

/// A finished run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// How often everything was measured.
    pub rounds: u32,
    /// Whether sizes were small.
    pub quick: bool,
    /// Whether the peers were left out.
    pub without_peers: bool,
    /// Who was measured over HTTP.
    pub subjects: Vec<&'static str>,
    /// What was measured.
    pub samples: Samples,
}

impl Report {
    /// All tables.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "{}; {} rounds, median (min–max)\n",
            self.machine.to_line(),
            self.rounds
        );
        if self.quick {
            text.push_str("\n**Quick run: sizes are too small for the figures to mean much.**\n");
        }
        if self.without_peers {
            text.push_str("\n**Peers were left out (--without-peers).**\n");
        }
        for table in [
            self.targets(),
            self.transport(),
            self.http(),
            self.small(),
            self.mixed(),
            self.links(),
        ] {
            if table.has_figures() {
                let _ = write!(text, "\n{}", table.to_markdown());
            }
        }
        text
    }

    fn targets(&self) -> Table {
        let peers: Vec<&str> = self.subjects.iter().skip(2).copied().collect();
        Table::of_targets(&targets(&self.samples, &peers))
    }

    fn transport(&self) -> Table {
        let header = [
            "",
            "down MB/s",
            "÷ quinn",
            "up MB/s",
            "÷ quinn",
            "CPU s/GB down",
            "up",
        ];
        let mut table = Table::new("Transport, 1 GiB, CPU of both ends", &header);
        for control in Control::ALL {
            let name = control.name();
            table.row(
                self.bulk_row(bulk::TRANSPORT.map(|(_, measure)| measure), name, {
                    Control::Quinn.name()
                }),
            );
        }
        table
    }

    fn http(&self) -> Table {
        let header = [
            "",
            "down MB/s",
            "÷ direct",
            "up MB/s",
            "÷ direct",
            "CPU s/GB down",
            "up",
        ];
        let title = "HTTP, 1 GiB, CPU of tunnel and origin";
        let mut table = Table::new(title, &header);
        for name in &self.subjects {
            let measures = bulk::HTTP.map(|(_, measure)| measure);
            table.row(self.bulk_row(measures, name, DIRECT));
        }
        table
    }

    fn bulk_row(&self, [down, up]: [&str; 2], name: &str, base: &str) -> Vec<String> {
        let bytes = Figure::BytesPerSecond;
        let rate = |way| self.samples.summary(way, name, bytes);
        let ratio = |way| self.samples.ratio(way, (name, base), bytes);
        let cpu = |way| self.samples.summary(way, name, Figure::CpuPerGb);
        vec![
            name.to_owned(),
            show(rate(down).map(|rate| rate.scale(1e-6))),
            show(ratio(down)),
            show(rate(up).map(|rate| rate.scale(1e-6))),
            show(ratio(up)),
            show(cpu(down)),
            show(cpu(up)),
        ]
    }

    fn small(&self) -> Table {
        let header = [
            "",
            "connections",
            "requests/s",
            "÷ direct",
            "p50 µs",
            "p99 µs",
            "CPU µs/request",
            "failed",
        ];
        let mut table = Table::new("HTTP, 1 KiB, CPU of tunnel and origin", &header);
        for (connections, measure) in small::ALONE {
            for name in &self.subjects {
                let of = |figure| self.samples.summary(measure, name, figure);
                let rate = Figure::RequestsPerSecond;
                table.row(vec![
                    (*name).to_owned(),
                    connections.to_string(),
                    show(of(rate)),
                    show(self.samples.ratio(measure, (name, DIRECT), rate)),
                    show(of(Figure::P50Us)),
                    show(of(Figure::P99Us)),
                    show(of(Figure::CpuUs)),
                    most(of(Figure::Failed)),
                ]);
            }
        }
        table
    }

    fn mixed(&self) -> Table {
        let header = ["", "bulk MB/s", "p50 µs", "p99 µs", "failed"];
        let title = "HTTP, 1 KiB on one connection beside a download";
        let mut table = Table::new(title, &header);
        for name in &self.subjects {
            let of = |figure| self.samples.summary(small::MIXED, name, figure);
            table.row(vec![
                (*name).to_owned(),
                show(of(Figure::BytesPerSecond).map(|bytes| bytes.scale(1e-6))),
                show(of(Figure::P50Us)),
                show(of(Figure::P99Us)),
                most(of(Figure::Failed)),
            ]);
        }
        table
    }

    fn links(&self) -> Table {
        let header = [
            "",
            "handshakes/s",
            "p50 ms",
            "p99 ms",
            "KiB per idle link",
            "failed",
        ];
        let mut table = Table::new("Links, 64 handshakes at once", &header);
        for name in [GINNEL, QUINN] {
            let of = |figure| self.samples.summary(LINKS, name, figure);
            let ms = |figure| of(figure).map(|us| us.scale(0.001));
            table.row(vec![
                name.to_owned(),
                show(of(Figure::HandshakesPerSecond)),
                show(ms(Figure::P50Us)),
                show(ms(Figure::P99Us)),
                show(of(Figure::KibPerLink)),
                most(of(Figure::Failed)),
            ]);
        }
        table
    }
}

/// A table of text.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &'static str, header: &[&str]) -> Self {
        let header = header.iter().map(|cell| (*cell).to_owned()).collect();
        Self {
            title,
            rows: vec![header],
        }
    }

    pub(crate) fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Those that were measured, and whether they were reached.
    pub(crate) fn of_targets(targets: &[Target]) -> Self {
        let mut table = Self::new("Targets", &["", "measured", "must", "aim", ""]);
        for target in targets {
            let Some(value) = target.value else {
                continue;
            };
            let bound = |bound: Option<Bound>| bound.map_or(String::new(), |b| b.to_string());
            let holds = |bound: Option<Bound>| Some(bound?.holds(value.median));
            let verdict = match (holds(target.must), holds(target.aim)) {
                (Some(false), _) => "**missed**",
                (_, Some(true)) => "aim reached",
                (Some(true), _) => "reached",
                (None, Some(false)) => "aim not reached",
                (None, None) => "",
            };
            table.row(vec![
                target.name.to_owned(),
                show(target.value),
                bound(target.must),
                bound(target.aim),
                verdict.to_owned(),
            ]);
        }
        table
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.rows.len() > 1
    }

    fn has_figures(&self) -> bool {
        let mut rows = self.rows.iter().skip(1);
        rows.any(|row| row.iter().skip(1).any(|cell| cell.contains('–')))
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", " --- |".repeat(row.len()));
            }
        }
        text
    }
}

pub(crate) fn show(summary: Option<Summary>) -> String {
    summary.map_or(String::new(), |Summary { median, min, max }| {
        format!("{} ({}–{})", short(median), short(min), short(max))
    })
}

/// The worst round.
fn most(summary: Option<Summary>) -> String {
    summary.map_or(String::new(), |summary| short(summary.max))
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}
