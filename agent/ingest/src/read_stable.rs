//! Reads a file whole, as it was at one moment.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind};

/// So often a file is read that changes meanwhile. Whoever saves a document
/// is done by the second time; who writes a log never is.
const TRIES: usize = 3;

/// What a file held, and the marks by which to tell later whether it still
/// does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// All of the file.
    pub bytes: Vec<u8>,
    /// When it was last written to, in nanoseconds since 1970. The clock of a
    /// file system is coarse: another writing within some milliseconds may
    /// leave it as it is.
    pub mtime_ns: i64,
}

/// Reads a regular file of at most `limit` bytes. Never waits for a pipe or
/// device: those are not read.
///
/// # Errors
///
/// With the path as the item. `Unreadable` when the system says so,
/// `Unsupported` if it is no regular file, `TooLarge` over the limit, and
/// `Changing` if it was written to each time it was read.
pub fn read_stable(path: &Path, limit: usize) -> Result<Snapshot, Error> {
    read_while(path, limit, &mut || {}).map_err(|error| error.of(path.to_string_lossy()))
}

/// `meanwhile` runs after the first look at the file and before it is read.
fn read_while(path: &Path, limit: usize, meanwhile: &mut dyn FnMut()) -> Result<Snapshot, Error> {
    for _ in 0..TRIES {
        let file = open(path).map_err(|error| unreadable(&error))?;
        let before = Marks::of(&file, limit)?;
        meanwhile();
        let bytes = read_at_most(&file, before.size, limit)?;
        let is_whole = u64::try_from(bytes.len()) == Ok(before.size);
        if is_whole && Marks::of(&file, limit)? == before {
            let mtime_ns = before.mtime_ns;
            return Ok(Snapshot { bytes, mtime_ns });
        }
    }
    let reason = format!("file changes while it is read, tries={TRIES}");
    Err(Error::new(ErrorKind::Changing, reason))
}

/// What tells that a file was written to.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    size: u64,
    mtime_ns: i64,
}

impl Marks {
    fn of(file: &File, limit: usize) -> Result<Self, Error> {
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Unsupported, kind_of(&metadata)));
        }
        let size = metadata.len();
        if usize::try_from(size).map_or(true, |size| size > limit) {
            let reason = format!("file is too large, size={size}, limit={limit}");
            return Err(Error::new(ErrorKind::TooLarge, reason));
        }
        let mtime_ns = mtime_ns(&metadata);
        Ok(Self { size, mtime_ns })
    }
}

/// What it is if it is neither a file, nor a folder we walk, nor a link.
pub(crate) fn kind_of(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        return "not a file but a folder";
    }
    "not a file but a pipe, socket or device"
}

/// When a file was last written to, in nanoseconds since 1970; 0 where that is
/// not known.
pub(crate) fn mtime_ns(metadata: &Metadata) -> i64 {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(_) => before_1970(modified),
    }
}

fn before_1970(time: SystemTime) -> i64 {
    let before = UNIX_EPOCH.duration_since(time).unwrap_or_default();
    i64::try_from(before.as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds)
}

pub(crate) fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::Unreadable, format!("cannot be read: {error}"))
}

fn read_at_most(file: &File, size: u64, limit: usize) -> Result<Vec<u8>, Error> {
    let expected = usize::try_from(size).unwrap_or(limit).min(limit);
    let mut bytes = Vec::with_capacity(expected.saturating_add(1));
    // One byte more, to see that it has grown.
    let most = u64::try_from(expected).unwrap_or(size).saturating_add(1);
    let read = file.take(most).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    // A pipe without a writer would keep us waiting.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.txt");
        fs::write(&path, content).expect("written");
        (dir, path)
    }

    #[test]
    fn a_file_is_read_whole_up_to_the_limit() {
        let (_dir, path) = file("12345");
        let read = read_stable(&path, 5).expect("fits");
        assert_eq!(read.bytes, b"12345");
        assert!(read.mtime_ns > 1_600_000_000_000_000_000);
        let error = read_stable(&path, 4).expect_err("too large");
        assert_eq!(
            error.to_string(),
            format!(
                "file is too large, size=5, limit=4, item={}",
                path.display()
            )
        );
    }

    #[test]
    fn a_file_that_is_saved_meanwhile_is_read_again() {
        let (_dir, path) = file("old");
        let mut saves = 2;
        let mut save = || {
            if saves > 0 {
                saves -= 1;
                fs::write(&path, format!("longer {saves}")).expect("written");
            }
        };
        let read = read_while(&path, 100, &mut save).expect("the third time");
        assert_eq!(read.bytes, b"longer 0");
    }

    #[test]
    fn a_file_that_always_changes_is_given_up() {
        for content in ["", "12345678"] {
            let (_dir, path) = file(content);
            let mut grow = || {
                let grown = fs::read_to_string(&path).expect("read") + "x";
                fs::write(&path, grown).expect("written");
            };
            let error = read_while(&path, 100, &mut grow).expect_err("changing");
            assert_eq!(error.kind(), ErrorKind::Changing);
            assert_eq!(error.reason(), "file changes while it is read, tries=3");
        }
    }

    #[test]
    fn a_change_of_the_same_length_is_seen() {
        let (_dir, path) = file("aaaa");
        let mut seconds = 0;
        let mut overwrite = || {
            seconds += 1;
            fs::write(&path, "bbbb").expect("written");
            let file = File::options().write(true).open(&path).expect("opened");
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).expect("set");
        };
        let error = read_while(&path, 100, &mut overwrite).expect_err("changing");
        assert_eq!(error.kind(), ErrorKind::Changing);
    }

    #[test]
    fn times_before_1970_are_negative() {
        let (_dir, path) = file("a");
        let file = File::options().write(true).open(&path).expect("opened");
        let time = UNIX_EPOCH - Duration::from_nanos(1_500_000_000);
        file.set_modified(time).expect("set");
        assert_eq!(
            read_stable(&path, 9).expect("read").mtime_ns,
            -1_500_000_000
        );
    }

    #[test]
    fn what_is_not_there_or_no_file_is_told() {
        let (dir, _) = file("a");
        let error = read_stable(&dir.path().join("b"), 9).expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::Unreadable);
        let error = read_stable(dir.path(), 9).expect_err("a folder");
        assert!(!error.reason().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let (dir, _) = file("a");
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("made");
        let error = read_stable(&pipe, 9).expect_err("a pipe");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let device = Path::new("/dev/zero");
        let error = read_stable(device, 9).expect_err("a device");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
