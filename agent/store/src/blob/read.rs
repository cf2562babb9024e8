//! Reading a file: what it is, its header, and the index of its chunks.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use ginnel_blob::format::{Format, FormatError, Header, PROBE};
use ginnel_blob::index::{BuildError, ChunkIndex};

use super::path::BlobPath;
use super::stamp::Stamp;
use super::{BlobFolder, Stop};
use crate::artifact::LocalFile;
use crate::error::{Error, ErrorKind, Result};

/// Bytes at the end of an archive in which its table of contents is looked
/// for: thousands of names.
const CONTENTS_MAX: u64 = 1 << 20;

/// What a file says it is, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// What the file was like.
    pub stamp: Stamp,
    /// Its kind.
    pub format: Format,
    /// Its header, where its kind has one.
    pub header: Option<Header>,
}

/// A file that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// What it is.
    pub inspected: Inspected,
    /// Its hash, and those of its chunks.
    pub index: ChunkIndex,
    /// Whether the stamp tells of any later write; if not, the file has to be
    /// read again the next time.
    pub is_settled: bool,
}

impl Indexed {
    /// What to note in the catalog.
    #[must_use]
    pub fn file(&self) -> LocalFile {
        let stamp = self.inspected.stamp;
        let stamp = if self.is_settled {
            stamp
        } else {
            stamp.doubtful()
        };
        LocalFile::read(stamp, self.inspected.format, self.index.blob())
    }
}

impl BlobFolder {
    /// Reads what a file is and its header, and checks both against its name
    /// and size.
    ///
    /// # Errors
    /// `Missing` if there is none; `Invalid` for a pickle, an empty file or a
    /// header that lies.
    pub fn inspect(&self, path: &BlobPath) -> Result<Inspected> {
        let (mut file, stamp) = self.open_file(path)?;
        inspect(&mut file, stamp, path.file_name(), &self.place_of(path))
    }

    /// Reads all of a file. `progress` is told how many bytes are done.
    ///
    /// # Errors
    /// As [`BlobFolder::inspect`]; `Unavailable` if it was written to
    /// meanwhile, `Closed` if `stop` was set.
    pub fn index(
        &self,
        path: &BlobPath,
        stop: &Stop,
        mut progress: impl FnMut(u64),
    ) -> Result<Indexed> {
        let place = self.place_of(path);
        let begun = SystemTime::now();
        let (mut file, stamp) = self.open_file(path)?;
        let inspected = inspect(&mut file, stamp, path.file_name(), &place)?;
        rewind(&mut file, &place)?;
        let header = inspected.header.as_ref();
        let index = ChunkIndex::build(&mut file, stamp.size, header, |done| {
            progress(done);
            match stop.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let index = index.map_err(|error| not_built(error, &place))?;
        let after = file.metadata().map(|found| Stamp::of(&found));
        let after = after.map_err(|error| Error::file(&place, error))?;
        // The one that was read, and the one that is there now.
        if after != stamp || self.stamp(path)? != Some(stamp) {
            return Err(not_built(BuildError::Changed, &place));
        }
        Ok(Indexed {
            is_settled: stamp.is_settled(begun),
            inspected,
            index,
        })
    }
}

/// What an open file is that is, or is to be, called `name`.
///
/// # Errors
/// `Invalid` for a pickle, an empty file or a header that lies.
pub fn inspect(file: &mut File, stamp: Stamp, name: &str, place: &Path) -> Result<Inspected> {
    let told = |error| refused(error, place);
    rewind(file, place)?;
    let mut first = Vec::with_capacity(PROBE);
    let probe = Read::by_ref(file).take(PROBE as u64);
    let read = { probe }.read_to_end(&mut first);
    read.map_err(|error| Error::file(place, error))?;
    let format = Format::detect(name, &first).map_err(told)?;
    if first.starts_with(b"PK") && lists_a_pickle(file, stamp.size) {
        return Err(told(FormatError::Pickle));
    }
    rewind(file, place)?;
    let header = format
        .header(&mut BufReader::new(&mut *file), stamp.size)
        .map_err(told)?;
    Ok(Inspected {
        stamp,
        format,
        header,
    })
}

/// Whether an archive's table of contents, which lies at its end, has a
/// `data.pkl`: not every program writes it first.
fn lists_a_pickle(file: &mut File, size: u64) -> bool {
    let from = size.saturating_sub(CONTENTS_MAX);
    let mut contents = Vec::new();
    let read = file
        .seek(SeekFrom::Start(from))
        .and_then(|_| file.take(CONTENTS_MAX).read_to_end(&mut contents));
    let name = b"data.pkl";
    // One that cannot be read is not trusted.
    read.is_err() || contents.windows(name.len()).any(|found| found == name)
}

fn rewind(file: &mut File, place: &Path) -> Result<()> {
    let rewound = file.seek(SeekFrom::Start(0));
    rewound.map(drop).map_err(|error| Error::file(place, error))
}

fn refused(error: FormatError, place: &Path) -> Error {
    if let FormatError::Read(error) = error {
        return Error::file(place, error);
    }
    Error::invalid(error.to_string()).with("path", &place.display())
}

fn not_built(error: BuildError, place: &Path) -> Error {
    let kind = match error {
        BuildError::Read(error) => return Error::file(place, error),
        BuildError::Changed => ErrorKind::Unavailable,
        BuildError::Stopped => ErrorKind::Closed,
        BuildError::TooLong | _ => ErrorKind::Invalid,
    };
    Error::new(kind, error.to_string()).with("path", &place.display())
}
