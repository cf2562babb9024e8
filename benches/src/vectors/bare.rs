//! SQLite's vector extensions as shipped, without the store around them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;

use super::ask::{Built, Look, UNFILTERED, passes};
use super::clock::timed;
use super::files::bytes_in;
use super::python::vss_folder;
use super::serve::{Place, Subject, WANTED, Worker};
use super::set::{Vectors, bytes_of};

/// Which extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// `vec0` of the crate `sqlite-vec`.
    Vec,
    /// `vss0` of the Python package `sqlite-vss`.
    Vss,
}

impl Extension {
    /// A vector as the extension takes it. sqlite-vss takes bare values too,
    /// but one vector of 65,536 begins like its own format by chance, is read
    /// as one value shorter, and shifts all that follow in its transaction.
    fn bytes_of(self, vector: &[f32]) -> Vec<u8> {
        let mut bytes = match self {
            Self::Vec => Vec::new(),
            Self::Vss => vec![b'v', 1],
        };
        bytes.extend(bytes_of(vector));
        bytes
    }
}

/// A virtual table in a database.
#[derive(Debug)]
pub struct Bare {
    extension: Extension,
    folder: PathBuf,
    python: PathBuf,
    dimensions: usize,
    writer: Option<Connection>,
}

impl Bare {
    /// Not opened yet.
    #[must_use]
    pub fn new(extension: Extension, place: &Place, dimensions: usize) -> Self {
        Self {
            extension,
            folder: place.folder.clone(),
            python: place.python.clone(),
            dimensions,
            writer: None,
        }
    }

    fn connect(&self) -> anyhow::Result<Connection> {
        let database = self.folder.join("bare.db");
        let connection = match self.extension {
            Extension::Vec => {
                register_vec()?;
                Connection::open(database)?
            }
            Extension::Vss => {
                let connection = Connection::open(database)?;
                load_vss(&connection, &self.python)?;
                connection
            }
        };
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        Ok(connection)
    }

    fn insert(&self, connection: &Connection, row: u32, vector: &[f32]) -> anyhow::Result<()> {
        let mut insert =
            connection.prepare_cached("INSERT INTO near (rowid, vector) VALUES (?, ?)")?;
        insert.execute((i64::from(row) + 1, self.extension.bytes_of(vector)))?;
        Ok(())
    }

    /// Rows in a transaction: sqlite-vss takes longer for each row the more of
    /// them there are.
    fn batch(&self) -> usize {
        match self.extension {
            Extension::Vec => 10_000,
            Extension::Vss => 2_000,
        }
    }
}

impl Subject for Bare {
    fn build(&self, base: &Vectors) -> anyhow::Result<Built> {
        let ((), index) = timed(|| {
            let connection = self.connect()?;
            let table = match self.extension {
                Extension::Vec => format!(
                    "CREATE VIRTUAL TABLE near USING vec0(vector float[{}])",
                    self.dimensions
                ),
                Extension::Vss => {
                    format!(
                        "CREATE VIRTUAL TABLE near USING vss0(vector({}))",
                        self.dimensions
                    )
                }
            };
            connection.execute_batch(&table)?;
            connection.execute_batch("BEGIN")?;
            base.each(|row, vector| {
                self.insert(&connection, u32::try_from(row)?, vector)?;
                if (row + 1) % self.batch() == 0 {
                    connection.execute_batch("COMMIT; BEGIN")?;
                }
                Ok(())
            })?;
            connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
            Ok(())
        })?;
        Ok(Built {
            index,
            index_bytes: bytes_in(&self.folder)?,
            ..Built::default()
        })
    }

    fn open(&mut self) -> anyhow::Result<Box<dyn Worker>> {
        Ok(Box::new(Searcher {
            extension: self.extension,
            connection: self.connect()?,
            filtered: false,
        }))
    }

    fn commit(&mut self, row: u32, vector: &[f32]) -> anyhow::Result<()> {
        if self.writer.is_none() {
            self.writer = Some(self.connect()?);
        }
        let connection = self.writer.as_ref().context("no connection")?;
        self.insert(connection, row, vector)
    }
}

struct Searcher {
    extension: Extension,
    connection: Connection,
    filtered: bool,
}

impl Worker for Searcher {
    fn prepare(&mut self, look: Look) -> anyhow::Result<()> {
        self.filtered = look.percent < UNFILTERED;
        if !self.filtered {
            return Ok(());
        }
        ensure!(
            self.extension == Extension::Vec,
            "sqlite-vss filters only what it has found"
        );
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS passing (id INTEGER PRIMARY KEY);
             DELETE FROM passing; BEGIN",
        )?;
        let last: i64 = self
            .connection
            .query_row("SELECT max(rowid) FROM near", [], |row| row.get(0))?;
        for row in (0..u32::try_from(last)?).filter(|row| passes(*row, look.percent)) {
            let mut insert = self
                .connection
                .prepare_cached("INSERT INTO passing VALUES (?)")?;
            insert.execute([i64::from(row) + 1])?;
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn search(&mut self, query: &[f32]) -> anyhow::Result<Vec<u32>> {
        let sql = match (self.extension, self.filtered) {
            (Extension::Vec, false) => "SELECT rowid FROM near WHERE vector MATCH ? AND k = ?",
            (Extension::Vec, true) => {
                "SELECT rowid FROM near WHERE vector MATCH ? AND k = ?
                 AND rowid IN (SELECT id FROM passing)"
            }
            (Extension::Vss, _) => {
                "SELECT rowid FROM near WHERE vss_search(vector, vss_search_params(?, ?))"
            }
        };
        let mut select = self.connection.prepare_cached(sql)?;
        let ids = select.query_map(
            (self.extension.bytes_of(query), i64::try_from(WANTED)?),
            |row| row.get::<_, i64>(0),
        )?;
        ids.map(|id| Ok(u32::try_from(id? - 1)?)).collect()
    }
}

/// Makes `vec0` known to all connections from now on.
#[expect(unsafe_code, reason = "SQLite takes extensions as bare functions")]
fn register_vec() -> anyhow::Result<()> {
    type Entry = unsafe extern "C" fn(
        *mut rusqlite::ffi::sqlite3,
        *mut *mut std::ffi::c_char,
        *const rusqlite::ffi::sqlite3_api_routines,
    ) -> std::ffi::c_int;
    // SAFETY: the function is an extension's entry point, which has this type,
    // whatever the crate declares; SQLite ignores a second registration.
    let code = unsafe {
        let entry =
            std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
        rusqlite::ffi::sqlite3_auto_extension(Some(entry))
    };
    ensure!(
        code == rusqlite::ffi::SQLITE_OK,
        "sqlite-vec is refused, code={code}"
    );
    Ok(())
}

/// Makes `vss0` known to a connection.
#[expect(unsafe_code, reason = "an extension is foreign code")]
fn load_vss(connection: &Connection, python: &Path) -> anyhow::Result<()> {
    let folder = vss_folder(python)?;
    // SAFETY: the files are those of the published package, and nothing else
    // runs on the connection.
    unsafe {
        connection.load_extension_enable()?;
        connection.load_extension(folder.join("vector0"), None::<&str>)?;
        connection.load_extension(folder.join("vss0"), None::<&str>)?;
    }
    Ok(connection.load_extension_disable()?)
}
