//! A copy of the database that is whole, while it is in use.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, Result};
use crate::identity;

/// Writes a copy to `target`, which must not be there. It is a database of its
/// own: indexes of the original do not fit it.
pub(crate) fn backup(connection: &Connection, target: &Path) -> Result<u64> {
    if target.exists() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("there is a file already, path={}", target.display()),
        ));
    }
    let unfinished = unfinished(target);
    create(&unfinished)?;
    let copied = copy(connection, &unfinished).and_then(|bytes| {
        place(&unfinished, target).map_err(|error| Error::file(target, error))?;
        let folder = target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        sync(folder.unwrap_or_else(|| Path::new(".")))?;
        Ok(bytes)
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    copied
}

/// Gives the copy its name, unless somebody else took it meanwhile.
fn place(unfinished: &Path, target: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(unfinished, target) {
        Ok(()) => std::fs::remove_file(unfinished),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no links.
        Err(_) => std::fs::rename(unfinished, target),
    }
}

/// An empty file, for its owner only: whatever is in the store is in it soon.
fn create(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let created = options.open(path);
    created.map_err(|error| Error::file(path, error))?;
    Ok(())
}

fn copy(connection: &Connection, unfinished: &Path) -> Result<u64> {
    let name = unfinished.to_str().ok_or_else(|| {
        Error::invalid(format!("path is not text, path={}", unfinished.display()))
    })?;
    // Only the copy is written.
    connection.pragma_update(None, "query_only", false)?;
    connection.execute("VACUUM INTO ?1", [name])?;
    let copy = Connection::open(unfinished)?;
    copy.pragma_update(None, "synchronous", "FULL")?;
    identity::renew(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    sync(unfinished)?;
    let written = std::fs::metadata(unfinished);
    Ok(written
        .map_err(|error| Error::file(unfinished, error))?
        .len())
}

fn sync(path: &Path) -> Result<()> {
    // Windows cannot sync a folder and needs not to.
    if cfg!(windows) && path.is_dir() {
        return Ok(());
    }
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| Error::file(path, error))
}

fn unfinished(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    // Not what another program has left there.
    name.push(format!(".{}.unfinished", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_came_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (copy, target) = (folder.path().join("copy"), folder.path().join("target"));
        std::fs::write(&copy, "copy").expect("written");
        std::fs::write(&target, "theirs").expect("written");
        let error = place(&copy, &target).expect_err("it is there");
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&target).expect("read"), b"theirs");
        std::fs::remove_file(&target).expect("removed");
        place(&copy, &target).expect("placed");
        assert_eq!(std::fs::read(&target).expect("read"), b"copy");
        assert!(!copy.exists());
    }
}
