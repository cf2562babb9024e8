//! Measures the engine `scan` on one core: building, searching, filters, recall.
//!
//! ```sh
//! cargo run --release -p ginnel-store --example scan_speed -- VECTORS QUERIES DIMENSIONS
//! cargo run --release -p ginnel-store --example scan_speed -- made ROWS DIMENSIONS
//! ```
//!
//! The files hold little-endian f32, one vector after the other, of length 1.
//! Times are CPU times of the thread, medians over the queries.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program for whoever measures"
)]

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ginnel_store::error::Result;
use ginnel_store::vector::metric::Metric;
use ginnel_store::vector::passages::Passages;
use ginnel_store::vector::scan::bits::Bits;
use ginnel_store::vector::scan::code::{BLOCK, block_bytes};
use ginnel_store::vector::scan::kernel::{Bounds, Kernel};
use ginnel_store::vector::scan::query::Query;
use ginnel_store::vector::scan::rotation::Rotation;
use ginnel_store::vector::scan::space::Space;
use ginnel_store::vector::scan::sweep::{self, Living};
use ginnel_store::vector::scan::tail::{Ids, Tail};
use ginnel_store::vector::scan::{Options, Scan, Upkeep};
use ginnel_store::vector::{Change, Entry, EntryRef, Request, Rows, Spec, VectorIndex};

/// Nearest neighbours that are asked for.
const WANTED: usize = 10;

/// Queries that are measured, at most.
const QUERIES: usize = 250;

/// Entries in a batch of changes.
const BATCH: usize = 10_000;

struct Set {
    dimensions: usize,
    vectors: Vec<f32>,
    queries: Vec<f32>,
}

impl Set {
    fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.vectors.chunks_exact(self.dimensions)
    }

    fn queries(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.queries.chunks_exact(self.dimensions)
    }

    fn spec(&self) -> Spec {
        Spec {
            database: [1; 16],
            model: [2; 32],
            dimensions: self.dimensions,
            metric: Metric::Cosine,
        }
    }
}

impl Rows for Set {
    fn vectors(&self, embeddings: &[i64], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        for (at, embedding) in embeddings.iter().enumerate() {
            let start = *embedding as usize * self.dimensions;
            each(at, &self.vectors[start..start + self.dimensions]);
        }
        Ok(())
    }

