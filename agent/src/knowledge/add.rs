//! Adding files: read, cut and stored, each by itself, and followed when they
//! change.
//!
//! ```text
//! a thread: walk ─▶ unchanged? ─▶ read ─▶ extract ─▶ cut ──▶ queue
//!                                                              │
//! tasks:                                 put · put · put ◀─────┘ ─▶ remember the file
//! at the end:                            files that are gone ─▶ removed
//! ```

mod event;
mod file;
mod stdin;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ginnel_ingest::walk::Rules;
use ginnel_proto::id::CollectionName;
use ginnel_store::ingest::{File, Folder, Origin};
use ginnel_store::model::Model;
use tokio::sync::mpsc;

use super::Knowledge;
use super::embedding::State;
use super::files::{self, Cutting, Read, Reading};

pub use event::{Event, FileOutcome, Summary};
pub use stdin::Text;

/// Files that are read ahead of being stored; the text of each is in memory.
const QUEUE: usize = 16;

/// Files that are stored at once, so that they share commits.
const AT_ONCE: usize = 16;

/// What to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest {
    /// A folder or file, absolute.
    pub path: PathBuf,
    /// Where its documents go.
    pub collection: CollectionName,
    /// What their sources begin with; the folder's own name if not given.
    pub name: Option<String>,
    /// What of the folder to take.
    pub rules: Rules,
    /// The name of the model that made the vectors which records bring along;
    /// without it they are left out.
    pub vectors: Option<String>,
}

/// Why nothing could be added at all.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The request cannot be fulfilled as it is.
    #[error("{0}")]
    Invalid(String),
    /// What should be added is not there.
    #[error("there is no such file or folder, what was added from it stays, path={0}")]
    Gone(String),
    /// The store stopped working on the way; what was stored stays.
    #[error(transparent)]
    Store(#[from] ginnel_store::error::Error),
    /// A part of it broke off.
    #[error("reading broke off")]
    BrokenOff,
}

