//! The store's vector engines against others, on real vectors.
//!
//! Every subject makes its index and answers queries in a process of its own
//! (see [`serve`]); the run asks one after the other, round by round, and
//! compares within a round, so that a busy machine slows all of them alike. A
//! graph is searched as hard as it takes to find 99 % of the ten nearest.

pub mod ask;
#[cfg(feature = "peers")]
pub mod bare;
pub mod clock;
pub mod files;
pub mod goals;
pub mod ours;
pub mod python;
pub mod report;
pub mod rounds;
pub mod rows;
pub mod serve;
pub mod set;
pub mod subject;
pub mod truth;
#[cfg(feature = "peers")]
pub mod usearch;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::priority::Priority;
use crate::report::Machine;
use crate::samples::Samples;
use ask::{Ask, Built, Look, Opened, UNFILTERED};
use clock::Memory;
use report::Report;
use rounds::{Rounds, median};
use serve::Place;
use set::Set;
use subject::{Kind, Running};
use truth::Truth;

/// Where `benches/vectors/make` puts the data sets.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/vectors");

/// What a graph must find at least, to be compared.
pub const RECALL: f64 = 0.99;

/// How hard graphs are searched, until it is enough.
const EFFORTS: [u32; 11] = [64, 96, 128, 192, 256, 320, 384, 448, 512, 768, 1024];

/// All queries of a data set.
const QUERIES_MAX: usize = 1000;

/// Times that an index is opened with none of its files in memory.
const OPENINGS: usize = 3;

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the data sets are, and where indexes go.
    pub folder: PathBuf,
    /// The data set.
    pub set: String,
    /// How often everything is measured.
    pub rounds: u32,
    /// CPU seconds that each subject may take for queries in a round.
    pub seconds: f64,
    /// Who is measured.
    pub subjects: Vec<Kind>,
    /// Make the indexes of the others again too.
    pub rebuild: bool,
    /// Where the JSON lines go.
    pub json: Option<PathBuf>,
}

/// What is known of a subject before the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// Who.
    pub kind: Kind,
    /// How its index was made.
    pub built: Built,
    /// Whether that was in an earlier run.
    pub kept: bool,
    /// How it opened, each time.
    pub opened: Vec<Opened>,
    /// What it takes once it has answered some queries.
    pub memory: Memory,
    /// How hard it is searched.
    pub effort: u32,
    /// What was found, and how fast, at each effort that was tried.
    pub efforts: Vec<Tried>,
}

/// One effort.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tried {
    /// How hard.
    pub effort: u32,
    /// What share was found.
    pub recall: f64,
    /// CPU microseconds of a query, the median.
    pub cpu_us: f64,
}

/// A subject that is ready for the rounds.
#[derive(Debug)]
pub struct Ready {
    /// What is known of it.
    pub prepared: Prepared,
    /// Where it works.
    pub place: Place,
    /// Its process.
    pub running: Running,
    /// Queries in a round.
    pub count: usize,
}

/// Measures, prints the report, and writes it as JSON lines if asked to.
///
/// # Errors
/// Something does not start, or gives no answer.
pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let priority = Priority::raise();
    eprintln!("priority: {}", priority.describe());
    let load_before = Machine::load();
    let python = python::ready(&plan.subjects)?;
    let set = Set::named(&plan.folder, &plan.set)?;
    let truth = Truth::of(&set)?;
    let count = set.base()?.count();

    let mut ready = Vec::new();
    for kind in plan.subjects.iter().copied() {
        if !kind.holds(count, set.dimensions()) {
            eprintln!("{kind}: cannot hold so much");
            continue;
        }
        let place = place(plan, kind, &python)?;
        match prepare(plan, kind, place, &truth) {
            Ok(one) => ready.push(one),
            Err(error) => eprintln!("{kind} is not measured: {error:#}"),
        }
    }
    ensure!(!ready.is_empty(), "there is nobody to measure");
    let prepared = ready.iter().map(|one| one.prepared.clone()).collect();
    let mut rounds = Rounds {
        set: &set,
        truth: &truth,
        ready,
        samples: Samples::default(),
    };
    rounds.run(plan.rounds)?;
    let report = Report {
        machine: Machine::describe(priority.describe(), load_before),
        set: plan.set.clone(),
        vectors: count,
        rounds: plan.rounds,
        prepared,
        samples: rounds.samples,
    };
    println!("{}", report.to_markdown());
    if let Some(file) = &plan.json {
        fs::write(file, report.to_json_lines()?)
            .with_context(|| format!("cannot write the report, path={}", file.display()))?;
    }
    Ok(())
}

