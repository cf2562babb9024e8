//! A run over vectors as tables for people and as JSON lines for programs.

use serde_json::{Value, json};

use super::rounds::{COMMIT, FILTERS, QUERY, TWO_THREADS};
use super::subject::Kind;
use super::{Prepared, goals};
use crate::report::{Machine, Table, show};
use crate::samples::{Figure, Samples, Summary};

/// A finished run.
#[derive(Debug)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The data set.
    pub set: String,
    /// How many vectors it has.
    pub vectors: usize,
    /// How often everything was measured.
    pub rounds: u32,
    /// Who was measured.
    pub prepared: Vec<Prepared>,
    /// What was measured.
    pub samples: Samples,
}

impl Report {
    /// All tables, ratios first.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let machine = self.machine.to_line();
        let mut text = format!(
            "{machine}; data set {}, {} vectors; {} rounds, median (min–max)\n",
            self.set, self.vectors, self.rounds
        );
        for table in [
            Table::of_targets(&goals::goals(self)),
            self.queries(),
            self.filters(),
            self.commits(),
            self.indexes(),
            self.efforts(),
        ] {
            if table.has_rows() {
                text.push_str(&format!("\n{}", table.to_markdown()));
            }
        }
        text
    }

    /// One line for the run, then one for each subject and for each sample.
    ///
    /// # Errors
    /// Never in practice: everything can be written as JSON.
    pub fn to_json_lines(&self) -> serde_json::Result<String> {
        let mut lines = vec![json!({
            "machine": self.machine,
            "set": self.set,
            "vectors": self.vectors,
            "rounds": self.rounds,
        })];
        for one in &self.prepared {
            lines.push(serde_json::to_value(one)?);
        }
        if let Value::Array(samples) = serde_json::to_value(&self.samples)? {
            lines.extend(samples);
        }
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// What is known of a subject.
    #[must_use]
    pub fn prepared(&self, kind: Kind) -> Option<&Prepared> {
        self.prepared.iter().find(|one| one.kind == kind)
    }

    fn queries(&self) -> Table {
        let mut table = Table::new(
            "Ten nearest, one thread, and two at once",
            &[
                "",
                "CPU µs p50",
                "÷ scan",
                "CPU µs p99",
                "wall µs p50",
                "recall@10",
                "ef",
                "queries/s, two threads",
            ],
        );
        for one in &self.prepared {
            let name = one.kind.name();
            let of = |figure| self.samples.summary(QUERY, name, figure);
            let pair = (name, Kind::Scan.name());
            let ratio = self.samples.ratio(QUERY, pair, Figure::CpuP50Us);
            let rate = Figure::QueriesPerSecond;
            table.row(vec![
                name.to_owned(),
                show(of(Figure::CpuP50Us)),
                show(ratio),
                show(of(Figure::CpuP99Us)),
                show(of(Figure::P50Us)),
                share(of(Figure::Recall)),
                effort(one.effort),
                show(self.samples.summary(TWO_THREADS, name, rate)),
            ]);
        }
        table
    }

    fn filters(&self) -> Table {
        let title = "Filters: CPU of a query as a multiple of that without one, and recall@10";
        let mut table = Table::new(title, &["", "1 %", "10 %", "50 %"]);
        for one in &self.prepared {
            let name = one.kind.name();
            let cells = FILTERS.map(|(_, measure)| {
                let recall = self.samples.summary(measure, name, Figure::Recall);
                let cost = filter_cost(&self.samples, measure, name);
                match recall {
                    Some(_) => format!("{}, {}", show(cost), share(recall)),
                    None => String::new(),
                }
            });
            if cells.iter().any(|cell| !cell.is_empty()) {
                let mut row = vec![name.to_owned()];
                row.extend(cells);
                table.row(row);
            }
        }
        table
    }

    fn commits(&self) -> Table {
        let header = ["", "CPU µs", "÷ scan", "wall µs"];
        let mut table = Table::new("One row, committed with synchronous = FULL", &header);
        for one in &self.prepared {
            let name = one.kind.name();
            let of = |figure| self.samples.summary(COMMIT, name, figure);
            let pair = (name, Kind::Scan.name());
            if of(Figure::CpuP50Us).is_some() {
                table.row(vec![
                    name.to_owned(),
                    show(of(Figure::CpuP50Us)),
                    show(self.samples.ratio(COMMIT, pair, Figure::CpuP50Us)),
                    show(of(Figure::P50Us)),
                ]);
            }
        }
        table
    }

    fn indexes(&self) -> Table {
        let header = [
            "",
            "index, CPU s",
            "rows/CPU-s",
            "rows, CPU s",
            "index MB",
            "rows MB",
            "memory MB, own + mapped",
            "open + first query, wall ms",
            "CPU ms",
            "read from disk MB",
        ];
        let mut table = Table::new("Making and opening the index", &header);
        for one in &self.prepared {
            let built = &one.built;
            let opened = |value: fn(&super::ask::Opened) -> f64| {
                show(Summary::of(one.opened.iter().map(value).collect()))
            };
            let kept = if one.kept { " (earlier run)" } else { "" };
            let index = built.index.cpu_s;
            table.row(vec![
                one.kind.name().to_owned(),
                format!("{index:.1}{kept}"),
                format!("{:.0}", self.vectors as f64 / index.max(1e-9)),
                format!("{:.1}", built.rows.cpu_s),
                mega(built.index_bytes),
                mega(built.rows_bytes),
                format!(
                    "{} + {}",
                    mega(one.memory.anonymous),
                    mega(one.memory.mapped)
                ),
                opened(|one| one.took.wall_s * 1e3),
                opened(|one| one.took.cpu_s * 1e3),
                opened(|one| one.disk_reads as f64 / 1e6),
            ]);
        }
        table
    }

    fn efforts(&self) -> Table {
        let header = ["", "ef", "CPU µs p50", "recall@10"];
        let mut table = Table::new("Graphs, searched harder until enough is found", &header);
        for one in &self.prepared {
            for tried in one.efforts.iter().filter(|_| one.kind.has_effort()) {
                table.row(vec![
                    one.kind.name().to_owned(),
                    tried.effort.to_string(),
                    format!("{:.0}", tried.cpu_us),
                    format!("{:.4}", tried.recall),
                ]);
            }
        }
        table
    }
}

/// What a filter costs, in each round.
#[must_use]
pub fn filter_cost(samples: &Samples, measure: &str, name: &str) -> Option<Summary> {
    samples.each_round(|round| {
        let filtered = samples.at(round, measure, name, Figure::CpuP50Us)?;
        Some(filtered / samples.at(round, QUERY, name, Figure::CpuP50Us)?)
    })
}

fn share(recall: Option<Summary>) -> String {
    recall.map_or(String::new(), |recall| format!("{:.4}", recall.median))
}

fn effort(effort: u32) -> String {
    match effort {
        0 => String::new(),
        effort => effort.to_string(),
    }
}

fn mega(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}
