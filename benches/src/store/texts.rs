//! Real texts, in pieces of a passage's length.

use std::fs;
use std::path::Path;

use anyhow::ensure;

/// Words of a piece.
const WORDS: usize = 60;

/// Files larger than this are tables and lists.
const FILE_MAX: u64 = 1 << 20;

/// Pieces of text.
#[derive(Debug)]
pub(super) struct Texts(Vec<String>);

impl Texts {
    /// So many of the plain texts in a folder that `benches/vectors/make`
    /// filled.
    ///
    /// # Errors
    /// It cannot be read, or has not as many.
    pub(super) fn read(folder: &Path, count: usize) -> anyhow::Result<Self> {
        let mut texts = Vec::with_capacity(count);
        add(folder, count, &mut texts)?;
        ensure!(
            texts.len() == count,
            "too few texts; hint: benches/vectors/make brings them, folder={}, found={}, wanted={count}",
            folder.display(),
            texts.len()
        );
        Ok(Self(texts))
    }

    /// One of them.
    #[must_use]
    pub(super) fn get(&self, number: usize) -> &str {
        let at = number % self.0.len().max(1);
        self.0.get(at).map_or("", String::as_str)
    }
}

fn add(folder: &Path, count: usize, texts: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        if texts.len() >= count {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            add(&path, count, texts)?;
        } else if metadata.is_file()
            && metadata.len() <= FILE_MAX
            && path.extension().is_some_and(|extension| extension == "txt")
        {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            let words: Vec<&str> = text.split_whitespace().collect();
            let room = count - texts.len();
            texts.extend(
                words
                    .chunks_exact(WORDS)
                    .take(room)
                    .map(|words| words.join(" ")),
            );
        }
    }
    Ok(())
}
