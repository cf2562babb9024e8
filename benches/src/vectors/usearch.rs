//! The crate `usearch`: a graph (HNSW) over f32 values, all in memory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::ask::{Built, Look, UNFILTERED, passes};
use super::clock::timed;
use super::files::bytes_in;
use super::serve::{Place, Subject, WANTED, Worker};
use super::set::Vectors;

/// Neighbours of a node, and how hard they are looked for: M and efConstruction
/// as all graphs here have them.
const CONNECTIVITY: usize = 16;
const EXPANSION_ADD: usize = 128;

/// An index in a file.
pub struct Usearch {
    folder: PathBuf,
    dimensions: usize,
    index: Option<Arc<Index>>,
}

impl Usearch {
    /// Not opened yet.
    #[must_use]
    pub fn new(place: &Place, dimensions: usize) -> Self {
        Self {
            folder: place.folder.clone(),
            dimensions,
            index: None,
        }
    }

    fn empty(&self) -> anyhow::Result<Index> {
        let options = IndexOptions {
            dimensions: self.dimensions,
            metric: MetricKind::IP,
            quantization: ScalarKind::F32,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            ..IndexOptions::default()
        };
        Ok(Index::new(&options)?)
    }

    fn path(&self) -> anyhow::Result<String> {
        let path = self.folder.join("index.usearch");
        let path = path.into_os_string().into_string();
        path.ok().context("path is not text")
    }
}

impl std::fmt::Debug for Usearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Usearch").finish_non_exhaustive()
    }
}

impl Subject for Usearch {
    fn build(&self, base: &Vectors) -> anyhow::Result<Built> {
        let ((), index) = timed(|| {
            let index = self.empty()?;
            index.reserve(base.count())?;
            base.each(|row, vector| Ok(index.add(u64::try_from(row)?, vector)?))?;
            Ok(index.save(&self.path()?)?)
        })?;
        Ok(Built {
            index,
            index_bytes: bytes_in(&self.folder)?,
            ..Built::default()
        })
    }

    fn open(&mut self) -> anyhow::Result<Box<dyn Worker>> {
        if self.index.is_none() {
            let index = self.empty()?;
            index.load(&self.path()?)?;
            self.index = Some(Arc::new(index));
        }
        let index = self.index.as_ref().context("not opened")?;
        Ok(Box::new(Searcher {
            index: Arc::clone(index),
            percent: UNFILTERED,
        }))
    }

    fn commit(&mut self, _row: u32, _vector: &[f32]) -> anyhow::Result<()> {
        bail!("usearch has no durable commits")
    }
}

struct Searcher {
    index: Arc<Index>,
    percent: u32,
}

impl Worker for Searcher {
    fn prepare(&mut self, look: Look) -> anyhow::Result<()> {
        self.index
            .change_expansion_search(usize::try_from(look.effort)?);
        self.percent = look.percent;
        Ok(())
    }

    fn search(&mut self, query: &[f32]) -> anyhow::Result<Vec<u32>> {
        let found = if self.percent == UNFILTERED {
            self.index.search(query, WANTED)?
        } else {
            let passing = |key| u32::try_from(key).is_ok_and(|row| passes(row, self.percent));
            self.index.filtered_search(query, WANTED, passing)?
        };
        let rows = found.keys.iter().map(|key| u32::try_from(*key));
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