    fn entries(&self, each: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>) -> Result<()> {
        for (vector, passage) in self.rows().zip(0..) {
            let entry = EntryRef {
                passage,
                embedding: passage,
                vector,
            };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let set = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["made", rows, dimensions] => make(rows.parse().unwrap(), dimensions.parse().unwrap()),
        [vectors, queries, dimensions] => read(vectors, queries, dimensions.parse().unwrap()),
        _ => {
            println!("usage: scan_speed VECTORS QUERIES DIMENSIONS | made ROWS DIMENSIONS");
            return;
        }
    };
    println!(
        "{} rows × {}, {} queries",
        set.rows().len(),
        set.dimensions,
        set.queries().len()
    );
    let folder = std::env::temp_dir().join(format!("scan_speed-{}", std::process::id()));
    stages(&set);
    measure(&set, &folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The parts of a search over rows in memory.
fn stages(set: &Set) {
    let rotation = Rotation::new(set.dimensions, 1);
    let padded = rotation.padded();
    let space = Space::new(rotation, vec![0.0; padded], Metric::Cosine);
    let start = cpu();
    let encoded = space.encode(set.rows());
    println!(
        "encode: {:?} a row",
        (cpu() - start) / set.rows().len() as u32
    );
    let mut tail = Tail::new(padded);
    for (at, passage) in (0..set.rows().len()).zip(0..) {
        let embedding = passage;
        tail.push(Ids { passage, embedding }, &encoded, at);
    }
    let (view, dead) = (tail.view(), Bits::default());
    let (mut preparing, mut codes, mut scanning) = (Vec::new(), Vec::new(), Vec::new());
    let mut looked_at = 0;
    for query in set.queries() {
        let start = cpu();
        let probe = space.probe(query);
        let tables = Query::new(&probe.values);
        preparing.push(cpu() - start);
        let start = cpu();
        let mut out = [0.0; BLOCK];
        let bounds = Bounds {
            centre: 0.0,
            threshold: f32::INFINITY,
        };
        for block in view.blocks.chunks_exact(block_bytes(padded)) {
            Kernel::best().score(block, &tables, bounds, &mut out);
        }
        codes.push(cpu() - start);
        let start = cpu();
        let living = Living {
            dead: &[&dead],
            filter: None,
        };
        looked_at += sweep::scan(&[view], living, &probe, WANTED).looked_at;
        scanning.push(cpu() - start);
    }
    for times in [&mut preparing, &mut codes, &mut scanning] {
        times.sort();
    }
    let middle = |times: &[Duration]| (times[times.len() / 10], times[times.len() / 2]);
    println!(
        "p10 and p50: query {:?}, codes {:?}, scan {:?} with {} rows looked at",
        middle(&preparing),
        middle(&codes),
        middle(&scanning),
        looked_at / set.queries().len()
    );
}

fn measure(set: &Set, folder: &Path) {
    let options = Options {
        upkeep: Upkeep::Calls,
        ..Options::default()
    };
    let scan = Scan::open(folder, set.spec(), options).unwrap();
    build(set, &scan);
    let rows = set.rows().len() as i64;
    let mut random = Rng::with_seed(2);
    let mut share = |percent: f64| {
        let passages = (0..rows).filter(|_| random.f64() * 100.0 < percent);
        Some(passages.collect::<Passages>())
    };
    let filters = [
        ("all", None),
        ("50 %", share(50.0)),
        ("10 %", share(10.0)),
        ("1 %", share(1.0)),
        ("0.1 %", share(0.1)),
    ];
    for (name, filter) in &filters {
        let truth = truth(set, filter.as_ref());
        search(set, &scan, name, filter.as_ref(), &truth);
    }
    one_row(set, &scan);
    drop(scan);
    let start = Instant::now();
    let scan = Scan::open(folder, set.spec(), options).unwrap();
    let query = set.queries().next().unwrap();
    let request = Request {
        query,
        wanted: WANTED,
        filter: None,
    };
    scan.search(request, set).unwrap();
    println!("open and first query: {:?}", start.elapsed());
    let start = Instant::now();
    scan.verify().unwrap();
    println!("verify: {:?}", start.elapsed());
}

fn build(set: &Set, scan: &Scan) {
    let mut applying = Duration::ZERO;
    let all = cpu();
    let vectors: Vec<&[f32]> = set.rows().collect();
    let mut watermark = 0;
    for (batch, first) in vectors.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let changes = batch.iter().zip(first..).map(|(vector, passage)| {
            Change::Upsert(Entry {
                passage,
                embedding: passage,
                vector: vector.to_vec(),
            })
        });
        let changes: Vec<_> = changes.collect();
        watermark += 1;
        let start = cpu();
        scan.apply(&changes, watermark).unwrap();
        applying += cpu() - start;
        // As the thread of the index does it.
        scan.compact().unwrap();
    }
    scan.flush().unwrap();
    scan.compact().unwrap();
    let all = cpu() - all;
    let rate = |time: Duration| vectors.len() as f64 / time.as_secs_f64();
    println!(
        "apply {:.0} rows/CPU-s, all {:.0} rows/CPU-s ({all:.1?})",
        rate(applying),
        rate(all)
    );
    let stats = scan.stats().unwrap();
    println!(
        "{:.1} file bytes a row, {stats:?}",
        stats.file_bytes as f64 / vectors.len() as f64
    );
}

fn search(set: &Set, scan: &Scan, name: &str, filter: Option<&Passages>, truth: &[HashSet<i64>]) {
    let (mut times, mut found) = (Vec::new(), 0);
    let mut expected = 0;
    for _ in 0..3 {
        for (query, truth) in set.queries().zip(truth) {
            let request = Request {
                query,
                wanted: WANTED,
                filter,
            };
            let start = cpu();
            let neighbours = scan.search(request, set).unwrap();
            times.push(cpu() - start);
            found += neighbours
                .iter()
                .filter(|n| truth.contains(&n.passage))
                .count();
            expected += truth.len();
        }
    }
    times.sort();
    let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
    println!(
        "{name:>6}: p10 {:?} p50 {:?} p90 {:?} p99 {:?} recall@{WANTED} {:.4}",
        at(0.1),
        at(0.5),
        at(0.9),
        at(0.99),
        found as f64 / expected as f64
    );
}

fn one_row(set: &Set, scan: &Scan) {
    let mut times = Vec::new();
    for (vector, passage) in set.rows().zip(0..).take(1000) {
        let change = Change::Upsert(Entry {
            passage,
            embedding: passage,
            vector: vector.to_vec(),
        });
        let start = cpu();
        scan.apply(&[change], u64::MAX / 2).unwrap();
        times.push(cpu() - start);
    }
    times.sort();
    println!("one row replaced: {:?}", times[500]);
}

/// The nearest, by all rows.
fn truth(set: &Set, filter: Option<&Passages>) -> Vec<HashSet<i64>> {
    let rows = set.rows().zip(0..);
    let rows: Vec<(&[f32], i64)> = rows
        .filter(|(_, passage)| filter.is_none_or(|filter| filter.contains(*passage)))
        .collect();
    let nearest = |query: &[f32]| {
        let scored = rows
            .iter()
            .map(|(vector, passage)| (Metric::Cosine.score(query, vector), *passage));
        let mut scored: Vec<_> = scored.collect();
        let wanted = WANTED.min(scored.len());
        scored.select_nth_unstable_by(wanted - 1, |a, b| b.0.total_cmp(&a.0));
        scored[..wanted]
            .iter()
            .map(|(_, passage)| *passage)
            .collect()
    };
    let queries: Vec<&[f32]> = set.queries().collect();
    let (left, right) = queries.split_at(queries.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| right.iter().map(|query| nearest(query)).collect::<Vec<_>>());
        let mut all: Vec<_> = left.iter().map(|query| nearest(query)).collect();
        all.extend(other.join().unwrap());
        all
    })
}

