//! The folder of everything that a daemon keeps.

use std::path::{Path, PathBuf};

use crate::environment::{Environment, set};
use crate::mistakes::Mistakes;

/// The state folder, absolute: the one that was chosen, or the platform's
/// place for `program`.
///
/// # Errors
/// The platform's place is not known: there is no home folder.
pub fn find(
    chosen: Option<PathBuf>,
    program: &str,
    environment: Environment<'_>,
) -> Result<PathBuf, Mistakes> {
    let chosen = chosen.or_else(|| of_platform(program, environment));
    match chosen {
        Some(chosen) => absolute(&chosen),
        None => Err(mistake("no home folder is known; hint: give --state DIR")),
    }
}

/// The path from the root on.
///
/// # Errors
/// It is empty, or the working folder is gone.
pub fn absolute(path: &Path) -> Result<PathBuf, Mistakes> {
    std::path::absolute(path).map_err(mistake)
}

fn mistake(what: impl std::fmt::Display) -> Mistakes {
    let mut mistakes = Mistakes::default();
    mistakes.add("state", what);
    mistakes
}

fn of_platform(program: &str, environment: Environment<'_>) -> Option<PathBuf> {
    let set = |name: &str| set(environment, name).map(PathBuf::from);
    if cfg!(windows) {
        return Some(set("LOCALAPPDATA")?.join(program));
    }
    if cfg!(target_os = "macos") {
        let support = set("HOME")?.join("Library/Application Support");
        return Some(support.join(program));
    }
    // The XDG base directory specification ignores paths that are relative.
    let base = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(base.join(program))
}
