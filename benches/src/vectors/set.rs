//! A data set: vectors, queries that are not among them, and exact neighbours.
//!
//! `benches/vectors/make` makes them and says how the files look. Vectors stay
//! on disk: a million of them take 1.5 GB.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Exact neighbours known of each query.
pub const NEIGHBOURS: usize = 100;

/// Vectors read at once.
const BLOCK: usize = 4096;

/// Vectors in a file.
#[derive(Debug)]
pub struct Vectors {
    file: File,
    dimensions: usize,
    count: usize,
}

impl Vectors {
    /// Opens a file of them.
    ///
    /// # Errors
    /// It cannot be read, or does not hold whole vectors.
    pub fn open(path: &Path, dimensions: usize) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| {
            let hint = "benches/vectors/make makes it";
            format!("cannot open vectors; hint: {hint}, path={}", path.display())
        })?;
        let (bytes, row) = (file.metadata()?.len(), 4 * u64::try_from(dimensions)?);
        ensure!(
            bytes % row == 0,
            "file does not hold whole vectors, path={}",
            path.display()
        );
        let count = usize::try_from(bytes / row)?;
        Ok(Self {
            file,
            dimensions,
            count,
        })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Values of each.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// `count` vectors from one on, value by value.
    ///
    /// # Errors
    /// They cannot be read, or are not that many.
    pub fn read(&self, first: usize, count: usize) -> anyhow::Result<Vec<f32>> {
        let row = 4 * self.dimensions;
        let mut bytes = vec![0; row * count];
        self.file
            .read_exact_at(&mut bytes, u64::try_from(row * first)?)?;
        Ok(values(&bytes))
    }

    /// Calls `each` with every row and its vector.
    ///
    /// # Errors
    /// They cannot be read, or `each` fails.
    pub fn each(
        &self,
        mut each: impl FnMut(usize, &[f32]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for first in (0..self.count).step_by(BLOCK) {
            let block = self.read(first, BLOCK.min(self.count - first))?;
            for (at, vector) in block.chunks_exact(self.dimensions).enumerate() {
                each(first + at, vector)?;
            }
        }
        Ok(())
    }
}

/// All files of a data set.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its name, such as `100k-384`.
    pub name: String,
    folder: PathBuf,
    dimensions: usize,
}

impl Set {
    /// The one of a name, whose last part is the number of dimensions.
    ///
    /// # Errors
    /// It is not such a name.
    pub fn named(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let last = name.rsplit('-').next().unwrap_or_default();
        let dimensions = last.parse().with_context(|| {
            format!("name of a data set does not end in its dimensions, name={name}")
        })?;
        Ok(Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dimensions,
        })
    }

    /// Where the vectors are.
    #[must_use]
    pub fn base_path(&self) -> PathBuf {
        self.folder.join(format!("{}.f32", self.name))
    }

    /// Where the queries are.
    #[must_use]
    pub fn queries_path(&self) -> PathBuf {
        self.folder.join(format!("{}-queries.f32", self.name))
    }

    /// Values of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vectors.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn base(&self) -> anyhow::Result<Vectors> {
        Vectors::open(&self.base_path(), self.dimensions)
    }

    /// All queries, value by value.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn queries(&self) -> anyhow::Result<Vec<f32>> {
        let queries = Vectors::open(&self.queries_path(), self.dimensions)?;
        queries.read(0, queries.count())
    }

    /// The nearest rows to each query, the nearest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn truth(&self) -> anyhow::Result<Vec<Vec<u32>>> {
        let path = self.folder.join(format!("{}-truth.u32", self.name));
        let bytes = std::fs::read(&path)
            .with_context(|| format!("cannot read the truth, path={}", path.display()))?;
        let (words, _) = bytes.as_chunks::<4>();
        let rows: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(rows.chunks_exact(NEIGHBOURS).map(<[u32]>::to_vec).collect())
    }
}

/// Little-endian values.
#[must_use]
pub fn values(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// The bytes of a vector as SQLite's extensions and the store keep it.
#[must_use]
pub fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
