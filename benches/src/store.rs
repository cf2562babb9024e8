//! The whole store through its front door: adding, one by one and in bulk, and
//! searching, beside bare SQLite with the same rows.
//!
//! Unlike in [`vectors`](crate::vectors), a row here is a document's passage:
//! with its text, full-text index, hash, vector, and the log of changes.

mod bare;
mod ginnel;
mod texts;

use std::ops::Range;
use std::path::{Path, PathBuf};

use ginnel_store::document::{NewDocument, NewVectors, Span};
use ginnel_store::id::ModelId;

use crate::priority::Priority;
use crate::report::{Machine, Table, show};
use crate::samples::{Figure, Samples};
use crate::targets::{Bound, Target};
use crate::vectors::clock::Took;
use crate::vectors::rounds::{median, quantile};
use crate::vectors::set::Set;
use texts::Texts;

/// Documents of one passage, each on disk when its writer goes on.
const ADD: &str = "adds, one by one";
/// Documents of many passages.
const BULK: &str = "adds, in bulk";

const STORE: &str = "Ginnel store";
const BARE: &str = "bare SQLite";

/// Documents that are added one by one in a round.
const ADDS: usize = 4000;

/// Passages that are added in bulk in a round.
const BULK_ROWS: usize = 20_000;

/// Passages of a document that is added in bulk.
const PASSAGES: usize = 200;

/// Passages to search in.
const SEARCHED: usize = 100_000;

/// Questions of a kind in a round.
const QUESTIONS: usize = 100;

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the data sets and their texts are.
    pub folder: PathBuf,
    /// How often everything is measured.
    pub rounds: u32,
}

/// What a round works with.
#[derive(Debug)]
pub(crate) struct Material {
    texts: Texts,
    vectors: Vec<f32>,
    queries: Vec<f32>,
    dimensions: usize,
}

impl Material {
    /// The data set in a folder, and so many texts.
    ///
    /// # Errors
    /// It cannot be read, or has not as many.
    pub(crate) fn read(folder: &Path, texts: usize) -> anyhow::Result<Self> {
        let set = Set::named(folder, "100k-384")?;
        let base = set.base()?;
        Ok(Self {
            texts: Texts::read(&folder.join("text"), texts)?,
            vectors: base.read(0, base.count())?,
            queries: set.queries()?,
            dimensions: set.dimensions(),
        })
    }

    /// How long its vectors are.
    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The text of a row.
    pub(crate) fn text(&self, row: usize) -> &str {
        self.texts.get(row)
    }

    /// The vector of a row. It is not that of the text, which costs the same.
    pub(crate) fn vector(&self, row: usize) -> &[f32] {
        let count = self.vectors.len() / self.dimensions;
        let from = row % count.max(1) * self.dimensions;
        self.vectors
            .get(from..from + self.dimensions)
            .unwrap_or(&[])
    }

    /// Some rows as one document, in the collection `bench`, with vectors of a model.
    ///
    /// # Errors
    /// None, for the name of the collection is valid.
    pub(crate) fn document(
        &self,
        rows: Range<usize>,
        model: ModelId,
    ) -> anyhow::Result<NewDocument> {
        let mut text = String::new();
        let mut passages = Vec::with_capacity(rows.len());
        for row in rows.clone() {
            let start = text.len();
            text.push_str(self.text(row));
            passages.push(Span {
                start,
                end: text.len(),
            });
            text.push('\n');
        }
        let vectors = rows.clone().map(|row| self.vector(row).to_vec());
        Ok(NewDocument {
            collection: "bench".parse()?,
            source: Some(format!("{}.txt", rows.start)),
            id: None,
            title: None,
            mime: None,
            metadata: serde_json::Map::new(),
            text,
            passages,
            vectors: Some(NewVectors {
                model,
                vectors: vectors.collect(),
            }),
        })
    }

    fn query(&self, number: usize) -> &[f32] {
        let count = self.queries.len() / self.dimensions;
        let from = number % count.max(1) * self.dimensions;
        self.queries
            .get(from..from + self.dimensions)
            .unwrap_or(&[])
    }
}

/// Measures and prints the report.
///
/// # Errors
/// Something cannot be read or written.
pub async fn run(plan: &Plan) -> anyhow::Result<()> {
    let priority = Priority::raise();
    let load_before = Machine::load();
    let material = Material::read(&plan.folder, SEARCHED)?;
    let mut samples = Samples::default();
    eprintln!("making a store of {SEARCHED} passages");
    let searched = ginnel::filled(&material, SEARCHED).await?;
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let mut add = |measure, subject, rows: usize, took: Took| {
            let rows = rows as f64;
            let figures = [
                (Figure::CpuUs, took.cpu_s * 1e6 / rows),
                (Figure::RequestsPerSecond, rows / took.wall_s),
            ];
            samples.add(round, measure, subject, &figures);
        };
        add(ADD, STORE, ADDS, ginnel::add(&material, ADDS).await?);
        add(ADD, BARE, ADDS / 4, bare::add(&material, ADDS / 4)?);
        add(
            BULK,
            STORE,
            BULK_ROWS,
            ginnel::bulk(&material, BULK_ROWS).await?,
        );
        add(BULK, BARE, BULK_ROWS, bare::bulk(&material, BULK_ROWS)?);
        for question in ginnel::Question::ALL {
            let times = searched.ask(&material, question, QUESTIONS).await?;
            let figures = [
                (Figure::CpuP50Us, median(&times)),
                (Figure::CpuP99Us, quantile(&times, 0.99)),
            ];
            samples.add(round, question.name(), STORE, &figures);
        }
    }
    searched.close().await?;
    let machine = Machine::describe(priority.describe(), load_before);
    println!(
        "{}; {} rounds, median (min–max)\n",
        machine.to_line(),
        plan.rounds
    );
    println!("{}", Table::of_targets(&targets(&samples)).to_markdown());
    println!("{}", adding(&samples).to_markdown());
    println!("{}", searching(&samples).to_markdown());
    Ok(())
}

fn targets(samples: &Samples) -> Vec<Target> {
    let adds = samples.summary(ADD, STORE, Figure::RequestsPerSecond);
    vec![Target::new("durable adds a second, 32 writers", adds).must(Bound::AtLeast(2000.0))]
}

fn adding(samples: &Samples) -> Table {
    let header = ["", "rows/s", "CPU µs a row", "÷ bare SQLite"];
    let mut table = Table::new("Adding", &header);
    for measure in [ADD, BULK] {
        for subject in [STORE, BARE] {
            let of = |figure| show(samples.summary(measure, subject, figure));
            table.row(vec![
                format!("{subject}, {measure}"),
                of(Figure::RequestsPerSecond),
                of(Figure::CpuUs),
                show(samples.ratio(measure, (subject, BARE), Figure::CpuUs)),
            ]);
        }
    }
    table
}

fn searching(samples: &Samples) -> Table {
    let header = [
        "ten hits among 100,000 passages",
        "CPU µs p50",
        "CPU µs p99",
    ];
    let mut table = Table::new("Searching", &header);
    for question in ginnel::Question::ALL {
        let of = |figure| show(samples.summary(question.name(), STORE, figure));
        table.row(vec![
            question.name().to_owned(),
            of(Figure::CpuP50Us),
            of(Figure::CpuP99Us),
        ]);
    }
    table
}
