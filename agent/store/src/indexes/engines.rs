//! Opens the engine that was chosen.

use std::path::PathBuf;

use super::{ModelIndex, Place};
use crate::error::Result;
use crate::model::Model;
use crate::vector::engine::Engine;
use crate::vector::exact::Exact;
use crate::vector::sqlite_vec::SqliteVec;
use crate::vector::{Spec, VectorIndex};

/// The index of a model, from its files if they are there and whole.
pub(super) fn open(place: &Place, model: &Model, spec: &Spec) -> Result<Box<dyn VectorIndex>> {
    let folder = folder(place, model);
    Ok(match place.engine {
        Engine::SqliteVec => Box::new(SqliteVec::open(&folder, spec)?),
        Engine::Scan | Engine::SqliteVss | Engine::Exact => Box::new(Exact::new(spec.clone())),
    })
}

/// Removes the files of an index that nobody needs any more.
pub(super) fn remove(place: &Place, index: &ModelIndex) {
    let folder = folder(place, &index.model);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(error = %error, path = %folder.display(), "index is left behind");
        }
        _ => {}
    }
}

/// A folder for each model and engine, so that switching back finds what was
/// there and catches up.
fn folder(place: &Place, model: &Model) -> PathBuf {
    let name = format!("{}.{}", model.id, place.engine);
    place.folder.join(name)
}