fn place(plan: &Plan, kind: Kind, python: &Path) -> anyhow::Result<Place> {
    let name = serde_json::to_value(kind)?;
    let name = name.as_str().context("subject has no name")?;
    let folder = plan.folder.join("indexes").join(&plan.set).join(name);
    Ok(Place {
        kind,
        sets: plan.folder.clone(),
        set: plan.set.clone(),
        folder,
        python: python.to_owned(),
    })
}

fn prepare(plan: &Plan, kind: Kind, place: Place, truth: &Truth) -> anyhow::Result<Ready> {
    let (built, kept) = build(plan, kind, &place)?;
    let mut opened = Vec::new();
    for _ in 0..OPENINGS {
        files::forget(&place.folder)?;
        opened.push(Running::start(kind, &place)?.ask(&Ask::Open)?);
    }
    files::warm(&place.folder)?;
    let mut running = Running::start(kind, &place)?;
    let _: Opened = running.ask(&Ask::Open)?;
    let efforts = try_efforts(plan, kind, &mut running, truth)?;
    let last = efforts.last().context("no effort was tried")?;
    let prepared = Prepared {
        kind,
        built,
        kept,
        opened,
        memory: running.ask(&Ask::Memory)?,
        effort: last.effort,
        efforts: efforts.clone(),
    };
    Ok(Ready {
        prepared,
        place,
        running,
        count: fitting(plan.seconds, last.cpu_us),
    })
}

/// Others' indexes stay from an earlier run, since some take long to make.
fn build(plan: &Plan, kind: Kind, place: &Place) -> anyhow::Result<(Built, bool)> {
    #[derive(Serialize, Deserialize)]
    struct Note {
        built: Built,
        version: String,
    }
    let note = place.folder.with_extension("json");
    let version = format!("{kind}");
    if !plan.rebuild && !kind.is_ours() && place.folder.is_dir() {
        let known = fs::read(&note).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        if let Some(known) = known.filter(|known| known.version == version) {
            return Ok((known.built, true));
        }
    }
    eprintln!("{kind}: building");
    let _ = fs::remove_file(&note);
    if place.folder.exists() {
        fs::remove_dir_all(&place.folder)?;
    }
    fs::create_dir_all(&place.folder)?;
    let built: Built = Running::start(kind, place)?.ask(&Ask::Build)?;
    let known = Note {
        built: built.clone(),
        version,
    };
    fs::write(&note, serde_json::to_vec(&known)?)?;
    Ok((built, false))
}

/// Searches harder until enough is found.
fn try_efforts(
    plan: &Plan,
    kind: Kind,
    running: &mut Running,
    truth: &Truth,
) -> anyhow::Result<Vec<Tried>> {
    let mut tried = Vec::new();
    let efforts = if kind.has_effort() {
        &EFFORTS[..]
    } else {
        &[0]
    };
    for effort in efforts.iter().copied() {
        let mut look = Look {
            first: 0,
            count: 10,
            effort,
            percent: UNFILTERED,
        };
        let few: ask::Found = running.ask(&Ask::Search(look))?;
        // What a graph finds decides how hard it is searched from now on, so
        // all queries are asked.
        look.count = if kind.has_effort() {
            QUERIES_MAX
        } else {
            fitting(plan.seconds, median(&few.times.cpu_us))
        };
        let found: ask::Found = running.ask(&Ask::Search(look))?;
        let recall = truth.recall(0, &found.rows)?;
        tried.push(Tried {
            effort,
            recall,
            cpu_us: median(&found.times.cpu_us),
        });
        if recall >= RECALL {
            break;
        }
    }
    let shown: Vec<String> = tried
        .iter()
        .map(|one| format!("ef {} {:.1} µs {:.4}", one.effort, one.cpu_us, one.recall))
        .collect();
    eprintln!("{kind}: {}", shown.join(", "));
    Ok(tried)
}

/// Queries that take about so long, all of them at most and 20 at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to small numbers above 0"
)]
fn fitting(seconds: f64, each_us: f64) -> usize {
    (seconds * 1e6 / each_us.max(1.0)).clamp(20.0, QUERIES_MAX as f64) as usize
}
