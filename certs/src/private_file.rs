//! Files that only their owner may read: keys, tokens, peppers.
//!
//! A file is written whole or not at all, also across a power failure: a
//! temporary file in the same folder, `fsync`, rename, `fsync` of the folder.
//! A crash can leave a temporary file named `.ginnel-…` behind, with the same
//! protection as the file itself; deleting it is safe.
//!
//! On Unix files have mode 0600 and a secret that other users can read is
//! refused. On Windows there is no mode: the folder's access list protects
//! the files. The relay and the agent use this module for their own secrets.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::error::Error;

/// Makes a folder, and those above it, for its owner only (mode 0700). A
/// folder that exists keeps its mode.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn create_dir_private(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(file_error("create", dir))
}

/// Writes a file, replacing an older one in one step.
///
/// # Errors
/// [`Error::File`] if the system refuses; the older file is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = write_temporary(path, bytes)?;
    let renamed = temporary.persist(path).map_err(|error| error.error);
    renamed.map_err(file_error("write", path))?;
    sync_dir(path)
}

/// Writes a file unless there is one already, in which case that one stays.
/// Of any number of processes that do this at once, one wins.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn write_once(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = write_temporary(path, bytes)?;
    let renamed = temporary.persist_noclobber(path).map_err(|e| e.error);
    match renamed {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file_error("write", path)(error)),
    }
    sync_dir(path)
}

/// Reads a secret of at most `max` bytes.
///
/// # Errors
/// [`Error::Exposed`] if other users can read or write the file,
/// [`Error::Damaged`] if it is longer than `max`, [`Error::File`] if the
/// system refuses.
pub fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = File::open(path).map_err(file_error("read", path))?;
    // The open file is asked, not the path: nobody can swap it in between.
    check_mode(path, &file)?;
    read_bounded(path, &file, max)
}

/// Reads a secret, making it first if there is none. All callers get the same
/// bytes, also when several processes start at once.
///
/// # Errors
/// As [`read`] and [`write_once`], and what `make` returns.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use ginnel_certs::private_file;
/// let path = dir.path().join("pepper");
/// let pepper = private_file::read_or_create(&path, 32, || private_file::random(32))?;
/// assert_eq!(pepper, private_file::read(&path, 32)?);
/// # Ok(())
/// # }
/// ```
pub fn read_or_create(
    path: &Path,
    max: usize,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, Error>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    match read(path, max) {
        Err(error) if error.is_not_found() => {}
        found_or_failed => return found_or_failed,
    }
    write_once(path, &make()?)?;
    read(path, max)
}

/// Makes an empty file for its owner only (mode 0600), for a library that
/// would make it readable for others. A file that exists stays as it is.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn create_empty(path: &Path) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(drop)
        .map_err(file_error("create", path))
}

/// Fresh random bytes for a secret.
///
/// # Errors
/// [`Error::Crypto`] if the system has no randomness.
pub fn random(len: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(vec![0; len]);
    rand::fill(&mut bytes).map_err(|error| Error::crypto("read random bytes", error))?;
    Ok(bytes)
}

/// Reads a file that is no secret, so that its mode does not matter.
pub(crate) fn read_public(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = File::open(path).map_err(file_error("read", path))?;
    read_bounded(path, &file, max)
}

/// Renames a file within its folder, replacing an older one.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(file_error("rename", from))?;
    sync_dir(to)
}

