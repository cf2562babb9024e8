//! Who is measured.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use ginnel_store::vector::engine::Engine;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ask::{Answer, Ask};
use super::ours::Ours;
use super::serve::{Place, Subject};

/// An engine of ours, or one to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Ours, the default one.
    Scan,
    /// Ours, without an index.
    Exact,
    /// Ours, on sqlite-vec.
    StoreVec,
    /// Ours, on sqlite-vss.
    StoreVss,
    /// sqlite-vec 0.1.9 as its crate builds it.
    SqliteVec,
    /// sqlite-vss 0.1.2 as its Python package has it.
    SqliteVss,
    /// usearch, f32.
    Usearch,
    /// hnswlib, in Python.
    Hnswlib,
    /// Faiss without an index, in Python.
    Faiss,
}

impl Kind {
    /// All there are, ours first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "Ginnel scan",
            Self::Exact => "Ginnel exact",
            Self::StoreVec => "Ginnel sqlite-vec",
            Self::StoreVss => "Ginnel sqlite-vss",
            Self::SqliteVec => "sqlite-vec 0.1.9",
            Self::SqliteVss => "sqlite-vss 0.1.2",
            Self::Usearch => "usearch f32",
            Self::Hnswlib => "hnswlib 0.8.0",
            Self::Faiss => "Faiss Flat",
        }
    }

    /// Whether it is the store's. Such are built again in each run.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self.engine().is_some()
    }

    /// Whether it is a graph, which is searched harder to find more.
    #[must_use]
    pub fn has_effort(self) -> bool {
        matches!(self, Self::Usearch | Self::Hnswlib)
    }

    /// Whether rows can be added to it durably, one by one.
    #[must_use]
    pub fn commits(self) -> bool {
        matches!(
            self,
            Self::Scan | Self::StoreVec | Self::StoreVss | Self::SqliteVec | Self::SqliteVss
        )
    }

    /// Whether filters are part of its search, and not a call of Python for
    /// each row.
    #[must_use]
    pub fn filters(self) -> bool {
        !matches!(self, Self::SqliteVss | Self::Hnswlib | Self::Faiss)
    }

    /// Whether it can hold so many vectors of so many dimensions: sqlite-vss
    /// keeps all of them in one value of SQLite, of 1 GB at most.
    #[must_use]
    pub fn holds(self, count: usize, dimensions: usize) -> bool {
        let vss = matches!(self, Self::StoreVss | Self::SqliteVss);
        !vss || count.saturating_mul(dimensions * 4 + 8) < 1_000_000_000
    }

    fn engine(self) -> Option<Engine> {
        match self {
            Self::Scan => Some(Engine::Scan),
            Self::Exact => Some(Engine::Exact),
            Self::StoreVec => Some(Engine::SqliteVec),
            Self::StoreVss => Some(Engine::SqliteVss),
            Self::SqliteVec | Self::SqliteVss | Self::Usearch | Self::Hnswlib | Self::Faiss => None,
        }
    }

    fn in_python(self) -> bool {
        matches!(self, Self::Hnswlib | Self::Faiss)
    }

    /// The engine itself, in its own process.
    ///
    /// # Errors
    /// This program was built without it.
    pub fn start(self, place: &Place, dimensions: usize) -> anyhow::Result<Box<dyn Subject>> {
        if let Some(engine) = self.engine() {
            return Ok(Box::new(Ours::new(engine, place, dimensions)));
        }
        self.start_peer(place, dimensions)
    }

    #[cfg(feature = "peers")]
    fn start_peer(self, place: &Place, dimensions: usize) -> anyhow::Result<Box<dyn Subject>> {
        use super::bare::{Bare, Extension};
        use super::usearch::Usearch;

        Ok(match self {
            Self::SqliteVec => Box::new(Bare::new(Extension::Vec, place, dimensions)),
            Self::SqliteVss => Box::new(Bare::new(Extension::Vss, place, dimensions)),
            Self::Usearch => Box::new(Usearch::new(place, dimensions)),
            Self::Scan
            | Self::Exact
            | Self::StoreVec
            | Self::StoreVss
            | Self::Hnswlib
            | Self::Faiss => bail!("not a peer of this program, subject={self}"),
        })
    }

    #[cfg(not(feature = "peers"))]
    fn start_peer(self, _place: &Place, _dimensions: usize) -> anyhow::Result<Box<dyn Subject>> {
        bail!("built without peers; hint: add --features peers, subject={self}")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The process of a subject; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    kind: Kind,
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(kind: Kind, place: &Place) -> anyhow::Result<Self> {
        let mut command = if kind.in_python() {
            let mut command = Command::new(place.python.join("bin/python"));
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/peer.py"));
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["part", "vectors"]);
            command
        };
        let name = kind.to_possible_value().context("subject has no name")?;
        let mut child = command
            .arg(name.get_name())
            .args([
                place.sets.as_path(),
                Path::new(&place.set),
                &place.folder,
                &place.python,
            ])
            // One query is one thread's work; BLAS and OpenMP would use all.
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {kind}"))?;
        let asks = child.stdin.take();
        let answers = child.stdout.take().context("output is not a pipe")?;
        Ok(Self {
            kind,
            child,
            asks,
            answers: BufReader::new(answers),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// It ended, or cannot do it.
    pub fn ask<T: DeserializeOwned>(&mut self, ask: &Ask) -> anyhow::Result<T> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        let asks = self.asks.as_mut().context("process is ending")?;
        asks.write_all(line.as_bytes())?;
        asks.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!(
                "process ended while asked, subject={}, ask={ask:?}",
                self.kind
            );
        }
        match serde_json::from_str(&answer)? {
            Answer::Done(done) => Ok(done),
            Answer::Failed { error } => bail!("{}: {error}", self.kind),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends by itself when nobody asks any more.
        self.asks = None;
        let _ = self.child.wait();
    }
}
