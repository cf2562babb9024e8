//! How fast rows of another device are taken, without its indexes and with them:
//! the full-text index is kept in the same transaction, the vector index after it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::{Batch, BatchPlace, decode, encode};
use ginnel_proto::sync::reading::FIRST;
use ginnel_store::options::Options;
use ginnel_store::sync::{Identity, Written};
use ginnel_store::vector::engine::Engine;
use ginnel_store::{FILE_NAME, Store};
use rusqlite::Connection;

use super::table::{Figures, Row};
use super::{float, rows};
use crate::store::Material;
use crate::vectors::clock::{Took, cpu};

/// What is done with the batches.
#[derive(Debug, Clone, Copy)]
enum Work {
    Decode,
    Apply(Indexes),
    ApplyAgain,
}

/// Which indexes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexes {
    None,
    Words,
    All,
}

pub(super) async fn run(
    material: &Material,
    rounds: u32,
    passages: usize,
) -> anyhow::Result<String> {
    eprintln!("making the batches of {passages} passages");
    let batches = Batches::make(material, passages).await?;
    let kinds = [
        ("decoded and checked only", Work::Decode),
        ("applied, no index", Work::Apply(Indexes::None)),
        ("applied, words indexed", Work::Apply(Indexes::Words)),
        (
            "applied, words and vectors indexed",
            Work::Apply(Indexes::All),
        ),
        ("applied again, nothing to do", Work::ApplyAgain),
    ];
    let mut figures = Figures::new("Applying", "rows/s", "CPU µs a row");
    for round in 1..=rounds {
        eprintln!("apply, round {round} of {rounds}");
        for at in 0..kinds.len() {
            let Some((name, work)) = kinds.get((at + round as usize) % kinds.len()) else {
                continue;
            };
            let took = match *work {
                Work::Decode => batches.decode()?,
                Work::Apply(indexes) => batches.apply(indexes).await?,
                Work::ApplyAgain => batches.apply_again().await?,
            };
            let rows = float(batches.rows as u64);
            figures.add(name, Row::new(rows / took.wall_s, took.cpu_s * 1e6 / rows));
        }
    }
    let (bytes, payload) = (float(batches.bytes() as u64), float(batches.payload as u64));
    Ok(format!(
        "{}\n{} rows in {} batches: {:.1} MB for {:.1} MB of texts and vectors, {:.2} ×\n",
        figures.to_markdown(),
        batches.rows,
        batches.all.len(),
        bytes / 1e6,
        payload / 1e6,
        bytes / payload,
    ))
}

/// The log of a device.
struct Batches {
    user: Identity,
    all: Vec<(BatchPlace, Bytes)>,
    rows: usize,
    payload: usize,
}

impl Batches {
    async fn make(material: &Material, passages: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let writer = identity("writer")?;
        let store = open(folder.path(), &writer, Engine::Exact).await?;
        let payload = rows::put(&store, material, passages).await?;
        let mut batches = Self {
            user: writer.clone(),
            all: Vec::new(),
            rows: 0,
            payload,
        };
        let mut previous = FIRST;
        while let Some(outgoing) = store.outgoing().await? {
            let rows = outgoing.rows;
            if rows.is_empty() {
                store.sent(outgoing.upto, None).await?;
                continue;
            }
            let place = place(&writer, batches.all.len() as u64 + 1);
            let (bytes, hash) = encode(&place, previous, &rows)?;
            let (first, last) = rows.stamps().context("it has rows")?;
            let written = Written {
                epoch: 1,
                sequence: place.sequence,
                hash,
                first,
                last,
                object: bytes.clone(),
            };
            store.sent(outgoing.upto, Some(written)).await?;
            batches.rows += rows.len();
            batches.all.push((place, bytes));
            previous = hash;
        }
        store.close().await?;
        Ok(batches)
    }

    fn bytes(&self) -> usize {
        self.all.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    fn decode(&self) -> anyhow::Result<Took> {
        let start = (cpu(), Instant::now());
        let mut last = Hash::of(b"");
        for (place, bytes) in &self.all {
            last = decode(bytes, place)?.hash;
        }
        ensure!(last != Hash::of(b""), "nothing was decoded");
        Ok(since(start))
    }

    async fn apply(&self, indexes: Indexes) -> anyhow::Result<Took> {
        let folder = tempfile::tempdir()?;
        let store = self.open_reader(folder.path(), indexes).await?;
        let batches = self.decoded()?;
        let start = (cpu(), Instant::now());
        let taken = apply_to(&store, batches).await?;
        // The vector index is written when the store is closed.
        store.close().await?;
        let took = since(start);
        // A few texts are in two documents: the vectors of these come twice.
        ensure!(taken > self.rows - self.rows / 1000, "rows were not taken");
        Ok(took)
    }

    async fn apply_again(&self) -> anyhow::Result<Took> {
        let folder = tempfile::tempdir()?;
        let store = self.open_reader(folder.path(), Indexes::None).await?;
        apply_to(&store, self.decoded()?).await?;
        let connection = Connection::open(folder.path().join(FILE_NAME))?;
        connection.execute("DELETE FROM peer WHERE device = 'writer'", [])?;
        let batches = self.decoded()?;
        let start = (cpu(), Instant::now());
        let taken = apply_to(&store, batches).await?;
        let took = since(start);
        ensure!(taken == 0, "a row was taken twice");
        store.close().await?;
        Ok(took)
    }

    async fn open_reader(&self, folder: &Path, indexes: Indexes) -> anyhow::Result<Store> {
        let reader = Identity {
            device: "reader".parse()?,
            ..self.user.clone()
        };
        let engine = match indexes {
            Indexes::All => Engine::Scan,
            Indexes::None | Indexes::Words => Engine::Exact,
        };
        let store = open(folder, &reader, engine).await?;
        if indexes == Indexes::None {
            let connection = Connection::open(folder.join(FILE_NAME))?;
            // Words are given to a table that takes none.
            connection.execute_batch(
                "DROP TABLE passage_text_index;
                 CREATE TABLE passage_text_index (passage_text_index, text);
                 CREATE TRIGGER no_words BEFORE INSERT ON passage_text_index
                 BEGIN SELECT RAISE(IGNORE); END",
            )?;
        }
        Ok(store)
    }

    fn decoded(&self) -> anyhow::Result<Vec<Batch>> {
        let all = self.all.iter();
        all.map(|(place, bytes)| Ok(decode(bytes, place)?))
            .collect()
    }
}

async fn apply_to(store: &Store, batches: Vec<Batch>) -> anyhow::Result<usize> {
    let mut taken = 0;
    for batch in batches {
        taken += store.apply(batch).await?.taken;
    }
    Ok(taken)
}

async fn open(folder: &Path, identity: &Identity, engine: Engine) -> anyhow::Result<Store> {
    let mut options = Options::new(folder);
    options.origin = identity.device.to_string();
    options.engine = engine;
    let store = Store::open(options)?;
    store.begin_sync(identity.clone()).await?;
    Ok(store)
}

fn identity(device: &str) -> anyhow::Result<Identity> {
    Ok(Identity {
        domain: "bench.test".parse()?,
        user: "bench".parse()?,
        device: device.parse::<DeviceName>()?,
    })
}

fn place(writer: &Identity, sequence: u64) -> BatchPlace {
    BatchPlace {
        user: writer.user.clone(),
        epoch: 1,
        device: writer.device.clone(),
        sequence,
    }
}

fn since((before, start): (std::time::Duration, Instant)) -> Took {
    Took {
        cpu_s: (cpu() - before).as_secs_f64(),
        wall_s: start.elapsed().as_secs_f64(),
    }
}
