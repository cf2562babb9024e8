//! Opens the engine that was chosen.

use std::path::{Path, PathBuf};

use super::{ModelIndex, Place};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::options::Executor;
use crate::vector::engine::Engine;
use crate::vector::exact::Exact;
use crate::vector::scan::{self, Scan, Upkeep};
use crate::vector::sqlite_vec::SqliteVec;
use crate::vector::sqlite_vss::{Extension, SqliteVss};
use crate::vector::{Spec, VectorIndex};

/// Whether the engine that was chosen is there at all, and removes the files of
/// others: they do not follow any more, and may never be asked again.
pub(super) fn prepare(place: &Place, models: &[Model]) -> Result<()> {
    if place.engine == Engine::SqliteVss {
        extension(place)?;
    }
    let kept: Vec<PathBuf> = models.iter().map(|model| folder(place, model)).collect();
    let Ok(entries) = std::fs::read_dir(&place.folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if !kept.contains(&entry.path()) {
            remove_folder(&entry.path());
        }
    }
    Ok(())
}

/// The index of a model, or what stands in for it.
pub(super) struct Opened {
    pub(super) index: Box<dyn VectorIndex>,
    /// Why the engine that was chosen is not the one that answers.
    pub(super) problem: Option<String>,
}

/// The index of a model, from its files if they are there and whole. A model
/// that the engine cannot do is searched without an index.
pub(super) fn open(place: &Place, model: &Model, spec: &Spec) -> Opened {
    match open_chosen(place, model, spec) {
        Ok(index) => Opened {
            index,
            problem: None,
        },
        Err(error) => {
            tracing::warn!(
                error = %error,
                model = model.name,
                engine = %place.engine,
                "no vector index for this model, every row is read"
            );
            Opened {
                index: Box::new(Exact::new(spec.clone())),
                problem: Some(error.to_string()),
            }
        }
    }
}

fn open_chosen(place: &Place, model: &Model, spec: &Spec) -> Result<Box<dyn VectorIndex>> {
    let folder = folder(place, model);
    Ok(match place.engine {
        Engine::Exact => Box::new(Exact::new(spec.clone())),
        Engine::SqliteVec => Box::new(SqliteVec::open(&folder, spec)?),
        Engine::SqliteVss => Box::new(SqliteVss::open(&folder, spec, &extension(place)?)?),
        Engine::Scan => Box::new(scan(place, &folder, spec)?),
    })
}

fn scan(place: &Place, folder: &Path, spec: &Spec) -> Result<Scan> {
    let options = scan::Options {
        upkeep: match place.executor {
            Executor::Threads => Upkeep::Thread,
            Executor::Inline => Upkeep::Calls,
        },
        ..scan::Options::default()
    };
    let scan = Scan::open(folder, spec.clone(), options)?;
    if let Some(reason) = scan.discarded() {
        tracing::warn!(reason, folder = %folder.display(), "vector index is made anew");
    }
    Ok(scan)
}

/// Where sqlite-vss comes from.
fn extension(place: &Place) -> Result<Extension> {
    match &place.vss_folder {
        Some(folder) => Ok(Extension::Folder(folder.clone())),
        #[cfg(feature = "vss-static")]
        None => Ok(Extension::Linked),
        #[cfg(not(feature = "vss-static"))]
        None => Err(Error::invalid(
            "sqlite-vss is the vector engine, but nobody said where it is; hint: set store.vss_dir",
        )),
    }
}

/// Removes the files of an index that nobody needs any more.
pub(super) fn remove(place: &Place, index: &ModelIndex) {
    remove_folder(&folder(place, &index.model));
}

fn remove_folder(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(error = %error, path = %folder.display(), "index is left behind");
        }
        _ => {}
    }
}

/// A folder for each model and engine.
fn folder(place: &Place, model: &Model) -> PathBuf {
    let name = format!("{}.{}", model.id, place.engine);
    place.folder.join(name)
}
