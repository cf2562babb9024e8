//! The Hugging Face cache.
//! <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>
//!
//! ```text
//! models--ORG--NAME/refs/main                a commit
//!                   snapshots/COMMIT/FILE    a link to
//!                   blobs/HASH               the bytes
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{self, Walked};
use super::name::of_repository;
use super::{FILES_MAX, Seen, read_small};

/// What folders of models begin with.
const REPOSITORY: &str = "models--";

/// The longest commit, in bytes.
const COMMIT_MAX: u64 = 256;

/// Whether a folder is such a cache.
pub(super) fn is_cache(path: &Path) -> bool {
    repositories(path).is_ok_and(|found| !found.is_empty())
}

pub(super) fn find(root: &Path) -> io::Result<Vec<Seen>> {
    let mut found = Vec::new();
    for (repository, name) in repositories(root)? {
        let Some(snapshot) = snapshot(&repository) else {
            continue;
        };
        let real = repository.canonicalize()?;
        let short = name.rsplit('/').next().unwrap_or(&name);
        for Walked { file, below, stem } in folder::walk(&snapshot)? {
            // A repository's files link to its own blobs and nowhere else.
            let is_inside = file
                .canonicalize()
                .is_ok_and(|target| target.starts_with(&real));
            let problem = (!is_inside).then(|| "link leads out of the cache".to_owned());
            found.push(Seen {
                origin: format!("{name}/{below}"),
                stem: of_repository(short, &stem),
                file,
                problem,
            });
        }
        found.truncate(FILES_MAX);
    }
    Ok(found)
}

/// Folders of models, and what those are called.
fn repositories(root: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(name) = name.strip_prefix(REPOSITORY) else {
            continue;
        };
        let name = name.replace("--", "/");
        if path.join("snapshots").is_dir() {
            found.push((path, name));
        }
    }
    Ok(found)
}

/// The snapshot of `main`; without one, the newest.
fn snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let commit = read_small(&repository.join("refs/main"), COMMIT_MAX).ok();
    let commit = commit.and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(commit) = commit.as_deref().map(str::trim)
        && !commit.is_empty()
        && commit.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        let snapshot = snapshots.join(commit);
        if snapshot.is_dir() {
            return Some(snapshot);
        }
    }
    let all = fs::read_dir(snapshots).ok()?.flatten();
    let folders = all.map(|entry| entry.path()).filter(|path| path.is_dir());
    let written = |path: &PathBuf| fs::metadata(path).and_then(|found| found.modified()).ok();
    folders.max_by_key(written)
}