impl Knowledge {
    /// Adds a folder or file, and tells how it goes.
    ///
    /// Dropped, it stops soon; what was stored stays, and the next time goes on
    /// from there.
    ///
    /// # Errors
    /// The path is not there, or the store stopped working. A file that cannot
    /// be read is told as an event, and the others go on.
    pub async fn add(
        &self,
        request: &AddRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<Summary, AddError> {
        let folder = Folder {
            collection: request.collection.clone(),
            name: request
                .name
                .clone()
                .map_or_else(|| name_of(&request.path), Ok)?,
        };
        let root = text_of(&request.path)?;
        if !request.path.exists() {
            return Err(AddError::Gone(root));
        }
        let known = self.known(&folder, &root).await?;
        let stop = StopOnDrop::default();
        let reading = Reading {
            root: request.path.clone(),
            rules: request.rules,
            folder: folder.clone(),
            root_name: root.clone(),
            known,
            cutting: self.cutting().await,
            vectors: self.vectors_of(request).await?,
            stop: Arc::clone(&stop.0),
        };
        let (found, queue) = mpsc::channel(QUEUE);
        let reader = tokio::task::spawn_blocking(move || files::read_all(&reading, &found));
        let mut adding = Adding {
            knowledge: self,
            folder,
            root,
            events,
            summary: Summary::default(),
        };
        let stored = adding.store_all(queue).await;
        let missing = reader.await.map_err(|_| AddError::BrokenOff)?;
        stored?;
        for path in missing {
            adding.remove(path).await?;
        }
        let mut summary = adding.summary;
        summary.last_change = *self.store.changes().borrow();
        Ok(summary)
    }

    /// As [`Knowledge::add`], and waits until the new passages have vectors, if
    /// a model is set and gives some.
    ///
    /// # Errors
    /// As [`Knowledge::add`].
    pub async fn add_and_embed(
        &self,
        request: &AddRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<Summary, AddError> {
        self.embedded(self.add(request, events), events).await
    }

    /// The same for [`Knowledge::add_text_telling`].
    ///
    /// # Errors
    /// As there.
    pub async fn add_text_and_embed(
        &self,
        text: Text,
        events: &mpsc::Sender<Event>,
    ) -> Result<Summary, AddError> {
        self.embedded(self.add_text_telling(text, events), events)
            .await
    }

    /// The files of the folder as they were last time. Another folder of the
    /// same name would remove them all, so that is refused.
    async fn known(&self, folder: &Folder, root: &str) -> Result<HashMap<String, File>, AddError> {
        let known = self.store.files(folder.clone()).await?;
        let others: HashSet<&str> = known.iter().map(|file| &*file.root).collect();
        if let Some(other) = others.into_iter().find(|other| !is_same(other, root)) {
            return Err(AddError::Invalid(format!(
                "another folder of that name is in the collection, name={:?}, collection={}, other={other}; hint: use --as NAME or --collection NAME",
                folder.name, folder.collection
            )));
        }
        let by_path = known.into_iter().map(|file| (file.path.clone(), file));
        Ok(by_path.collect())
    }

    async fn vectors_of(&self, request: &AddRequest) -> Result<Option<Model>, AddError> {
        let Some(name) = &request.vectors else {
            return Ok(None);
        };
        let models = self.store.models().await?;
        let model = models.into_iter().find(|model| model.name == *name);
        model.map(Some).ok_or_else(|| {
            AddError::Invalid(format!(
                "model is not known, model={name:?}; hint: ginnel store stats lists models"
            ))
        })
    }

    /// How long passages may be. An endpoint is not waited for: how it counts
    /// it does not tell.
    pub(super) async fn cutting(&self) -> Cutting {
        if !self.embedding.is_local() {
            return Cutting::default();
        }
        match self.embedding.opened().await {
            State::Ready(embedder) => Cutting::for_model(embedder),
            State::Off | State::Opening | State::Failed(_) => Cutting::default(),
        }
    }
}

/// An addition under way.
struct Adding<'a> {
    knowledge: &'a Knowledge,
    folder: Folder,
    /// Where the folder is.
    root: String,
    events: &'a mpsc::Sender<Event>,
    summary: Summary,
}

impl Adding<'_> {
    async fn store_all(&mut self, mut queue: mpsc::Receiver<Read>) -> Result<(), AddError> {
        let mut storing = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !storing.is_empty() {
            tokio::select! {
                read = queue.recv(), if is_open && storing.len() < AT_ONCE => match read {
                    None => is_open = false,
                    Some(Read::Event(event)) => self.tell(event).await,
                    Some(Read::File { path, pieces }) => {
                        let origin = Origin {
                            folder: self.folder.clone(),
                            root: self.root.clone(),
                            path,
                        };
                        storing.push(file::store(self.knowledge.clone(), origin, pieces));
                    }
                },
                Some(stored) = storing.next() => {
                    let done = stored?;
                    self.summary.documents_removed += done.removed as u64;
                    for event in done.events {
                        self.tell(event).await;
                    }
                    if let Some(path) = done.without_text {
                        self.remove_text(path).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes away what was stored of a file that holds no text any more, and
    /// tells it if there was something.
    async fn remove_text(&mut self, path: String) -> Result<(), AddError> {
        let source = self.folder.source(&path);
        let folder = self.folder.clone();
        let documents = self.knowledge.store.forget_file(folder, path).await?;
        if documents > 0 {
            self.summary.documents_removed += documents as u64;
            self.tell(Event::file(source, FileOutcome::Removed)).await;
        }
        Ok(())
    }

    async fn remove(&mut self, path: String) -> Result<(), AddError> {
        let source = self.folder.source(&path);
        let folder = self.folder.clone();
        let documents = self.knowledge.store.forget_file(folder, path).await?;
        self.summary.documents_removed += documents as u64;
        self.tell(Event::file(source, FileOutcome::Removed)).await;
        Ok(())
    }

    async fn tell(&mut self, event: Event) {
        self.summary.count(&event);
        // Whoever asked may not read along any more.
        let _ = self.events.send(event).await;
    }
}

/// Whether two paths lead to the same place.
fn is_same(one: &str, other: &str) -> bool {
    let place = |path: &str| Path::new(path).canonicalize().ok();
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

/// What sources of a path begin with: its last part.
fn name_of(path: &Path) -> Result<String, AddError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        AddError::Invalid(format!(
            "path has no name, path={}; hint: use --as NAME",
            path.display()
        ))
    })
}

fn text_of(path: &Path) -> Result<String, AddError> {
    let text = path.to_str();
    text.map(str::to_owned).ok_or_else(|| {
        AddError::Invalid(format!(
            "path is not valid Unicode, path={}",
            path.display()
        ))
    })
}

/// Tells the reading thread that nobody waits any more.
#[derive(Debug, Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
