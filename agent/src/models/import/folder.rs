//! Any folder of files, or a single file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::name::of_repository;
use super::{FILES_MAX, Seen};

/// How deep folders in folders are looked through.
const DEPTH_MAX: usize = 8;

/// Endings of models, and of pickles, which are told and not taken over.
const ENDINGS: [&str; 8] = [
    "gguf",
    "safetensors",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "pkl",
    "pickle",
];

/// A file below a folder.
pub(super) struct Walked {
    pub(super) file: PathBuf,
    /// Its path below the folder, with `/`.
    pub(super) below: String,
    /// Its name without the ending.
    pub(super) stem: String,
}

pub(super) fn find(path: &Path) -> io::Result<Vec<Seen>> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Ok(vec![Seen {
            stem: stem(path),
            origin: name.into_owned(),
            file: path.to_owned(),
            problem: None,
        }]);
    }
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let seen = |Walked { file, below, stem }: Walked| {
        let repository = below.rsplit('/').nth(1).unwrap_or(&own);
        Seen {
            stem: of_repository(repository, &stem),
            origin: below,
            file,
            problem: None,
        }
    };
    Ok(walk(path)?.into_iter().map(seen).collect())
}

/// All files below a folder that may be models. Links to folders are not
/// followed, those to files are.
pub(super) fn walk(root: &Path) -> io::Result<Vec<Walked>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // What one may not look into has nothing to take over.
            Err(_) if depth > 0 => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if depth < DEPTH_MAX {
                    folders.push((path, depth + 1));
                }
                continue;
            }
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            let is_model = ENDINGS.iter().any(|known| ending == *known);
            if is_model && path.is_file() && found.len() < FILES_MAX {
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push(Walked {
                    below: below.to_string_lossy().replace('\\', "/"),
                    stem: stem(&path),
                    file: path,
                });
            }
        }
    }
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
