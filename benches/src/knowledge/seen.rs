//! From an edit on one device to an answer on another.

use std::time::Duration;

use anyhow::ensure;
use ginnel_agent::api::knowledge::view::{
    NewDocument, NewPassage, SearchAnswer, SearchRequest, StoredView,
};
use ginnel_tests::bucket::strict::Operation;
use http::Method;
use rusqlite::{Connection, OpenFlags};
use tokio::time::{Instant, sleep};

use super::ground::{Ground, tell, until_in_step};
use super::litestream::{Litestream, until_quiet};
use super::rows::MODEL;
use super::table::{Figures, Row};
use crate::store::Material;
use crate::vectors::rounds::{median, quantile};

/// Edits in a round.
const EDITS: usize = 15;

/// How long an edit may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(
    ground: &mut Ground,
    litestream: &Litestream,
    material: &Material,
    rounds: u32,
) -> anyhow::Result<String> {
    let mut figures = Figures::new("An edit, until it is found", "p50 ms", "p99 ms");
    let folder = tempfile::tempdir()?;
    // A small one: this is about waiting, not about size.
    let database = folder.path().join("small.db");
    let connection = Connection::open(&database)?;
    connection.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA busy_timeout = 5000;
         CREATE TABLE passage (id INTEGER PRIMARY KEY, text TEXT, vector BLOB)",
    )?;
    let replicating = litestream.replicate(folder.path(), &database, "seen")?;
    let received = || ground.other.counts().received(Operation::Put);
    let before = received();
    until_quiet(received, Duration::from_secs(5)).await?;
    ensure!(received() > before, "Litestream has sent nothing");
    let followed = folder.path().join("followed.db");
    let following = litestream.follow(folder.path(), &database, &followed)?;
    until_there(&followed).await?;
    until_in_step(&ground.world.desktop).await?;
    for round in 1..=rounds {
        eprintln!("seen, round {round} of {rounds}");
        let times = ginnel(ground, material, round).await?;
        figures.add("Ginnel", Row::new(median(&times), quantile(&times, 0.99)));
        eprintln!("{}", figures.to_markdown());
        let times = followed_edits(&connection, &followed, round).await?;
        let row = Row::new(median(&times), quantile(&times, 0.99));
        figures.add("Litestream, restore -f", row);
    }
    drop((replicating, following));
    Ok(figures.to_markdown())
}

async fn ginnel(ground: &Ground, material: &Material, round: u32) -> anyhow::Result<Vec<f64>> {
    let (laptop, desktop) = (&ground.world.laptop, &ground.world.desktop);
    let mut times = Vec::with_capacity(EDITS);
    for edit in 0..EDITS {
        let word = format!("seen{round}x{edit}");
        let document = NewDocument {
            source: Some(format!("seen-{edit}")),
            model: Some(MODEL.to_owned()),
            passages: vec![NewPassage {
                text: format!("{word} {}", material.text(edit)),
                vector: Some(material.vector(edit).to_vec()),
            }],
            ..NewDocument::default()
        };
        let question = SearchRequest {
            query: word,
            mode: Some("text".to_owned()),
            ..SearchRequest::default()
        };
        let began = Instant::now();
        let _stored: StoredView = tell(laptop, Method::POST, "/v1/documents", &document).await?;
        loop {
            let answer: SearchAnswer = tell(desktop, Method::POST, "/v1/search", &question).await?;
            if !answer.hits.is_empty() {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "an edit does not arrive");
            sleep(Duration::from_millis(2)).await;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        // A person's pause: more than one every two seconds go together.
        sleep(Duration::from_millis(fastrand::u64(2000..2600))).await;
    }
    Ok(times)
}

async fn followed_edits(
    connection: &Connection,
    followed: &std::path::Path,
    round: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(EDITS);
    for edit in 0..EDITS {
        let word = format!("seen{round}x{edit}");
        let began = Instant::now();
        connection.execute(
            "INSERT INTO passage (text, vector) VALUES (?1, zeroblob(1536))",
            [&word],
        )?;
        while !has(followed, &word) {
            ensure!(began.elapsed() < PATIENCE, "an edit does not arrive");
            sleep(Duration::from_millis(2)).await;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(fastrand::u64(200..1200))).await;
    }
    Ok(times)
}

/// Whether the copy has it; not while it is being written.
fn has(followed: &std::path::Path, word: &str) -> bool {
    // Without a log beside it, which a reader could not make.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let uri = format!("file:{}?immutable=1", followed.display());
    Connection::open_with_flags(uri, flags)
        .and_then(|connection| {
            let found = "SELECT EXISTS (SELECT 1 FROM passage WHERE text = ?1)";
            connection.query_row(found, [word], |row| row.get(0))
        })
        .unwrap_or(false)
}

async fn until_there(followed: &std::path::Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while !followed.exists() {
        ensure!(began.elapsed() < PATIENCE, "nothing is followed");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
