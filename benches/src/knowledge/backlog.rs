//! Memory of everybody while a million changes that were made offline are sent,
//! kept and taken.

use std::path::Path;

use anyhow::Context as _;
use ginnel_store::Store;
use ginnel_store::document::{NewDocument, Span};
use ginnel_store::options::Options;
use ginnel_store::vector::engine::Engine;
use ginnel_tests::chaos::world::Which;
use ginnel_tests::processes::peak_memory;
use tokio::time::Instant;

use super::ground::{start, until_in_step, until_known};
use super::rows;
use crate::store::Material;

/// Documents of ten passages: eleven changes each.
const DOCUMENTS: usize = 91_000;
const PASSAGES: usize = 10;

pub(super) async fn run(programs: &Path, material: &Material) -> anyhow::Result<String> {
    let mut world = start(programs).await?;
    eprintln!("backlog: {DOCUMENTS} documents of {PASSAGES} passages");
    world.laptop.kill().await;
    fill(&world.laptop.state().join("store"), material).await?;
    let began = Instant::now();
    world.restart(Which::Laptop);
    until_known(&world.desktop, DOCUMENTS * PASSAGES).await?;
    until_in_step(&world.laptop).await?;
    until_in_step(&world.desktop).await?;
    let took = began.elapsed().as_secs_f64();
    let peak = |child: Option<&tokio::process::Child>| child.map(peak_memory).context("it runs");
    Ok(format!(
        "### A million changes made offline\n\n| | |\n| --- | --- |\n\
         | until the other device has all | {took:.0} s |\n\
         | peak memory of the sending device | {} MB |\n\
         | of the receiving device | {} MB |\n\
         | of the relay | {} MB |\n",
        peak(world.laptop.process())? / 1_000_000,
        peak(world.desktop.process())? / 1_000_000,
        peak(world.relay())? / 1_000_000,
    ))
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
