//! The folder of an index: every change of files goes through here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes are gathered to so many bytes.
const BUFFER: usize = 1 << 20;

/// Ending of a file that is not complete yet.
const TEMPORARY: &str = "new";

/// A folder that belongs to one index of one process.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    #[cfg(test)]
    pub(super) faults: faults::Faults,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Output<'a> {
    disk: &'a Disk,
    path: PathBuf,
    file: BufWriter<File>,
    length: usize,
}

impl Disk {
    /// Opens a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            #[cfg(test)]
            faults: faults::Faults::default(),
        })
    }

    /// Where a file is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What a file holds, `None` if it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(&path, error)),
        }
    }

    /// The names of all files.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let read = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
            let names = names.filter_map(|name: io::Result<_>| match name {
                Ok(name) => name.into_string().ok().map(Ok),
                Err(error) => Some(Err(error)),
            });
            names.collect()
        };
        read().map_err(|error| Error::file(&self.folder, error))
    }

    /// Begins a file that nobody reads before it is named elsewhere. One of
    /// that name is overwritten.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, name: &str) -> Result<Output<'_>> {
        let path = self.path(name);
        let open = || {
            self.step(name)?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).open(&path)
        };
        let file = open().map_err(|error| Error::file(&path, error))?;
        Ok(Output {
            disk: self,
            path: path.clone(),
            file: BufWriter::with_capacity(BUFFER, file),
            length: 0,
        })
    }

    /// Puts a file in the place of another in one step: after a crash there is
    /// either, and it is whole.
    ///
    /// # Errors
    /// It cannot be written; the old one stays.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let new = format!("{name}.{TEMPORARY}");
        let mut output = self.create(&new)?;
        output.write(bytes)?;
        output.finish()?;
        let path = self.path(name);
        let rename = || {
            self.step(&new)?;
            fs::rename(self.path(&new), &path)?;
            #[cfg(test)]
            self.faults.renamed(&self.path(&new), &path);
            Ok(())
        };
        rename().map_err(|error| Error::file(&path, error))?;
        self.sync()
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        let remove = || {
            self.step(name)?;
            fs::remove_file(&path)
        };
        match remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(&path, error)),
            _ => Ok(()),
        }
    }

    /// Makes names of files outlast a crash.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self) -> Result<()> {
        let sync = || {
            self.step("folder")?;
            // Elsewhere a folder cannot be opened as a file, nor need it.
            #[cfg(unix)]
            File::open(&self.folder)?.sync_all()?;
            Ok(())
        };
        sync().map_err(|error| Error::file(&self.folder, error))
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests fail here"
    )]
    fn step(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self, _name: &str) -> io::Result<()> {
        self.faults.step()
    }
}

impl Output<'_> {
    /// Adds bytes.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len();
        let written = self.file.write_all(bytes);
        written.map_err(|error| Error::file(&self.path, error))
    }

    /// How many bytes were added.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Writes over the first bytes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_first(&mut self, bytes: &[u8]) -> Result<()> {
        let mut write = || {
            self.disk.step("write")?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(bytes)
        };
        write().map_err(|error| Error::file(&self.path, error))
    }

    /// Brings all to the disk.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn finish(mut self) -> Result<()> {
        let mut sync = || {
            self.disk.step("flush")?;
            self.file.flush()?;
            #[cfg(test)]
            self.disk.faults.written(&self.path);
            self.disk.step("sync")?;
            self.file.get_ref().sync_all()?;
            #[cfg(test)]
            self.disk.faults.synced(&self.path);
            Ok(())
        };
        sync().map_err(|error| Error::file(&self.path, error))
    }
}

/// A disk that stops at a given step, as if the power went.
#[cfg(test)]
pub(super) mod faults {
    use std::collections::HashSet;
    use std::fs::OpenOptions;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    pub(in super::super) struct Faults(Mutex<Plan>);

    #[derive(Debug, Default)]
    struct Plan {
        steps: usize,
        fails_at: Option<usize>,
        unsynced: HashSet<PathBuf>,
    }

    impl Faults {
        /// From this step on, everything fails.
        pub(in super::super) fn fail_at(&self, step: usize) {
            let mut plan = self.0.lock().expect("no panic");
            plan.steps = 0;
            plan.fails_at = Some(step);
        }

        pub(in super::super) fn heal(&self) {
            self.0.lock().expect("no panic").fails_at = None;
        }

        /// What was not synced is half gone.
        pub(in super::super) fn crash(&self) {
            for path in self.0.lock().expect("no panic").unsynced.drain() {
                if let Ok(file) = OpenOptions::new().write(true).open(&path) {
                    let length = file.metadata().expect("is there").len();
                    file.set_len(length / 2).expect("can be cut");
                }
            }
        }

        pub(super) fn step(&self) -> io::Result<()> {
            let mut plan = self.0.lock().expect("no panic");
            let step = plan.steps;
            plan.steps += 1;
            match plan.fails_at {
                Some(fails_at) if step >= fails_at => Err(io::Error::other("no power")),
                _ => Ok(()),
            }
        }

        pub(super) fn written(&self, path: &Path) {
            let mut plan = self.0.lock().expect("no panic");
            plan.unsynced.insert(path.to_owned());
        }

        pub(super) fn synced(&self, path: &Path) {
            self.0.lock().expect("no panic").unsynced.remove(path);
        }

        pub(super) fn renamed(&self, from: &Path, to: &Path) {
            let mut plan = self.0.lock().expect("no panic");
            if plan.unsynced.remove(from) {
                plan.unsynced.insert(to.to_owned());
            }
        }
    }
}
