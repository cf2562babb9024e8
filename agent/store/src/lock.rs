//! One process at a time: the one that writes also keeps the indexes.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

const FILE_NAME: &str = "store.lock";

/// The right to use a store's folder, until dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held open, and with it the lock")] File);

impl Lock {
    /// Makes the folder if there is none.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        make_private(folder).map_err(|error| Error::file(folder, error))?;
        let path = folder.join(FILE_NAME);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "store is open in another process, folder={}",
                    folder.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(Error::file(&path, error)),
        }
    }
}

/// Makes the folder if there is none; what is in it is nobody else's business.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
