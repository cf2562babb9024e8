//! Files that are being written, and how they get to their places.
//!
//! ```text
//! .phi.gguf.1a2b….partial ── written, synced ──▶ renamed phi.gguf ── folder synced
//! ```
//!
//! A crash at any instant leaves the old file, or the new one, whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ginnel_blob::hash::Hash;

use super::path::BlobPath;
use super::stamp::Stamp;
use super::{BlobFolder, is_absent, make_private};
use crate::error::{Error, Result};

/// What names of unfinished files end with; they begin with a dot.
pub(super) const UNFINISHED: &str = ".partial";

/// Whether a file may be put where another one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It takes the place of what is there.
    Anything,
    /// Nothing may be there.
    Nothing,
}

/// A file on its way to its place, beside it. It stays when this is dropped,
/// so that work on it can go on later.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    place: PathBuf,
    target: PathBuf,
}

impl BlobFolder {
    /// The unfinished file of a blob on its way to `path`: what an earlier
    /// attempt left, or a new one. It has `size` bytes on the disk from the
    /// beginning, so that a full disk shows before anything is fetched.
    ///
    /// # Errors
    /// `Unavailable` when the disk is full; or it cannot be made.
    pub fn unfinished(&self, path: &BlobPath, blob: Hash, size: u64) -> Result<Unfinished> {
        let unfinished = self.open_unfinished(path, &blob.to_string()[..16])?;
        unfinished.reserve(size)?;
        Ok(unfinished)
    }

    /// Takes the unfinished file of a blob away. Tells whether there was one.
    ///
    /// # Errors
    /// It cannot be taken away.
    pub fn discard_unfinished(&self, path: &BlobPath, blob: Hash) -> Result<bool> {
        let place = self.unfinished_of(path, blob);
        match fs::remove_file(&place) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::file(&place, error)),
        }
    }

    /// Where the unfinished file of a blob is or would be.
    #[must_use]
    pub fn unfinished_of(&self, path: &BlobPath, blob: Hash) -> PathBuf {
        self.unfinished_place(path, &blob.to_string()[..16])
    }

    /// `mark` tells it from others on their way to the same place.
    pub(super) fn open_unfinished(&self, path: &BlobPath, mark: &str) -> Result<Unfinished> {
        let place = self.unfinished_place(path, mark);
        self.make_parent(&place)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            let flags = rustix::fs::OFlags::NOFOLLOW.bits();
            options.mode(0o600);
            options.custom_flags(i32::try_from(flags).unwrap_or_default());
        }
        let file = options
            .open(&place)
            .map_err(|error| Error::file(&place, error))?;
        Ok(Unfinished {
            file,
            place,
            target: self.place_of(path),
        })
    }

    pub(super) fn unfinished_place(&self, path: &BlobPath, mark: &str) -> PathBuf {
        let name = format!(".{}.{mark}{UNFINISHED}", path.file_name());
        self.place_of(path).with_file_name(name)
    }

    /// Makes the folder that `place` is to be in.
    pub(super) fn make_parent(&self, place: &Path) -> Result<()> {
        if let Some(parent) = place.parent() {
            make_private(parent).map_err(|error| Error::file(parent, error))?;
        }
        self.check_inside(place)
    }
}

impl Unfinished {
    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is until it is placed.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Writes bytes from `offset` on.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        write_all_at(&self.file, offset, bytes).map_err(|error| Error::file(&self.place, error))
    }

    /// Reads bytes from `offset` on, as many as fit.
    ///
    /// # Errors
    /// They are not there, or cannot be read.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, offset, bytes).map_err(|error| Error::file(&self.place, error))
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|error| Error::file(&self.place, error))
    }

    /// Puts the file in its place, whole and on the disk. What it was verified
    /// against is the caller's business.
    ///
    /// # Errors
    /// Something is there already and may not be replaced (`Invalid`), or the
    /// disk fails. The unfinished file is still there then.
    pub fn finish(self, over: Over) -> Result<Stamp> {
        let told = |error| Error::file(&self.place, error);
        self.file.sync_all().map_err(told)?;
        move_to(&self.place, &self.target, over)?;
        let found = self.file.metadata();
        let found = found.map_err(|error| Error::file(&self.target, error))?;
        Ok(Stamp::of(&found))
    }

    /// Has `size` bytes on the disk, and no more.
    fn reserve(&self, size: u64) -> Result<()> {
        let told = |error| Error::file(&self.place, error);
        #[cfg(target_os = "linux")]
        if size > 0 {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&self.file, flags, 0, size) {
                Ok(())
                // The file system cannot; it then shows when it is full.
                | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(told(error.into())),
            }
        }
        self.file.set_len(size).map_err(told)
    }
}

/// Renames a file and syncs the folder.
pub(super) fn move_to(from: &Path, to: &Path, over: Over) -> Result<()> {
    let moved = match over {
        Over::Anything => fs::rename(from, to),
        Over::Nothing => move_to_nothing(from, to),
    };
    moved.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            taken(to)
        } else {
            Error::file(to, error)
        }
    })?;
    match to.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// There is something, and it may not be replaced.
pub(super) fn taken(place: &Path) -> Error {
    Error::invalid(format!(
        "there is a file already, path={}; hint: remove it first or choose another name",
        place.display()
    ))
}

/// Renames a file, unless there is something already.
fn move_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    // Unlike a rename, a second name is not made over what is there, whoever
    // was quicker.
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        // The file system has no second names.
        Err(_) => fs::rename(from, to),
    }
}

/// Waits until the names in a folder are on the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    // Windows cannot sync a folder and needs not to.
    if cfg!(windows) {
        return Ok(());
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::file(folder, error))
}

#[cfg(unix)]
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}
