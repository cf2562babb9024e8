//! What the `.gitignore` and `.ignore` files of one folder name.

use std::ffi::OsString;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, ErrorKind};
use crate::read_stable::read_stable;

/// The files that say what to leave out; a later one has the last word.
const FILE_NAMES: [&str; 2] = [".gitignore", ".ignore"];

/// Longest such file, in bytes. The longest in use have 20 kB.
const FILE_BYTES_MAX: usize = 256 << 10;

/// Most patterns of a folder. Each is compiled, and may be tried on every
/// name.
const PATTERNS_MAX: usize = 4_096;

/// The patterns of one folder.
#[derive(Debug, Default)]
pub(super) struct IgnoreFiles {
    patterns: Option<Gitignore>,
}

/// What the patterns say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ignored,
    /// Named with `!`.
    Kept,
    Unnamed,
}

impl IgnoreFiles {
    /// Reads those of a folder with these names in it. Errors name the file;
    /// the patterns that could be read hold.
    pub(super) fn read(folder: &Path, names: &[OsString]) -> (Self, Vec<Error>) {
        let mut builder = GitignoreBuilder::new(folder);
        let mut errors = Vec::new();
        let mut count = 0;
        for file in FILE_NAMES {
            if names.iter().any(|name| name == file) {
                let read = add(&mut builder, &folder.join(file), &mut count);
                errors.extend(read.err().map(|error| named(&error, file)));
            }
        }
        if count == 0 {
            return (Self::default(), errors);
        }
        let patterns = match builder.build() {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                let error = Error::new(ErrorKind::Invalid, error.to_string());
                errors.push(named(&error, ".gitignore"));
                None
            }
        };
        (Self { patterns }, errors)
    }

    pub(super) fn judge(&self, path: &Path, is_dir: bool) -> Verdict {
        let Some(patterns) = &self.patterns else {
            return Verdict::Unnamed;
        };
        match patterns.matched(path, is_dir) {
            Match::Ignore(_) => Verdict::Ignored,
            Match::Whitelist(_) => Verdict::Kept,
            Match::None => Verdict::Unnamed,
        }
    }
}

/// Adds the patterns of one file; an error tells of the last bad one.
fn add(builder: &mut GitignoreBuilder, path: &Path, count: &mut usize) -> Result<(), Error> {
    let file = read_stable(path, FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&file.bytes);
    let mut result = Ok(());
    for (number, line) in text.lines().enumerate() {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if *count == PATTERNS_MAX {
            let reason = format!("too many patterns, limit={PATTERNS_MAX}");
            return Err(Error::new(ErrorKind::TooLarge, reason));
        }
        *count += 1;
        if let Err(error) = builder.add_line(None, line) {
            let reason = format!("pattern cannot be read, line={}: {error}", number + 1);
            result = Err(Error::new(ErrorKind::Invalid, reason));
        }
    }
    result
}

/// The same error with the file's name for its path.
fn named(error: &Error, file: &str) -> Error {
    Error::new(error.kind(), error.reason()).of(file)
}
