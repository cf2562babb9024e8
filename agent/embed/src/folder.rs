//! The folder of a model: small files are read whole, within limits.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::Error;

/// The largest `tokenizer.json`, in bytes: one of 250,000 pieces, the most
/// that such models have, takes 17 MB.
pub(crate) const TOKENIZER_MAX: u64 = 64 << 20;

/// The largest of the other JSON files, in bytes: they take a few hundred.
pub(crate) const SETTINGS_MAX: u64 = 1 << 20;

/// A JSON file of the folder, read and understood.
#[derive(Debug)]
pub(crate) struct Json<T> {
    pub(crate) file: PathBuf,
    pub(crate) value: T,
}

/// Reads a file that must be there.
pub(crate) fn json<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    limit: u64,
) -> Result<Json<T>, Error> {
    let file = folder.join(name);
    let opened = File::open(&file).map_err(|error| Error::read(&file, error))?;
    let mut bytes = Vec::new();
    let read = opened.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let length = read.map_err(|error| Error::read(&file, error))?;
    if length as u64 > limit {
        let expected = format!("at most {limit} bytes");
        return Err(Error::unfit(&file, "file is too large", expected, "more"));
    }
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Json { file, value }),
        Err(error) => Err(Error::unfit(&file, "not understood", "its JSON", error)),
    }
}

/// Reads a file that need not be there.
pub(crate) fn optional<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<Option<Json<T>>, Error> {
    match folder.join(name).try_exists() {
        Ok(false) => Ok(None),
        Ok(true) => json(folder, name, SETTINGS_MAX).map(Some),
        Err(error) => Err(Error::read(&folder.join(name), error)),
    }
}