fn write_temporary(path: &Path, bytes: &[u8]) -> Result<NamedTempFile, Error> {
    let write = || {
        // Opened with O_EXCL and mode 0600 by the tempfile crate.
        let mut file = tempfile::Builder::new()
            .prefix(".ginnel-")
            .tempfile_in(folder(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(file_error("write", path))
}

fn read_bounded(path: &Path, file: &File, max: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    // One byte more than allowed shows that there is more. All room is taken
    // at once, so that growing leaves no copy of a secret behind.
    let room = max.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(file_error("read", path))?;
    if bytes.len() > max {
        return Err(Error::Damaged {
            path: path.to_owned(),
            reason: format!("is longer than {max} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(file_error("read", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(Error::Exposed { path, mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), Error> {
    Ok(())
}

/// Makes a rename last: the folder's own entry must reach the disk too.
#[cfg(unix)]
fn sync_dir(path: &Path) -> Result<(), Error> {
    let dir = folder(path);
    let synced = File::open(&dir).and_then(|dir| dir.sync_all());
    synced.map_err(file_error("sync", &dir))
}

/// Windows cannot open a folder to sync it; its journal keeps renames in order.
#[cfg(not(unix))]
fn sync_dir(_path: &Path) -> Result<(), Error> {
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        for bytes in [&b"one"[..], b"", b"another"] {
            write(&path, bytes).expect("written");
            assert_eq!(*read(&path, 7).expect("read"), bytes);
        }
        assert_eq!(entries(dir.path()), ["secret"]);
    }

    #[test]
    fn a_long_file_is_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        write(&path, b"12345678").expect("written");
        assert!(read(&path, 8).is_ok());
        let error = read(&path, 7).expect_err("too long");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        // A folder in the place of the file: the last step, the rename, fails.
        let path = dir.path().join("secret");
        fs::create_dir(&path).expect("folder");
        fs::write(path.join("inside"), b"kept").expect("file");
        let error = write(&path, b"new").expect_err("a folder is in the way");
        assert!(matches!(error, Error::File { .. }), "{error}");
        assert_eq!(fs::read(path.join("inside")).expect("kept"), b"kept");
        assert_eq!(entries(dir.path()), ["secret"]);
    }

    #[test]
    fn a_reader_sees_the_old_or_the_new_file_and_never_a_part() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        let len = 100_000;
        write(&path, &vec![0; len]).expect("written");
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 1..20 {
                    write(&path, &vec![round; len]).expect("written");
                }
            });
            while !writer.is_finished() {
                let bytes = read(&path, len).expect("read");
                assert_eq!(bytes.len(), len);
                assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
            }
        });
    }

    #[test]
    fn write_once_keeps_the_first() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        write_once(&path, b"first").expect("written");
        write_once(&path, b"second").expect("kept");
        assert_eq!(*read(&path, 10).expect("read"), b"first");
        assert_eq!(entries(dir.path()), ["secret"]);
    }

    #[test]
    fn racing_makers_agree() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        let make = || read_or_create(&path, 16, || random(16)).expect("secret");
        let secrets: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|t| t.join().expect("ok")).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_ne!(*secrets[0], [0; 16]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().expect("folder");
        let error = read(&dir.path().join("absent"), 1).expect_err("absent");
        assert!(error.is_not_found());
        assert!(error.to_string().ends_with("absent"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn modes_are_private() {
        let dir = tempfile::tempdir().expect("folder");
        let inner = dir.path().join("a/b");
        create_dir_private(&inner).expect("folder");
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(&dir.path().join("a")), 0o700);
        create_dir_private(&inner).expect("exists already");

        write(&inner.join("w"), b"x").expect("written");
        write_once(&inner.join("o"), b"x").expect("written");
        assert_eq!(mode(&inner.join("w")), 0o600);
        assert_eq!(mode(&inner.join("o")), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_open_to_others_is_refused_with_the_cure() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("secret");
        write(&path, b"x").expect("written");
        for (mode, accepted) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            let read = read(&path, 1);
            assert_eq!(read.is_ok(), accepted, "mode {mode:o}");
            let Err(error) = read else { continue };
            let text = error.to_string();
            assert!(text.contains(&format!("mode={mode:04o}")), "{text}");
            let cure = format!("hint: chmod 600 {}", path.display());
            assert!(text.ends_with(&cure), "{text}");
        }
    }

    fn entries(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("entry").file_name();
        entries
            .map(|e| name(e).into_string().expect("utf-8"))
            .collect()
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).expect("exists").permissions().mode() & 0o7777
    }
}
