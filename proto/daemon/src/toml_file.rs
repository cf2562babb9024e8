//! A settings file whose keys can be named by line.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::mistakes::Mistakes;

/// Largest settings file that is read, in bytes: hundreds of services or
/// upstreams fit many times.
pub const FILE_MAX: u64 = 1024 * 1024;

/// A TOML file in memory.
#[derive(Debug)]
pub struct TomlFile {
    path: PathBuf,
    text: String,
}

impl TomlFile {
    /// Reads a file of at most [`FILE_MAX`] bytes; `None` if there is none.
    ///
    /// # Errors
    /// The system refuses, the file is too long or not UTF-8.
    pub fn read(path: &Path) -> Result<Option<Self>, Mistakes> {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            let file = File::open(path)?;
            file.take(FILE_MAX + 1).read_to_string(&mut text)?;
            if text.len() as u64 > FILE_MAX {
                let reason = format!("longer than {FILE_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
            }
            Ok(text)
        };
        match read() {
            Ok(text) => Ok(Some(Self::new(path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let mut mistakes = Mistakes::default();
                mistakes.add(path.display(), format_args!("cannot be read, {error}"));
                Err(mistakes)
            }
        }
    }

    /// A file's text, and the path to name in mistakes.
    pub fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// The file's keys; `None`, and the reasons in `mistakes`, if it is not
    /// TOML.
    pub fn table(&self, mistakes: &mut Mistakes) -> Option<DeTable<'_>> {
        let (table, mut errors) = DeTable::parse_recoverable(&self.text);
        errors.sort_by_key(|error| error.span().unwrap_or_default().start);
        for error in &errors {
            let place = self.place(error.span().unwrap_or_default());
            mistakes.add(place, error.message().trim());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// A place in the file, for people: `PATH:LINE`.
    pub fn place(&self, span: Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        format!("{}:{line}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_error_is_named_by_its_line() {
        let file = TomlFile::new(Path::new("x.toml"), "a = 1\nb = \nc = 2\nd = [\n".into());
        let mut mistakes = Mistakes::default();
        assert!(file.table(&mut mistakes).is_none());
        assert!(mistakes.lines().len() >= 2, "{mistakes}");
        assert!(mistakes.lines()[0].starts_with("x.toml:2: "), "{mistakes}");
    }

    #[test]
    fn a_missing_file_is_none_and_a_long_one_a_mistake() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("x.toml");
        assert!(TomlFile::read(&path).expect("absent").is_none());

        let max = usize::try_from(FILE_MAX).expect("fits");
        std::fs::write(&path, "#".repeat(max)).expect("written");
        assert!(TomlFile::read(&path).expect("at the limit").is_some());
        std::fs::write(&path, "#".repeat(max + 1)).expect("written");
        let mistakes = TomlFile::read(&path).expect_err("too long");
        assert!(mistakes.to_string().contains("longer than"), "{mistakes}");
    }
}
