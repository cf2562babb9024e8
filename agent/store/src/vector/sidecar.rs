//! The database file of an engine that is an extension of SQLite. It lies
//! beside the store's own and is never the truth: what does not fit is thrown
//! away and made anew from the rows.
//!
//! One connection, which locks the file for itself, so that two programs never
//! write to it. With that lock SQLite needs no shared memory file either.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::Spec;
use crate::error::{Error, ErrorKind, Result};

/// What SQLite keeps of the file in memory.
pub(crate) const CACHE_BYTES: u64 = 2 << 20;

/// Where it is, what it is of, and how it is prepared.
#[derive(Debug, Clone)]
pub(crate) struct Sidecar {
    path: PathBuf,
    spec: Spec,
    /// Changes whenever the tables do.
    format: &'static str,
}

impl Sidecar {
    /// In a folder of its own, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(folder: &Path, spec: &Spec, format: &'static str) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        Ok(Self {
            path: folder.join("index.db"),
            spec: spec.clone(),
            format,
        })
    }

    /// Connects to it, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be opened or is no database.
    pub(crate) fn connect(&self) -> Result<Connection> {
        self.open()
            .map_err(|error| error.with("index", &self.path.display()))
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = 8192;
             PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA trusted_schema = OFF;
             PRAGMA cache_size = -{};",
            CACHE_BYTES / 1024
        ))?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }

    /// Whether it was made by this code and of the same rows.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn fits(&self, connection: &Connection) -> Result<bool> {
        let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'ginnel'";
        if connection.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(false);
        }
        let found = connection
            .query_row("SELECT spec FROM ginnel", [], |row| row.get::<_, String>(0))
            .optional()?;
        Ok(found == Some(self.describe()))
    }

    /// Writes down what it is of. Called once, in the transaction that makes
    /// the engine's own tables.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write_spec(&self, connection: &Connection) -> Result<()> {
        connection.execute_batch("CREATE TABLE ginnel(spec TEXT, watermark INTEGER)")?;
        connection.execute("INSERT INTO ginnel VALUES (?, 0)", [self.describe()])?;
        Ok(())
    }

    /// Removes the file, and those that SQLite puts beside it.
    ///
    /// # Errors
    /// One of them stays.
    pub(crate) fn remove(&self) -> Result<()> {
        for path in self.files() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::file(&path, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// How large the files are together.
    pub(crate) fn bytes(&self) -> u64 {
        let length = |path| fs::metadata(path).map_or(0, |file| file.len());
        self.files().into_iter().map(length).sum()
    }

    fn files(&self) -> [PathBuf; 3] {
        ["", "-wal", "-journal"].map(|suffix| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            path.into()
        })
    }

    fn describe(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (database, model): (String, String) = (hex(&self.spec.database), hex(&self.spec.model));
        format!(
            "format={} database={database} model={model} dimensions={} metric={}",
            self.format, self.spec.dimensions, self.spec.metric
        )
    }
}

/// Up to which change the file has the rows; 0 if it has to be made anew.
///
/// # Errors
/// It cannot be read.
pub(crate) fn watermark(connection: &Connection) -> Result<u64> {
    let mut statement = connection.prepare_cached("SELECT watermark FROM ginnel")?;
    let watermark: i64 = statement.query_row([], |row| row.get(0))?;
    u64::try_from(watermark)
        .map_err(|_| Error::corrupt(format!("bad watermark, found={watermark}")))
}

/// Writes the watermark, in the transaction of the changes up to it.
///
/// # Errors
/// It cannot be written, or is beyond what SQLite can count.
pub(crate) fn write_watermark(connection: &Connection, watermark: u64) -> Result<()> {
    let watermark = i64::try_from(watermark)
        .map_err(|_| Error::invalid(format!("watermark is too large, found={watermark}")))?;
    let mut statement = connection.prepare_cached("UPDATE ginnel SET watermark = ?")?;
    statement.execute([watermark])?;
    Ok(())
}

/// Moves all that was written from the log into the file and onto the disk.
///
/// # Errors
/// It cannot be written.
pub(crate) fn checkpoint(connection: &Connection) -> Result<()> {
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    })?;
    if busy != 0 {
        return Err(Error::new(ErrorKind::Unavailable, "index is busy"));
    }
    Ok(())
}

/// Whether an error of opening means that the file is of no use, and not that
/// the disk or another program is in the way.
pub(crate) fn is_useless(error: &Error) -> bool {
    error.kind() != ErrorKind::Unavailable
}

/// Values as an extension takes and gives them.
pub(crate) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
