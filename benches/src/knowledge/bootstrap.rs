//! A new device, from its start until it answers, and until it has everything.

use std::path::Path;

use anyhow::Context as _;
use ginnel_agent::api::knowledge::view::{SearchAnswer, SearchRequest};
use ginnel_tests::chaos::world::Device;
use http::Method;
use rusqlite::Connection;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::float;
use super::ground::{Ground, LOOK, get, known, publish, tell, until_in_step};
use super::litestream::{Litestream, copy};
use super::rows::MODEL;
use super::table::{Figures, Row};
use crate::process::cpu_of;
use crate::store::Material;

/// A database that Litestream brings to the bucket, and back.
struct Copied {
    name: &'static str,
    folder: tempfile::TempDir,
    database: std::path::PathBuf,
}

pub(super) async fn run(
    ground: &mut Ground,
    litestream: &Litestream,
    material: &Material,
    rounds: u32,
) -> anyhow::Result<String> {
    publish(&ground.world.laptop).await?;
    let passages = known(&ground.world.laptop).await?;
    let folder = tempfile::tempdir()?;
    let (database, connection) = copy(&ground.published, folder.path())?;
    drop(connection);
    let published = Copied {
        name: "Litestream: the published database is there",
        folder,
        database,
    };
    // What somebody has who replicates a device's store: words are indexed in it.
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("store.db");
    let store = ground.world.laptop.state().join("store/store.db");
    vacuum(&store, &database)?;
    let whole = Copied {
        name: "Litestream: a device's store is there",
        folder,
        database,
    };
    let copies = [published, whole];
    for (at, it) in copies.iter().enumerate() {
        let place = format!("bootstrap-{at}");
        litestream
            .back_up(it.folder.path(), &it.database, &place)
            .await?;
    }
    let mut figures = Figures::new("A new device", "s", "CPU s");
    for round in 1..=rounds {
        eprintln!("bootstrap, round {round} of {rounds}");
        if round % 2 == 1 {
            ginnel(ground, material, (round, passages), &mut figures).await?;
        }
        for it in &copies {
            let to = it.folder.path().join("restored.db");
            let theirs = litestream
                .restore(it.folder.path(), &it.database, &to)
                .await?;
            let row = Row::new(theirs.wall.as_secs_f64(), theirs.cpu.as_secs_f64());
            figures.add(it.name, row);
            std::fs::remove_file(&to)?;
        }
        if round % 2 == 0 {
            ginnel(ground, material, (round, passages), &mut figures).await?;
        }
    }
    let size = |path: &Path| anyhow::Ok(float(std::fs::metadata(path)?.len()) / 1e6);
    let [published, whole] = &copies;
    Ok(format!(
        "{}\n{} passages, a published database of {:.0} MB, a store of {:.0} MB\n",
        figures.to_markdown(),
        passages,
        size(&published.database)?,
        size(&whole.database)?,
    ))
}

fn vacuum(from: &Path, to: &Path) -> anyhow::Result<()> {
    let connection = Connection::open(from)?;
    let to = to.to_str().context("path is not text")?;
    connection.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

async fn ginnel(
    ground: &Ground,
    material: &Material,
    (round, passages): (u32, usize),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let world = &ground.world;
    let mut phone = world.add(&format!("phone-{round}")).await;
    let cpu = |device: &Device| {
        let id = device.process().and_then(tokio::process::Child::id);
        id.map(cpu_of).unwrap_or_default().as_secs_f64()
    };
    let began = Instant::now();
    world.start_device(&mut phone);
    let mut note = |name: &'static str, phone: &Device| {
        let row = Row::new(began.elapsed().as_secs_f64(), cpu(phone));
        figures.add(name, row);
    };
    // By meaning, exactly, of all rows, while indexes are still made: rows come all
    // at once.
    let question = SearchRequest {
        vector: Some(material.vector(13).to_vec()),
        model: Some(MODEL.to_owned()),
        ..SearchRequest::default()
    };
    loop {
        let asked = tell::<SearchAnswer>(&phone, Method::POST, "/v1/search", &question);
        if asked.await.is_ok_and(|answer| !answer.hits.is_empty()) {
            break;
        }
        sleep(LOOK).await;
    }
    note("Ginnel: the first answer by meaning", &phone);
    until_in_step(&phone).await?;
    note("Ginnel: in step", &phone);
    let came = loop {
        let stats: Value = get(&phone, "/v1/knowledge").await?;
        if stats["unindexed"] == 0 {
            break stats["passages"].as_u64().unwrap_or_default();
        }
        sleep(LOOK).await;
    };
    note("Ginnel: all words are found, too", &phone);
    anyhow::ensure!(
        usize::try_from(came)? == passages,
        "{came} passages came, of {passages}"
    );
    phone.kill().await;
    Ok(())
}
