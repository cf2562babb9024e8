//! Taking over files of other programs without a second copy of their bytes.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use ginnel_blob::format::Format;

use super::path::BlobPath;
use super::place::{Over, sync_folder, taken};
use super::read::inspect;
use super::stamp::Stamp;
use super::{BlobFolder, open_plain};
use crate::error::{Error, Result};

/// How a file may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Only so that both have the same bytes on the disk.
    Required,
    /// Copied where the bytes cannot be shared.
    OrCopy,
}

/// How a file was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Both have the same bytes until one of them is written to.
    Reflink,
    /// Both are the same file.
    HardLink,
    /// They have nothing in common.
    Copy,
}

impl Shared {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::HardLink => "hard link",
            Self::Copy => "copy",
        }
    }
}

/// A file that was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// What it is like.
    pub stamp: Stamp,
    /// Its kind.
    pub format: Format,
    /// How it was taken over.
    pub shared: Shared,
}

impl BlobFolder {
    /// Takes over a file from elsewhere, which stays. Links are followed.
    /// Blocks as long as a copy takes, if it comes to that.
    ///
    /// # Errors
    /// `Invalid`: a pickle, a header that lies, a name that is taken, or bytes
    /// that cannot be shared and may not be copied. Or it cannot be read, or
    /// the disk is full.
    pub fn adopt(&self, source: &Path, path: &BlobPath, sharing: Sharing) -> Result<Adopted> {
        let source = source
            .canonicalize()
            .map_err(|error| Error::file(source, error))?;
        let mut file = open_plain(&source)?;
        let found = file
            .metadata()
            .map_err(|error| Error::file(&source, error))?;
        let inspected = inspect(&mut file, Stamp::of(&found), path.file_name(), &source)?;
        let target = self.place_of(path);
        if target.symlink_metadata().is_ok() {
            return Err(taken(&target));
        }
        let (shared, stamp) = self.share(&file, &source, path, sharing)?;
        Ok(Adopted {
            stamp,
            format: inspected.format,
            shared,
        })
    }

    fn share(
        &self,
        file: &File,
        source: &Path,
        path: &BlobPath,
        sharing: Sharing,
    ) -> Result<(Shared, Stamp)> {
        let mark = format!("{:016x}", fastrand::u64(..));
        let unfinished = self.open_unfinished(path, &mark)?;
        if reflink(file, unfinished.file()).is_ok() {
            return Ok((Shared::Reflink, unfinished.finish(Over::Nothing)?));
        }
        let target = self.place_of(path);
        // In one step and synced with the folder: the file is whole already.
        let linked = fs::hard_link(source, &target);
        if linked.is_ok() {
            let _ = fs::remove_file(unfinished.place());
            if let Some(folder) = target.parent() {
                sync_folder(folder)?;
            }
            let found = file
                .metadata()
                .map_err(|error| Error::file(source, error))?;
            return Ok((Shared::HardLink, Stamp::of(&found)));
        }
        if let (Sharing::Required, Err(error)) = (sharing, linked) {
            let _ = fs::remove_file(unfinished.place());
            return Err(not_shared(source, &target, &error));
        }
        let place = unfinished.place().to_owned();
        let copied = copy(file, unfinished.file())
            .map_err(|error| Error::file(&place, error))
            .and_then(|()| unfinished.finish(Over::Nothing));
        if copied.is_err() {
            let _ = fs::remove_file(&place);
        }
        Ok((Shared::Copy, copied?))
    }
}

fn not_shared(source: &Path, target: &Path, error: &io::Error) -> Error {
    let reason = if error.kind() == io::ErrorKind::CrossesDevices {
        "they are on different disks".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "the file is another user's".to_owned()
    } else {
        error.to_string()
    };
    Error::invalid(format!(
        "bytes cannot be shared, reason={reason}, path={}, target={}; hint: --copy makes a second copy",
        source.display(),
        target.display()
    ))
}

/// Has `to` share the bytes of `from`, where the file system can (Btrfs, XFS,
/// bcachefs, APFS has another way).
fn reflink(from: &File, to: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::fs::ioctl_ficlone(to, from)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn copy(from: &File, to: &File) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    let mut from = from;
    from.seek(SeekFrom::Start(0))?;
    let mut to = to;
    io::copy(&mut from, &mut to).map(drop)
}
