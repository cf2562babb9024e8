//! A new device, from its start until it has everything and answers.

use ginnel_agent::api::knowledge::view::{SearchAnswer, SearchRequest};
use ginnel_tests::chaos::world::Device;
use http::Method;
use tokio::time::{Instant, sleep};

use super::float;
use super::ground::{Ground, LOOK, known, publish, tell, until_in_step};
use super::litestream::{Litestream, copy};
use super::rows::MODEL;
use super::table::{Figures, Row};
use crate::process::cpu_of;
use crate::store::Material;

pub(super) async fn run(
    ground: &mut Ground,
    litestream: &Litestream,
    material: &Material,
    rounds: u32,
) -> anyhow::Result<String> {
    publish(&ground.world.laptop).await?;
    let folder = tempfile::tempdir()?;
    let (database, connection) = copy(&ground.published, folder.path())?;
    drop(connection);
    litestream
        .back_up(folder.path(), &database, "bootstrap")
        .await?;
    let passages = known(&ground.world.laptop).await?;
    let mut figures = Figures::new("A new device", "s", "CPU s");
    for round in 1..=rounds {
        eprintln!("bootstrap, round {round} of {rounds}");
        let to = folder.path().join("restored.db");
        if round % 2 == 1 {
            ginnel(ground, material, round, passages, &mut figures).await?;
        }
        let theirs = litestream.restore(folder.path(), &database, &to).await?;
        let row = Row::new(theirs.wall.as_secs_f64(), theirs.cpu.as_secs_f64());
        figures.add("Litestream: the file is there", row);
        std::fs::remove_file(&to)?;
        if round % 2 == 0 {
            ginnel(ground, material, round, passages, &mut figures).await?;
        }
    }
    let size = float(std::fs::metadata(&ground.published)?.len());
    Ok(format!(
        "{}\n{passages} passages, a database of {:.0} MB\n",
        figures.to_markdown(),
        size / 1e6
    ))
}

async fn ginnel(
    ground: &Ground,
    material: &Material,
    round: u32,
    passages: usize,
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
    while known(&phone).await.unwrap_or_default() != passages {
        sleep(LOOK).await;
    }
    let row = Row::new(began.elapsed().as_secs_f64(), cpu(&phone));
    figures.add("Ginnel: all rows are there", row);
    // By meaning, exactly, while the index is still made.
    let question = SearchRequest {
        vector: Some(material.vector(13).to_vec()),
        model: Some(MODEL.to_owned()),
        ..SearchRequest::default()
    };
    let mut hits = 0;
    while hits == 0 {
        let answer: SearchAnswer = tell(&phone, Method::POST, "/v1/search", &question).await?;
        hits = answer.hits.len();
    }
    let row = Row::new(began.elapsed().as_secs_f64(), cpu(&phone));
    figures.add("Ginnel: the first answer by meaning", row);
    until_in_step(&phone).await?;
    let row = Row::new(began.elapsed().as_secs_f64(), cpu(&phone));
    figures.add("Ginnel: in step", row);
    phone.kill().await;
    Ok(())
}
