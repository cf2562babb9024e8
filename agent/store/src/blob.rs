//! Files of artifacts: the models folder, where every artifact is one plain
//! file under a name that people can read.
//!
//! ```text
//! MODELS/phi.gguf                             models/phi.gguf
//! MODELS/private/phi.gguf                     models/~/phi.gguf
//! MODELS/loras/ID/adapter.safetensors         loras/ID
//! MODELS/training/datasets/JOB/dataset.jsonl  training/datasets/JOB
//! MODELS/training/outputs/JOB/adapter.safetensors
//! ```
//!
//! A file is only ever replaced as a whole: written beside its place, synced,
//! renamed. Files that other programs put here are welcome. Nothing here knows
//! of the database; the caller notes in it what is done here. All calls but
//! [`BlobFolder::apart`] block.

pub mod adopt;
pub mod arrive;
pub mod find;
pub mod path;
pub mod place;
pub mod read;
pub mod stamp;
pub mod verify;

#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use path::BlobPath;
use stamp::Stamp;

/// Long pieces of work at once: each keeps a core and a disk busy, and holds
/// up to 8 MiB.
const APART_MAX: usize = 2;

/// The models folder. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct BlobFolder {
    /// Absolute and without links.
    root: PathBuf,
    turns: Arc<Semaphore>,
}

impl BlobFolder {
    /// The folder, which is made if it is not there, for its owner only.
    ///
    /// # Errors
    /// It cannot be made, or is no folder.
    pub fn open(root: &Path) -> Result<Self> {
        make_private(root).map_err(|error| Error::file(root, error))?;
        let root = root
            .canonicalize()
            .map_err(|error| Error::file(root, error))?;
        Ok(Self {
            root,
            turns: Arc::new(Semaphore::new(APART_MAX)),
        })
    }

    /// Where it is: absolute, without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file is or would be.
    #[must_use]
    pub fn place_of(&self, path: &BlobPath) -> PathBuf {
        let mut place = self.root.clone();
        place.extend(path.as_str().split('/'));
        place
    }

    /// What a file is like. `None` if there is none.
    ///
    /// # Errors
    /// What is there is no plain file of this folder, or cannot be looked at.
    pub fn stamp(&self, path: &BlobPath) -> Result<Option<Stamp>> {
        let place = self.place_of(path);
        let found = match fs::symlink_metadata(&place) {
            Err(error) if is_absent(&error) => return Ok(None),
            found => found.map_err(|error| Error::file(&place, error))?,
        };
        if !found.is_file() {
            return Err(no_plain_file(&place));
        }
        self.check_inside(&place)?;
        Ok(Some(Stamp::of(&found)))
    }

    /// Opens a file to read.
    ///
    /// # Errors
    /// `Missing` if there is none; else as [`BlobFolder::stamp`].
    pub fn open_file(&self, path: &BlobPath) -> Result<(File, Stamp)> {
        let place = self.place_of(path);
        if self.stamp(path)?.is_none() {
            let message = format!("there is no such file, path={}", place.display());
            return Err(Error::new(ErrorKind::Missing, message));
        }
        let file = open_plain(&place)?;
        let found = file
            .metadata()
            .map_err(|error| Error::file(&place, error))?;
        Ok((file, Stamp::of(&found)))
    }

    /// Takes a file away, and folders that are empty then. Tells whether it
    /// was there. Programs that have it open keep it until they close it.
    ///
    /// # Errors
    /// It is no plain file of this folder, or cannot be taken away.
    pub fn remove(&self, path: &BlobPath) -> Result<bool> {
        let place = self.place_of(path);
        if self.stamp(path)?.is_none() {
            return Ok(false);
        }
        fs::remove_file(&place).map_err(|error| Error::file(&place, error))?;
        let parents = place.ancestors().skip(1);
        for folder in parents.take_while(|folder| *folder != self.root) {
            // One that is not empty stays.
            if fs::remove_dir(folder).is_err() {
                place::sync_folder(folder)?;
                return Ok(true);
            }
        }
        place::sync_folder(&self.root)?;
        Ok(true)
    }

    /// Bytes that the disk has left for this user. `None` where that is not
    /// told.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let told = rustix::fs::statvfs(&self.root).ok()?;
            told.f_bavail.checked_mul(told.f_frsize)
        }
        #[cfg(not(unix))]
        None
    }

    /// Does long work on files on a thread that may block. The work ends with
    /// `Closed` soon after this is dropped, if it asks [`Stop`] now and then.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn apart<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Self, &Stop) -> Result<T> + Send + 'static,
    {
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await;
        let turn = turn.map_err(|_| Error::closed())?;
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let folder = self.clone();
        let work = move || {
            let done = work(&folder, &stop);
            drop(turn);
            done
        };
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|_| Error::new(ErrorKind::Internal, "work on a file broke off"))?
    }

    /// The place lies in this folder, whatever is linked where.
    fn check_inside(&self, place: &Path) -> Result<()> {
        let Some(parent) = place.parent() else {
            return Err(no_plain_file(place));
        };
        let real = parent
            .canonicalize()
            .map_err(|error| Error::file(parent, error))?;
        if !real.starts_with(&self.root) {
            return Err(Error::invalid(format!(
                "a link leads out of the models folder, path={}, to={}",
                parent.display(),
                real.display()
            )));
        }
        Ok(())
    }
}

/// Asked by work that can be broken off.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether the work should end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let Self(Stop(stop)) = self;
        stop.store(true, Ordering::Relaxed);
    }
}

/// Opens a plain file: neither a link at its end nor a pipe, which would be
/// waited for.
fn open_plain(place: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let file = options
        .open(place)
        .map_err(|error| Error::file(place, error))?;
    let found = file.metadata().map_err(|error| Error::file(place, error))?;
    match found.is_file() {
        true => Ok(file),
        false => Err(no_plain_file(place)),
    }
}

fn no_plain_file(place: &Path) -> Error {
    Error::invalid(format!(
        "not a plain file but a link, folder or device, path={}; hint: ginnel models import takes over what a link leads to",
        place.display()
    ))
}

/// Nothing is there, nor a folder where it could be.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Makes the folder and those above it.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
