//! Devices in step: what their rows cost on the wire, how soon they are there, and
//! how a new device begins, beside Litestream over the same S3 server.
//!
//! * [`apply`]: batches of another device into a store, in this process.
//! * [`wire`]: bytes that new and deleted rows cost at the bucket.
//! * [`bootstrap`]: a new device, until it has everything.
//! * [`seen`]: from an edit on one device to an answer on another.
//! * [`backlog`]: memory while a million changes are sent and taken.
//!
//! Relay and devices are processes of their own, as in `ginnel_tests::chaos`.

mod apply;
mod backlog;
mod bootstrap;
mod ground;
mod litestream;
mod rows;
mod seen;
mod table;
mod wire;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::ginnel;
use crate::priority::Priority;
use crate::report::Machine;
use crate::store::Material;
use litestream::Litestream;

/// What a run does.
#[derive(Debug)]
pub struct Plan {
    /// Where the data set and its texts are.
    pub folder: PathBuf,
    /// How often everything is measured.
    pub rounds: u32,
    /// Passages that are there before.
    pub passages: usize,
    /// What is measured; everything if it is empty.
    pub only: Vec<Part>,
    /// Where `ginnel` and `ginnel-relay` are; they are built if not told.
    pub programs: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Rows that a store takes, a second.
    Apply,
    /// Bytes of new and of deleted rows.
    Wire,
    /// A new device.
    Bootstrap,
    /// How soon an edit is found.
    Seen,
    /// Memory with a million changes.
    Backlog,
}

impl Plan {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Measures, and prints tables.
///
/// # Errors
/// A program or a data set is missing, or something does not work.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let priority = Priority::raise();
    let load = Machine::load();
    let material = Material::read(&plan.folder, plan.passages)?;
    let programs = match &plan.programs {
        Some(programs) => programs.clone(),
        None => ginnel::Programs::build()?.folder()?,
    };
    let (rounds, passages) = (plan.rounds, plan.passages);
    let mut tables = Vec::new();
    let mut note = |table: String| {
        eprintln!("{table}");
        tables.push(table);
    };
    if plan.has(Part::Apply) {
        note(apply::run(&material, rounds, passages).await?);
    }
    if plan.has(Part::Wire) || plan.has(Part::Bootstrap) || plan.has(Part::Seen) {
        let mut ground = ground::Ground::lay(&programs, &material, passages).await?;
        let litestream = Litestream::find(&ground)?;
        if plan.has(Part::Wire) {
            note(wire::run(&mut ground, &litestream, &material, rounds).await?);
        }
        if plan.has(Part::Bootstrap) {
            note(bootstrap::run(&mut ground, &litestream, &material, rounds).await?);
        }
        if plan.has(Part::Seen) {
            note(seen::run(&mut ground, &litestream, &material, rounds).await?);
        }
    }
    if plan.has(Part::Backlog) {
        note(backlog::run(&programs, &material).await?);
    }
    let machine = Machine::describe(priority.describe(), load);
    println!(
        "{}; {rounds} rounds, median (min–max), {passages} passages\n",
        machine.to_line()
    );
    for table in tables {
        println!("{table}");
    }
    Ok(())
}

/// For figures only: exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "no more than 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
