//! Small requests, alone and beside a bulk transfer.

use std::time::Duration;

use anyhow::Context as _;

use super::Bench;
use crate::load::{self, Background, Small};
use crate::process::cpu;
use crate::samples::Figure;

/// Connections at once, and what that is called.
pub const ALONE: [(usize, &str); 3] = [(1, "1 KiB, c1"), (32, "1 KiB, c32"), (256, "1 KiB, c256")];

/// One connection with small requests while another downloads.
pub const MIXED: &str = "1 KiB, c1, beside bulk";

fn span(quick: bool) -> Duration {
    if quick {
        Duration::from_millis(300)
    } else {
        Duration::from_secs(2)
    }
}

/// Every subject at every concurrency. CPU time is that of the origin and of
/// all that stands before it.
///
/// # Errors
/// A subject does not answer.
pub async fn alone(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let span = span(bench.plan.quick);
    for (concurrency, measure) in ALONE {
        for at in bench.order(round) {
            let subject = bench.subjects.get(at).context("in range")?;
            let used = || cpu(&subject.processes) + bench.origin.cpu();
            let before = used();
            let small = load::small(subject.public, concurrency, span).await;
            let small = small.with_context(|| format!("{}, {measure}", subject.name))?;
            let each = (used() - before).as_secs_f64() * 1e6 / small.times.len() as f64;
            let mut figures = figures(&small);
            figures.push((Figure::CpuUs, each));
            bench.samples.add(round, measure, subject.name, &figures);
        }
    }
    Ok(())
}

/// Every subject with one connection, beside a download.
///
/// # Errors
/// A subject does not answer.
pub async fn beside_bulk(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let span = span(bench.plan.quick);
    for at in bench.order(round) {
        let subject = bench.subjects.get(at).context("in range")?;
        let background = Background::start(subject.public);
        let small = load::small(subject.public, 1, span).await;
        let small = small.with_context(|| format!("{}, {MIXED}", subject.name))?;
        let bulk = background.finish()?;
        let mut figures = figures(&small);
        figures.push((Figure::BytesPerSecond, bulk));
        bench.samples.add(round, MIXED, subject.name, &figures);
    }
    Ok(())
}

fn figures(small: &Small) -> Vec<(Figure, f64)> {
    vec![
        (Figure::RequestsPerSecond, small.rate()),
        (Figure::P50Us, small.quantile_us(0.5)),
        (Figure::P99Us, small.quantile_us(0.99)),
        (Figure::Failed, small.failed as f64),
    ]
}
