//! Links that are followed: never in a circle, and nowhere twice.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::read_stable::unreadable;

/// Where links have led.
#[derive(Debug)]
pub(super) struct Links {
    root: PathBuf,
    /// The folder that is walked, without links; found out at the first link.
    real_root: Option<PathBuf>,
    /// The folders outside it that were entered.
    entered: HashSet<PathBuf>,
}

impl Links {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            real_root: None,
            entered: HashSet::new(),
        }
    }

    /// Whether a link leads to something that the walk does not find without
    /// it.
    ///
    /// # Errors
    ///
    /// `Invalid` if it leads around in a circle, `Unsupported` if it leads
    /// inside the folder, `Unreadable` if nowhere.
    pub(super) fn check(&mut self, link: &Path) -> Result<(), Error> {
        let target = real(link)?;
        let root = match &mut self.real_root {
            Some(root) => root,
            none => none.insert(real(&self.root)?),
        };
        if root.starts_with(&target) {
            return Err(circle());
        }
        if target.starts_with(root) {
            let reason = "link leads to what is found without it";
            return Err(Error::new(ErrorKind::Unsupported, reason));
        }
        Ok(())
    }

    /// Whether a folder outside the walked one is entered for the first time.
    pub(super) fn enter(&mut self, folder: &Path) -> Result<bool, Error> {
        Ok(self.entered.insert(real(folder)?))
    }
}

fn real(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Error::new(ErrorKind::Unreadable, "link leads nowhere")
        } else if is_circle(&error) {
            circle()
        } else {
            unreadable(&error)
        }
    })
}

#[cfg(unix)]
fn is_circle(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_circle(_: &io::Error) -> bool {
    false
}

fn circle() -> Error {
    Error::new(ErrorKind::Invalid, "links lead in a circle")
}
