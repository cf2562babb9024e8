//! What lies in the models folder.

use std::fs::{self, DirEntry, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ginnel_proto::artifact::Artifact;

use super::BlobFolder;
use super::path::BlobPath;
use super::place::UNFINISHED;
use super::stamp::Stamp;
use crate::error::{Error, Result};

/// Files that are looked at; a folder with more is not one of models.
const FILES_MAX: usize = 100_000;

/// Folders in folders: the deepest artifact has three above it.
const DEPTH_MAX: usize = 3;

/// What lies in the models folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files of artifacts, by path.
    pub files: Vec<Found>,
    /// What cannot be an artifact's file, and why, by path.
    pub strays: Vec<Stray>,
}

/// The file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: BlobPath,
    /// Whose it is.
    pub artifact: Artifact,
    /// What it is like.
    pub stamp: Stamp,
    /// How many names it has: with more than one, its bytes stay on the disk
    /// when this one goes.
    pub links: u64,
}

/// Something that is no artifact's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Below the models folder.
    pub path: String,
    /// Why it is none.
    pub reason: String,
}

impl BlobFolder {
    /// Looks through the folder. Files whose names begin with a dot, and
    /// descriptions beside adapters (`README.md`, `metadata.json`), are passed
    /// over.
    ///
    /// # Errors
    /// A folder cannot be read, or there are too many files.
    pub fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut left = FILES_MAX;
        self.walk(self.root(), 0, &mut |entry, path| {
            left = left.checked_sub(1).ok_or_else(|| self.too_many())?;
            match look(entry, path) {
                Ok(Some(found)) => contents.files.push(found),
                Ok(None) => {}
                Err(reason) => contents.strays.push(Stray {
                    path: path.to_owned(),
                    reason: reason.to_string(),
                }),
            }
            Ok(())
        })?;
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        contents.strays.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }

    /// The file of an artifact, if it is there.
    ///
    /// # Errors
    /// What is there is no plain file of this folder, or cannot be looked at.
    pub fn found(&self, path: &BlobPath) -> Result<Option<Found>> {
        if self.stamp(path)?.is_none() {
            return Ok(None);
        }
        let place = self.place_of(path);
        let found = fs::symlink_metadata(&place).map_err(|error| Error::file(&place, error))?;
        describe(&found, path.as_str()).map(Some)
    }

    /// Takes unfinished files away that nobody wrote to for `idle`, but those
    /// that `is_wanted`, by their places. Gives how many bytes that freed.
    ///
    /// # Errors
    /// A folder cannot be read, or a file not be taken away.
    pub fn discard_stale(&self, idle: Duration, is_wanted: impl Fn(&Path) -> bool) -> Result<u64> {
        let mut freed = 0;
        let now = SystemTime::now();
        self.walk_all(self.root(), 0, &mut |entry, path| {
            let place = entry.path();
            let found = entry
                .metadata()
                .map_err(|error| Error::file(&place, error))?;
            let written = found.modified().unwrap_or(now);
            let is_stale = now.duration_since(written).is_ok_and(|age| age >= idle);
            if is_unfinished(path) && found.is_file() && is_stale && !is_wanted(&place) {
                fs::remove_file(&place).map_err(|error| Error::file(&place, error))?;
                freed += found.len();
            }
            Ok(())
        })?;
        Ok(freed)
    }

    /// Calls `each` with every file that is not hidden, and its path below the
    /// folder.
    fn walk(
        &self,
        folder: &Path,
        depth: usize,
        each: &mut dyn FnMut(&DirEntry, &str) -> Result<()>,
    ) -> Result<()> {
        self.walk_all(folder, depth, &mut |entry, path| {
            let name = entry.file_name();
            match name.as_encoded_bytes().starts_with(b".") {
                true => Ok(()),
                false => each(entry, path),
            }
        })
    }

    fn walk_all(
        &self,
        folder: &Path,
        depth: usize,
        each: &mut dyn FnMut(&DirEntry, &str) -> Result<()>,
    ) -> Result<()> {
        let told = |error| Error::file(folder, error);
        for entry in fs::read_dir(folder).map_err(told)? {
            let entry = entry.map_err(told)?;
            // Of the entry itself: links are not followed.
            let kind = entry.file_type().map_err(told)?;
            let place = entry.path();
            let below = place.strip_prefix(self.root()).unwrap_or(&place);
            let mut path = below.to_string_lossy().into_owned();
            if cfg!(windows) {
                path = path.replace('\\', "/");
            }
            match kind.is_dir() && depth < DEPTH_MAX {
                true => self.walk_all(&place, depth + 1, each)?,
                false => each(&entry, &path)?,
            }
        }
        Ok(())
    }

    fn too_many(&self) -> Error {
        Error::invalid(format!(
            "the models folder has more than {FILES_MAX} files, path={}; hint: set models.folder to one of its own",
            self.root().display()
        ))
    }
}

/// The artifact's file at a path; `None` if it is to be passed over.
fn look(entry: &DirEntry, path: &str) -> Result<Option<Found>> {
    if is_description(path) {
        return Ok(None);
    }
    let place = entry.path();
    let found = entry
        .metadata()
        .map_err(|error| Error::file(&place, error))?;
    if !found.is_file() {
        return Err(super::no_plain_file(&place));
    }
    describe(&found, path).map(Some)
}

fn describe(found: &Metadata, path: &str) -> Result<Found> {
    let (path, artifact) = BlobPath::parse(path)?;
    #[cfg(unix)]
    let links = std::os::unix::fs::MetadataExt::nlink(found);
    #[cfg(not(unix))]
    let links = 1;
    Ok(Found {
        path,
        artifact,
        stamp: Stamp::of(found),
        links,
    })
}

/// What lies beside an adapter and is no blob of its own.
fn is_description(path: &str) -> bool {
    path.starts_with("loras/")
        && matches!(
            path.rsplit_once('/'),
            Some((_, "README.md" | "metadata.json"))
        )
}

fn is_unfinished(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.starts_with('.') && name.ends_with(UNFINISHED)
}
