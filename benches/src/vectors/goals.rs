//! What vector search must reach against others.

use Bound::{AtLeast, AtMost};

use super::report::{Report, filter_cost};
use super::rounds::{COMMIT, FILTERS, QUERY};
use super::subject::Kind;
use crate::samples::{Figure, Summary};
use crate::targets::{Bound, Target};

/// Data sets of so many vectors have the targets of a million.
const LARGE: usize = 900_000;

/// What has to be found, in percent.
const ENOUGH: f64 = 100.0 * super::RECALL;

/// Every target that can be measured with this data set.
#[must_use]
pub fn goals(report: &Report) -> Vec<Target> {
    let mut goals = query_goals(report);
    goals.extend(build_goals(report));
    goals.extend(filter_goals(report));
    goals.extend(size_goals(report));
    goals
}

fn query_goals(report: &Report) -> Vec<Target> {
    let large = report.vectors >= LARGE;
    let scan = Kind::Scan.name();
    let slower = |measure, peer: Kind| {
        let pair = (peer.name(), scan);
        report.samples.ratio(measure, pair, Figure::CpuP50Us)
    };
    let recall = report.samples.summary(QUERY, scan, Figure::Recall);
    let (must, aim) = if large { (50.0, 120.0) } else { (60.0, 80.0) };
    vec![
        Target::new("recall@10 of scan, %", percent(recall)).must(AtLeast(ENOUGH)),
        Target::new(
            "CPU of a query, sqlite-vec ÷ scan",
            slower(QUERY, Kind::SqliteVec),
        )
        .must(AtLeast(must))
        .aim(AtLeast(aim)),
        Target::new(
            "CPU of a query, sqlite-vss ÷ scan",
            slower(QUERY, Kind::SqliteVss),
        )
        .must(AtLeast(30.0))
        .aim(AtLeast(40.0)),
        Target::new(
            "CPU of a query, usearch ÷ scan",
            slower(QUERY, Kind::Usearch),
        )
        .must(AtLeast(4.0))
        .aim(AtLeast(5.0)),
        Target::new(
            "CPU of a query, hnswlib ÷ scan",
            slower(QUERY, Kind::Hnswlib),
        )
        .must(AtLeast(1.0)),
        Target::new(
            "CPU of a commit, sqlite-vss ÷ scan",
            slower(COMMIT, Kind::SqliteVss),
        )
        .must(AtLeast(1000.0))
        .aim(AtLeast(5000.0)),
    ]
}

fn build_goals(report: &Report) -> Vec<Target> {
    let cpu = |kind| Some(report.prepared(kind)?.built.index.cpu_s);
    let slower = |peer| {
        let ratio = cpu(peer)? / cpu(Kind::Scan)?;
        Summary::of(vec![ratio])
    };
    vec![
        Target::new("CPU of building, usearch ÷ scan", slower(Kind::Usearch)).must(AtLeast(50.0)),
        Target::new("CPU of building, hnswlib ÷ scan", slower(Kind::Hnswlib)).must(AtLeast(20.0)),
    ]
}

fn filter_goals(report: &Report) -> Vec<Target> {
    let names = [
        ("filter 1 % ÷ unfiltered", "recall@10 under filter 1 %, %"),
        ("filter 10 % ÷ unfiltered", "recall@10 under filter 10 %, %"),
        ("filter 50 % ÷ unfiltered", "recall@10 under filter 50 %, %"),
    ];
    let scan = Kind::Scan.name();
    let goals = FILTERS.iter().zip(names).map(|((_, measure), names)| {
        let cost = filter_cost(&report.samples, measure, scan);
        let recall = report.samples.summary(measure, scan, Figure::Recall);
        [
            Target::new(names.0, cost).must(AtMost(1.3)),
            Target::new(names.1, percent(recall)).must(AtLeast(ENOUGH)),
        ]
    });
    goals.flatten().collect()
}

/// Those that only a million vectors have.
fn size_goals(report: &Report) -> Vec<Target> {
    if report.vectors < LARGE {
        return Vec::new();
    }
    let opened = report.prepared(Kind::Scan).and_then(|scan| {
        let times = scan.opened.iter().map(|one| one.took.wall_s * 1e3);
        Summary::of(times.collect())
    });
    let wall = report
        .samples
        .summary(QUERY, Kind::Scan.name(), Figure::P50Us);
    vec![
        Target::new("cold open and first query, ms", opened)
            .must(AtMost(150.0))
            .aim(AtMost(50.0)),
        Target::new("wall p50 of a query, ms", wall.map(|us| us.scale(1e-3))).aim(AtMost(1.0)),
    ]
}

fn percent(recall: Option<Summary>) -> Option<Summary> {
    Some(recall?.scale(100.0))
}
