//! Follows a folder or file: adds it again whenever something in it changes.

use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};

use super::Knowledge;
use super::add::{AddError, AddRequest, Event};

/// How long a folder must be quiet before it is read: programs save in several
/// steps.
const QUIET: Duration = Duration::from_millis(300);

/// It is read after so long even if it is never quiet.
const BURST_MAX: Duration = Duration::from_secs(5);

/// It is read this often in any case: no system tells of everything (network
/// folders, a queue that ran over).
const ANYWAY: Duration = Duration::from_secs(600);

impl Knowledge {
    /// Adds a folder or file, and again whenever something in it changes, for
    /// ever. While it is away, what was added from it stays.
    ///
    /// # Errors
    /// As [`Knowledge::add`], or the system cannot watch it.
    pub async fn add_and_watch(
        &self,
        request: &AddRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<std::convert::Infallible, AddError> {
        let (touched, mut changes) = watch::channel(());
        let mut watchers = watch_path(&request.path, &touched)?;
        let (mut was_there, mut is_told) = (false, false);
        loop {
            changes.mark_unchanged();
            match self.add(request, events).await {
                Ok(summary) => {
                    (was_there, is_told) = (true, false);
                    if summary.changed_anything() {
                        let _ = events.send(Event::Done(summary)).await;
                    }
                }
                // It may come back; at first it is a mistake of the caller.
                Err(error @ AddError::Gone(_)) if was_there => {
                    if !std::mem::replace(&mut is_told, true) {
                        let problem = error.to_string();
                        let _ = events.send(Event::Waiting { problem }).await;
                    }
                }
                Err(error) => return Err(error),
            }
            let _ = tokio::time::timeout(ANYWAY, changes.changed()).await;
            let _ = tokio::time::timeout(BURST_MAX, quiet(&mut changes)).await;
            // What is there now may be another file or folder than before:
            // programs save by renaming. The new watchers begin before it is
            // read, so that nothing is missed.
            drop(watchers);
            watchers = watch_path(&request.path, &touched)?;
        }
    }
}

/// Returns once nothing has changed for a while.
async fn quiet(changes: &mut watch::Receiver<()>) {
    while tokio::time::timeout(QUIET, changes.changed()).await.is_ok() {}
}

/// What tells of changes. Dropped, they tell nothing more.
struct Watchers {
    /// Tells that something else takes the place of what is at the path.
    _above: RecommendedWatcher,
    /// Tells what happens in it, while it is there.
    _inside: RecommendedWatcher,
}

fn watch_path(path: &Path, touched: &watch::Sender<()>) -> Result<Watchers, AddError> {
    let cannot = |error: notify::Error| {
        AddError::Invalid(format!(
            "it cannot be watched, path={}, reason={error}",
            path.display()
        ))
    };
    let inside = touched.clone();
    let mut inside = notify::recommended_watcher(move |event| {
        if is_change(&event) {
            inside.send_replace(());
        }
    })
    .map_err(cannot)?;
    match inside.watch(path, RecursiveMode::Recursive) {
        Err(error) if path.exists() => return Err(cannot(error)),
        Ok(()) | Err(_) => {}
    }
    // The nearest folder that is there, and what in it leads to the path.
    let (folder, name) = path
        .ancestors()
        .filter_map(|at| Some((at.parent()?, at.file_name()?.to_owned())))
        .find(|(folder, _)| folder.is_dir())
        .unwrap_or_else(|| (path, Default::default()));
    let above = touched.clone();
    let mut above = notify::recommended_watcher(move |event| {
        if is_change(&event) && is_of(&event, &name) {
            above.send_replace(());
        }
    })
    .map_err(cannot)?;
    above
        .watch(folder, RecursiveMode::NonRecursive)
        .map_err(cannot)?;
    Ok(Watchers {
        _above: above,
        _inside: inside,
    })
}

/// Reading is no change; an error may have hidden one.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    event.as_ref().map_or(true, |event| !event.kind.is_access())
}

/// Whether it is about what has this name, or may be.
fn is_of(event: &notify::Result<notify::Event>, name: &std::ffi::OsStr) -> bool {
    event.as_ref().map_or(true, |event| {
        let mut paths = event.paths.iter();
        event.paths.is_empty() || paths.any(|path| path.file_name() == Some(name))
    })
}
