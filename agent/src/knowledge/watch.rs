//! Follows a folder: adds it again whenever something in it changes.

use std::path::Path;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
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
    /// Adds a folder, and again whenever something in it changes, for ever.
    ///
    /// # Errors
    /// As [`Knowledge::add`], or the system cannot watch the folder.
    pub async fn add_and_watch(
        &self,
        request: &AddRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<std::convert::Infallible, AddError> {
        let (touched, mut changes) = watch::channel(());
        let _watcher = watcher(&request.path, touched)?;
        loop {
            changes.mark_unchanged();
            let summary = self.add(request, events).await?;
            if summary.changed_anything() {
                let _ = events.send(Event::Done(summary)).await;
            }
            let _ = tokio::time::timeout(ANYWAY, changes.changed()).await;
            let _ = tokio::time::timeout(BURST_MAX, quiet(&mut changes)).await;
        }
    }
}

/// Returns once nothing has changed for a while.
async fn quiet(changes: &mut watch::Receiver<()>) {
    while tokio::time::timeout(QUIET, changes.changed()).await.is_ok() {}
}

fn watcher(path: &Path, touched: watch::Sender<()>) -> Result<impl Sized, AddError> {
    let cannot = |error: notify::Error| {
        AddError::Invalid(format!(
            "folder cannot be watched, path={}, reason={error}",
            path.display()
        ))
    };
    let told = move |event: notify::Result<notify::Event>| {
        // Reading is no change; an error may have hidden one.
        if event.map_or(true, |event| !event.kind.is_access()) {
            touched.send_replace(());
        }
    };
    let mut watcher = notify::recommended_watcher(told).map_err(cannot)?;
    watcher
        .watch(path, RecursiveMode::Recursive)
        .map_err(cannot)?;
    Ok(watcher)
}
