//! The store's engines, through the store's own trait.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use ginnel_store::vector::engine::Engine;
use ginnel_store::vector::exact::Exact;
use ginnel_store::vector::metric::Metric;
use ginnel_store::vector::passages::Passages;
use ginnel_store::vector::scan::{Options, Scan, Upkeep};
use ginnel_store::vector::sqlite_vec::SqliteVec;
use ginnel_store::vector::sqlite_vss::{Extension, SqliteVss};
use ginnel_store::vector::{Change, Entry, Request, Spec, VectorIndex};

use super::ask::{Built, Look, UNFILTERED, passes};
use super::clock::timed;
use super::files::bytes_in;
use super::python::vss_folder;
use super::rows::{BATCH, RowFile};
use super::serve::{Place, Subject, WANTED, Worker};
use super::set::Vectors;

/// One engine with rows in SQLite.
#[derive(Debug)]
pub struct Ours {
    engine: Engine,
    spec: Spec,
    folder: PathBuf,
    python: PathBuf,
    index: Option<Arc<dyn VectorIndex>>,
    writer: Option<RowFile>,
}

impl Ours {
    /// Not opened yet.
    #[must_use]
    pub fn new(engine: Engine, place: &Place, dimensions: usize) -> Self {
        let spec = Spec {
            database: *b"vector benchmark",
            model: [7; 32],
            dimensions,
            metric: Metric::Cosine,
        };
        Self {
            engine,
            spec,
            folder: place.folder.clone(),
            python: place.python.clone(),
            index: None,
            writer: None,
        }
    }

    fn rows_path(&self) -> PathBuf {
        self.folder.join("rows/rows.db")
    }

    /// What the scan's own thread does sooner or later: only then is an index
    /// made, and its searches undisturbed.
    fn merge(&self) -> anyhow::Result<()> {
        if self.engine != Engine::Scan {
            return Ok(());
        }
        let options = Options {
            upkeep: Upkeep::Calls,
            ..Options::default()
        };
        let scan = Scan::open(&self.folder.join("index"), self.spec.clone(), options)?;
        Ok(scan.compact()?)
    }

    /// The engine, on whatever its folder has.
    fn start(&self) -> anyhow::Result<Arc<dyn VectorIndex>> {
        let folder = self.folder.join("index");
        fs::create_dir_all(&folder)?;
        Ok(match self.engine {
            Engine::Exact => Arc::new(Exact::new(self.spec.clone())),
            Engine::SqliteVec => Arc::new(SqliteVec::open(&folder, &self.spec)?),
            Engine::SqliteVss => {
                let extension = Extension::Folder(vss_folder(&self.python)?);
                Arc::new(SqliteVss::open(&folder, &self.spec, &extension)?)
            }
            Engine::Scan => Arc::new(Scan::open(&folder, self.spec.clone(), Options::default())?),
            other => bail!("engine is not known here, engine={other}"),
        })
    }
}

impl Subject for Ours {
    fn build(&self, base: &Vectors) -> anyhow::Result<Built> {
        fs::create_dir_all(self.folder.join("rows"))?;
        let ((), rows) = timed(|| RowFile::open(&self.rows_path())?.fill(base))?;
        let ((), index) = timed(|| {
            let index = self.start()?;
            let mut changes = Vec::with_capacity(BATCH);
            base.each(|row, vector| {
                let id = i64::try_from(row)? + 1;
                changes.push(Change::Upsert(Entry {
                    passage: id,
                    embedding: id,
                    vector: vector.to_vec(),
                }));
                if changes.len() == BATCH || row + 1 == base.count() {
                    index.apply(&changes, u64::try_from(id)?)?;
                    changes.clear();
                }
                Ok(())
            })?;
            index.flush()?;
            drop(index);
            self.merge()
        })?;
        let index_bytes = bytes_in(&self.folder.join("index"))?;
        let rows_bytes = bytes_in(&self.folder.join("rows"))?;
        Ok(Built {
            rows,
            index,
            rows_bytes,
            index_bytes,
        })
    }

    fn open(&mut self) -> anyhow::Result<Box<dyn Worker>> {
        if self.index.is_none() {
            let index = self.start()?;
            ensure!(index.durable() > 0, "the engine did not keep its index");
            self.index = Some(index);
        }
        let index = self.index.as_ref().context("not opened")?;
        Ok(Box::new(Searcher {
            index: Arc::clone(index),
            rows: RowFile::open(&self.rows_path())?,
            passing: None,
        }))
    }

    /// The store's change log would add another row to the transaction.
    fn commit(&mut self, row: u32, vector: &[f32]) -> anyhow::Result<()> {
        if self.writer.is_none() {
            self.writer = Some(RowFile::open(&self.rows_path())?);
        }
        let id = i64::from(row) + 1;
        let rows = self.writer.as_ref().context("no connection")?;
        rows.insert(id, vector)?;
        let change = Change::Upsert(Entry {
            passage: id,
            embedding: id,
            vector: vector.to_vec(),
        });
        let index = self.index.as_ref().context("not opened")?;
        Ok(index.apply(&[change], u64::try_from(id)?)?)
    }
}

struct Searcher {
    index: Arc<dyn VectorIndex>,
    rows: RowFile,
    passing: Option<Passages>,
}

impl Worker for Searcher {
    fn prepare(&mut self, look: Look) -> anyhow::Result<()> {
        let rows = u32::try_from(self.index.stats()?.entries)?;
        self.passing = (look.percent < UNFILTERED).then(|| {
            let passing = (0..rows.max(FILTERED_ROWS)).filter(|row| passes(*row, look.percent));
            passing.map(|row| i64::from(row) + 1).collect()
        });
        Ok(())
    }

    fn search(&mut self, query: &[f32]) -> anyhow::Result<Vec<u32>> {
        let request = Request {
            query,
            wanted: WANTED,
            filter: self.passing.as_ref(),
        };
        let found = self.index.search(request, &self.rows)?;
        let rows = found.iter().map(|near| u32::try_from(near.passage - 1));
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The exact engine does not know how many rows there are.
const FILTERED_ROWS: u32 = 1_000_000;
