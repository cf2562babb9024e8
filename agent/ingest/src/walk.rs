//! Finds the files of a folder, always in the same order.
//!
//! Hidden files, what `.gitignore` and `.ignore` name, and links are left out
//! unless the rules say otherwise. Pipes, sockets and devices are never
//! opened. What cannot be read is told, and the rest goes on.

mod ignore_file;
mod links;

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::read_stable::{kind_of, mtime_ns, unreadable};

use ignore_file::{IgnoreFiles, Verdict};
use links::Links;

/// What to take of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Also files and folders whose names begin with a dot.
    pub with_hidden: bool,
    /// Also what `.gitignore` and `.ignore` files in the folder name.
    pub with_ignored: bool,
    /// Goes where links lead, if that is outside the folder: what is inside
    /// is found anyway. Every folder is read once.
    pub follow_links: bool,
    /// Folders this far below the first are not read.
    pub depth_max: usize,
    /// After so many files and folders, taken or left out, the walk ends.
    pub entries_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            with_hidden: false,
            with_ignored: false,
            follow_links: false,
            // Deeper trees are made by programs, or in a circle.
            depth_max: 100,
            // A home folder with all its caches has less.
            entries_max: 5_000_000,
        }
    }
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Its path from the folder on, with `/` on every system; of a single
    /// file its name.
    pub relative: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// What the file system calls it, where it does.
    pub inode: Option<u64>,
}

/// Finds the files of `root`, or `root` itself if it is a file. The order is
/// that of the names' bytes, folder by folder.
///
/// An error names the file or folder it is about by its relative path;
/// [`Error::is_skip`] tells what merely is no file for us. Only an error with
/// [`ErrorKind::TooLarge`] can be the last item.
#[must_use]
pub fn walk(root: &Path, rules: Rules) -> Walk {
    Walk {
        root: Some(root.to_owned()),
        rules,
        folders: Vec::new(),
        links: Links::new(root),
        seen: 0,
        is_cut_short: false,
        told: Vec::new(),
    }
}

/// The files of a folder; see [`walk`].
#[derive(Debug)]
pub struct Walk {
    /// Not looked at yet.
    root: Option<PathBuf>,
    rules: Rules,
    /// The folder that is being read, below those around it.
    folders: Vec<Folder>,
    links: Links,
    seen: usize,
    /// Whether it ended at the limit of entries.
    is_cut_short: bool,
    /// Errors to tell before going on, the next one last.
    told: Vec<Error>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Empty, or ending in `/`.
    relative: String,
    /// What is left of its names, the next one last.
    names: Vec<OsString>,
    ignore: IgnoreFiles,
    /// Whether it was reached through a link.
    is_linked: bool,
}

/// Something in a folder, before it is known what it is.
struct Found {
    path: PathBuf,
    relative: String,
    is_linked: bool,
}

