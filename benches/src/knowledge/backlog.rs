//! Memory of everybody while a million changes that were made offline are sent,
//! kept and taken.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ginnel_store::Store;
use ginnel_store::document::{NewDocument, Span};
use ginnel_store::options::Options;
use ginnel_store::vector::engine::Engine;
use ginnel_tests::chaos::world::{Which, World};
use ginnel_tests::processes::{peak_memory, private_memory};
use tokio::process::Child;
use tokio::time::Instant;

use super::ground::{start, until_in_step, until_known};
use super::rows;
use crate::store::Material;

/// Documents of ten passages: eleven changes each.
const DOCUMENTS: usize = 91_000;
const PASSAGES: usize = 10;

/// How often it is looked how much memory each has.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(programs: &Path, material: &Material) -> anyhow::Result<String> {
    let mut world = start(programs).await?;
    eprintln!("backlog: {DOCUMENTS} documents of {PASSAGES} passages");
    world.laptop.kill().await;
    fill(&world.laptop.state().join("store"), material).await?;
    let began = Instant::now();
    world.restart(Which::Laptop);
    let all_is_there = async {
        until_known(&world.desktop, DOCUMENTS * PASSAGES).await?;
        until_in_step(&world.laptop).await?;
        until_in_step(&world.desktop).await
    };
    let mut private = [0; 3];
    tokio::select! {
        done = all_is_there => drop(done?),
        failed = sample(&world, &mut private) => failed?,
    }
    let took = began.elapsed().as_secs_f64();
    let mut report = format!(
        "### A million changes made offline\n\n\
         | {took:.0} s until the other device has all | private MB | with files |\n\
         | --- | --- | --- |\n"
    );
    let names = ["sending device", "receiving device", "relay"];
    for ((name, private), process) in names.iter().zip(private).zip(processes(&world)?) {
        let (private, all) = (private / 1_000_000, peak_memory(process) / 1_000_000);
        report.push_str(&format!("| {name}, at most | {private} | {all} |\n"));
    }
    Ok(report)
}

/// Notes how much private memory each has at most, for as long as it is polled.
async fn sample(world: &World, most: &mut [u64; 3]) -> anyhow::Result<()> {
    loop {
        for (most, process) in most.iter_mut().zip(processes(world)?) {
            *most = private_memory(process).max(*most);
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

/// Who sends, who receives, and the relay.
fn processes(world: &World) -> anyhow::Result<[&Child; 3]> {
    Ok([
        world.laptop.process().context("it runs")?,
        world.desktop.process().context("it runs")?,
        world.relay().context("it runs")?,
    ])
}

async fn fill(folder: &Path, material: &Material) -> anyhow::Result<()> {
    let mut options = Options::new(folder);
    options.origin = "laptop".to_owned();
    options.engine = Engine::Exact;
    let store = Store::open(options)?;
    let documents = (0..DOCUMENTS).map(|number| {
        let mut text = String::new();
        let mut passages = Vec::with_capacity(PASSAGES);
        for part in 0..PASSAGES {
            let start = text.len();
            let words = material.text(number * PASSAGES + part);
            text.push_str(&format!("{number} {part} {words}"));
            let end = text.len();
            passages.push(Span { start, end });
            text.push('\n');
        }
        Ok(NewDocument {
            collection: "bench".parse()?,
            source: Some(format!("{number}.txt")),
            id: None,
            title: None,
            mime: None,
            metadata: serde_json::Map::new(),
            passages,
            text,
            vectors: None,
        })
    });
    rows::put_all(&store, documents).await?;
    store.close().await?;
    Ok(())
}