fn read(vectors: &str, queries: &str, dimensions: usize) -> Set {
    let floats = |path: &str| -> Vec<f32> {
        let bytes = std::fs::read(path).unwrap();
        let values = bytes.as_chunks().0.iter();
        values.map(|value| f32::from_le_bytes(*value)).collect()
    };
    let mut queries = floats(queries);
    queries.truncate(QUERIES * dimensions);
    Set {
        dimensions,
        vectors: floats(vectors),
        queries,
    }
}

/// Vectors like those of text: topics with topics in them, in about a hundred
/// effective dimensions of falling weight.
fn make(rows: usize, dimensions: usize) -> Set {
    let mut random = Rng::with_seed(1);
    let mut make = Maker {
        weights: (1..=dimensions).map(|k| (k as f32).powf(-0.35)).collect(),
        random: &mut random,
    };
    let topics: Vec<_> = (0..rows / 5000 + 5).map(|_| make.normal()).collect();
    let small = (0..rows / 100 + 50).map(|at| make.mixed(&topics[at % topics.len()], 0.8));
    let small: Vec<_> = small.collect();
    let held_out = QUERIES.min(rows / 10 + 1);
    let mut vectors = Vec::with_capacity((rows + held_out) * dimensions);
    for _ in 0..rows + held_out {
        let at = make.random.usize(..small.len());
        let vector = make.mixed(&small[at], 1.1);
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vectors.extend(vector.iter().map(|value| value / length));
    }
    let queries = vectors.split_off(rows * dimensions);
    Set {
        dimensions,
        vectors,
        queries,
    }
}

struct Maker<'a> {
    weights: Vec<f32>,
    random: &'a mut Rng,
}

impl Maker<'_> {
    fn normal(&mut self) -> Vec<f32> {
        let random = &mut self.random;
        // Nearly normal: the sum of four uniform values.
        let mut one = || (0..4).map(|_| random.f32() - 0.5).sum::<f32>() * 1.732;
        self.weights.iter().map(|weight| weight * one()).collect()
    }

    fn mixed(&mut self, around: &[f32], share: f32) -> Vec<f32> {
        let normal = self.normal();
        around
            .iter()
            .zip(normal)
            .map(|(a, b)| a + share * b)
            .collect()
    }
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