impl Walk {
    /// Whether it ended before it had seen everything, at
    /// [`Rules::entries_max`]: what it has not found may well be there.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    fn start(&mut self, root: PathBuf) -> Option<Result<Entry, Error>> {
        let name = root.file_name().unwrap_or(root.as_os_str());
        let relative = name.to_string_lossy().into_owned();
        // A link as the root was named on purpose.
        let metadata = match fs::metadata(&root) {
            Ok(metadata) => metadata,
            Err(error) => return Some(Err(unreadable(&error).of(root.to_string_lossy()))),
        };
        if metadata.is_dir() {
            self.enter(Found {
                path: root,
                relative: String::new(),
                is_linked: false,
            });
            return None;
        }
        Some(entry(root, relative, &metadata))
    }

    /// Looks at the next name of the innermost folder.
    fn step(&mut self) -> Option<Result<Entry, Error>> {
        let folder = self.folders.last_mut()?;
        let Some(name) = folder.names.pop() else {
            self.folders.pop();
            return None;
        };
        let path = folder.path.join(&name);
        let Some(name) = name.to_str() else {
            let item = format!("{}{}", folder.relative, name.to_string_lossy());
            let error = Error::new(ErrorKind::Invalid, "name is not valid Unicode");
            return Some(Err(error.of(item)));
        };
        if name.starts_with('.') && !self.rules.with_hidden {
            return None;
        }
        let found = Found {
            path,
            relative: format!("{}{name}", folder.relative),
            is_linked: folder.is_linked,
        };
        let relative = found.relative.clone();
        self.look(found)
            .map_err(|error| error.of(relative))
            .transpose()
    }

    fn look(&mut self, found: Found) -> Result<Option<Entry>, Error> {
        let metadata = fs::symlink_metadata(&found.path).map_err(|error| unreadable(&error))?;
        if self.is_ignored(&found.path, metadata.is_dir()) {
            return Ok(None);
        }
        if metadata.is_symlink() {
            return self.look_through(found);
        }
        if metadata.is_dir() {
            self.enter(found);
            return Ok(None);
        }
        entry(found.path, found.relative, &metadata).map(Some)
    }

    /// Looks at where a link leads.
    fn look_through(&mut self, found: Found) -> Result<Option<Entry>, Error> {
        if !self.rules.follow_links {
            return Err(Error::new(ErrorKind::Unsupported, "links are not followed"));
        }
        self.links.check(&found.path)?;
        let metadata = fs::metadata(&found.path).map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            self.enter(Found {
                is_linked: true,
                ..found
            });
            return Ok(None);
        }
        entry(found.path, found.relative, &metadata).map(Some)
    }

    fn is_ignored(&self, path: &Path, is_dir: bool) -> bool {
        for folder in self.folders.iter().rev() {
            match folder.ignore.judge(path, is_dir) {
                Verdict::Ignored => return true,
                Verdict::Kept => return false,
                Verdict::Unnamed => {}
            }
        }
        false
    }

    /// Reads a folder's names. What goes wrong is told, naming the folder.
    fn enter(&mut self, found: Found) {
        if let Err(error) = self.try_enter(&found) {
            let item = match found.relative.as_str() {
                "" => found.path.to_string_lossy().into_owned(),
                relative => relative.to_owned(),
            };
            self.told.push(error.of(item));
        }
    }

    fn try_enter(&mut self, found: &Found) -> Result<(), Error> {
        if self.folders.len() > self.rules.depth_max {
            let reason = format!("folders are too deep, limit={}", self.rules.depth_max);
            return Err(Error::new(ErrorKind::TooLarge, reason));
        }
        if found.is_linked && !self.links.enter(&found.path)? {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "folder was read already",
            ));
        }
        let relative = match found.relative.as_str() {
            "" => String::new(),
            relative => format!("{relative}/"),
        };
        let names = self.names(&found.path)?;
        let ignore = if self.rules.with_ignored {
            IgnoreFiles::default()
        } else {
            let (ignore, errors) = IgnoreFiles::read(&found.path, &names);
            let name = |error: Error| {
                let item = format!("{relative}{}", error.item());
                Error::new(error.kind(), error.reason()).of(item)
            };
            self.told.extend(errors.into_iter().map(name));
            ignore
        };
        self.folders.push(Folder {
            path: found.path.clone(),
            relative,
            names,
            ignore,
            is_linked: found.is_linked,
        });
        Ok(())
    }

    /// The names in a folder, the first one last.
    fn names(&mut self, folder: &Path) -> Result<Vec<OsString>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(&error))? {
            let entry = entry.map_err(|error| unreadable(&error))?;
            self.seen = self.seen.saturating_add(1);
            if self.seen > self.rules.entries_max {
                self.folders.clear();
                self.is_cut_short = true;
                let reason = format!(
                    "too many files, the rest of the folder is not looked at, limit={}",
                    self.rules.entries_max
                );
                return Err(Error::new(ErrorKind::TooLarge, reason));
            }
            names.push(entry.file_name());
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take()
            && let Some(found) = self.start(root)
        {
            return Some(found);
        }
        loop {
            if let Some(error) = self.told.pop() {
                return Some(Err(error));
            }
            if self.folders.is_empty() {
                return None;
            }
            if let Some(found) = self.step() {
                return Some(found);
            }
        }
    }
}

fn entry(path: PathBuf, relative: String, metadata: &Metadata) -> Result<Entry, Error> {
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::Unsupported, kind_of(metadata)).of(relative));
    }
    Ok(Entry {
        path,
        relative,
        size: metadata.len(),
        mtime_ns: mtime_ns(metadata),
        inode: inode(metadata),
    })
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none to give")]
fn inode(metadata: &Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;

    Some(metadata.ino())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests;
