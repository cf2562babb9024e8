//! Large transfers.

use anyhow::Context as _;

use super::{Bench, rotated};
use crate::controls::Order;
use crate::load::{self, Way};
use crate::process::{cpu, own_cpu};
use crate::samples::Figure;

/// Over a bare transport or a link, by way.
pub const TRANSPORT: [(Way, &str); 2] = [(Way::Down, "transport down"), (Way::Up, "transport up")];

/// Over HTTP, by way.
pub const HTTP: [(Way, &str); 2] = [(Way::Down, "HTTP down"), (Way::Up, "HTTP up")];

/// How many bytes.
#[must_use]
pub fn length(quick: bool) -> u64 {
    if quick { 64 << 20 } else { 1 << 30 }
}

/// Every control, both ways. CPU time is that of both ends.
///
/// # Errors
/// A transfer fails.
pub async fn transport(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let length = length(bench.plan.quick);
    let folder = bench.folder.path().to_owned();
    for (way, measure) in TRANSPORT {
        for at in rotated(bench.controls.len(), round) {
            let (control, process, address) = bench.controls.get(at).context("in range")?;
            let before = process.cpu() + own_cpu();
            let order = Order { way, length };
            let took = control.transfer(&folder, *address, order).await;
            let took = took.with_context(|| format!("{}, {measure}", control.name()))?;
            let used = process.cpu() + own_cpu() - before;
            let name = control.name();
            let figures = figures(length, took.as_secs_f64(), used.as_secs_f64());
            bench.samples.add(round, measure, name, &figures);
        }
    }
    Ok(())
}

/// Every subject, both ways. CPU time is that of the origin and of all that
/// stands before it, but not of the caller.
///
/// # Errors
/// A transfer fails.
pub async fn http(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let length = length(bench.plan.quick);
    for (way, measure) in HTTP {
        for at in bench.order(round) {
            let subject = bench.subjects.get(at).context("in range")?;
            let used = || cpu(&subject.processes) + bench.origin.cpu();
            let before = used();
            let took = load::bulk(subject.public, way, length).await;
            let took = took.with_context(|| format!("{}, {measure}", subject.name))?;
            let used = used() - before;
            let figures = figures(length, took.as_secs_f64(), used.as_secs_f64());
            bench.samples.add(round, measure, subject.name, &figures);
        }
    }
    Ok(())
}

fn figures(length: u64, seconds: f64, cpu: f64) -> [(Figure, f64); 2] {
    let length = length as f64;
    [
        (Figure::BytesPerSecond, length / seconds),
        (Figure::CpuPerGb, cpu / (length / 1e9)),
    ]
}
