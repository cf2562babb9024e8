//! Documents, passages and vectors in one SQLite file, searched in
//! milliseconds.
//!
//! ```text
//! Store ─┬─ write ──▶ one thread, many callers a commit ──▶ store.db
//!        │                 └─ each commit ──▶ indexes (vectors), kept filters
//!        └─ read, search ──▶ readers, each on a snapshot; index/ first, then rows
//! ```
//!
//! Beside documents it has the catalog of models, adapters and data sets, whose
//! bytes are plain files.
//!
//! The rows are the truth. What was acknowledged is on disk and found by the
//! next search. Indexes can be thrown away at any time. It embeds nothing:
//! vectors come from the caller.

pub mod artifact;
pub mod blob;
pub mod check;
pub mod document;
pub mod embedding;
pub mod error;
pub mod filter;
pub mod id;
pub mod ingest;
pub mod limits;
pub mod model;
pub mod options;
pub mod search;
pub mod stats;
pub mod sync;
pub mod transfer;
pub mod vector;

mod backup;
mod connection;
mod cursor;
mod identity;
mod indexes;
mod lock;
mod read;
mod rows;
mod schema;
mod upkeep;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use check::Finding;
use document::{Collection, Document, ListRequest, NewDocument, Outcome, Passage, Stored};
use embedding::{NewEmbedding, Unembedded};
use error::Result;
use id::{DocumentId, ModelId};
use indexes::{Indexes, Place};
use ingest::{File, Folder, Origin};
use lock::Lock;
use model::Model;
use options::{Executor, Options};
use read::Readers;
use search::{Found, Search, SearchRequest};
use stats::Stats;
use write::{Setup, Writer};

/// The database in the store's folder.
pub const FILE_NAME: &str = "store.db";

/// The folder of the indexes in the store's folder.
const INDEX_FOLDER: &str = "index";

/// A store, open. Cheap to clone; all clones are the same one.
///
/// A call that is dropped before it returns may still take effect.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    database: [u8; 16],
    executor: Executor,
    readers: Readers,
    writer: Writer,
    indexes: Arc<Indexes>,
    upkeep: upkeep::Upkeep,
    /// `None` once closed.
    lock: Mutex<Option<Lock>>,
}

impl Store {
    /// Opens a store, and makes or migrates its file as needed. Blocks.
    ///
    /// After an unclean stop the file is checked first, which reads all of it.
    ///
    /// # Errors
    /// `Unavailable` when another process has it open or the disk is in the
    /// way, `Newer` when a newer version made the file, `Corrupt` when the check
    /// fails, `Invalid` when the file is another program's.
    pub fn open(options: Options) -> Result<Self> {
        let lock = Lock::take(&options.folder)?;
        let path = options.folder.join(FILE_NAME);
        let connection = connection::open_writer(&path)?;
        let database = identity::of(&connection)?;
        let place = Place {
            folder: options.folder.join(INDEX_FOLDER),
            engine: options.engine,
            vss_folder: options.vss_folder,
            executor: options.executor,
            database,
        };
        let indexes = Arc::new(Indexes::open(place, &connection)?);
        // Commands do not know what the device is called.
        let origin = match &*options.origin {
            "" => sync::device(&connection)?,
            _ => Some(options.origin),
        };
        drop(connection);
        let followers = Arc::clone(&indexes);
        let setup = Setup {
            path: path.clone(),
            origin: origin.unwrap_or_default().into(),
            now: options.clock,
            followers,
        };
        let writer = Writer::start(options.executor, setup)?;
        let inner = Inner {
            folder: options.folder,
            database,
            executor: options.executor,
            readers: Readers::new(path, options.executor),
            writer,
            indexes,
            upkeep: upkeep::Upkeep::default(),
            lock: Mutex::new(Some(lock)),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        upkeep::start(&store)?;
        Ok(store)
    }

    /// Stores a document, or its new revision.
    ///
    /// # Errors
    /// `Invalid` names what is wrong with it; `Missing` its model; `Unavailable`
    /// when the disk is full or the file locked.
    pub async fn put(&self, document: NewDocument) -> Result<Stored> {
        let put = move |turn: &mut write::Turn<'_>| {
            let stored = document::put(turn, &document)?;
            if stored.outcome != Outcome::Unchanged {
                ingest::read_again(turn, stored.id)?;
            }
            Ok(stored)
        };
        self.inner.writer.run(put).await
    }

    /// A document and its passages, in their order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn document(&self, id: DocumentId) -> Result<Option<(Document, Vec<Passage>)>> {
        let find = move |connection: &_| document::find(connection, id);
        self.inner.readers.run(find).await
    }

    /// Documents in the order in which they came, a page of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn documents(&self, request: ListRequest) -> Result<Vec<Document>> {
        let list = move |connection: &_| document::list(connection, &request);
        self.inner.readers.run(list).await
    }

    /// Takes a document away. Tells whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn delete(&self, id: DocumentId) -> Result<bool> {
        self.inner
            .writer
            .run(move |turn| {
                let deleted = document::delete(turn, id)?;
                ingest::read_again(turn, id)?;
                Ok(deleted)
            })
            .await
    }

    /// All collections that have a document.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn collections(&self) -> Result<Vec<Collection>> {
        self.inner.readers.run(document::collections).await
    }

    /// Makes a model known, or its new name.
    ///
    /// # Errors
    /// `Invalid`: impossible dimensions, too many models, or it is known with
    /// other dimensions or another metric.
    pub async fn put_model(&self, model: Model) -> Result<()> {
        self.inner
            .writer
            .run(move |turn| model::put(turn, &model))
            .await
    }

    /// All models.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn models(&self) -> Result<Vec<Model>> {
        self.inner.readers.run(model::list).await
    }

    /// Takes a model and all its vectors away. Tells whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn delete_model(&self, id: ModelId) -> Result<bool> {
        let deleted = self.inner.writer.run(move |turn| model::delete(turn, id));
        let deleted = deleted.await?;
        let mut after = Some(0);
        while let Some(from) = after {
            let purge = move |turn: &mut write::Turn<'_>| model::purge(turn, id, from);
            after = self.inner.writer.run(purge).await?;
        }
        Ok(deleted)
    }

    /// Stores vectors of texts. Gives how many were new or different.
    ///
    /// # Errors
    /// `Missing` when the model is not known, `Invalid` when a vector is not one
    /// of it: none is stored then.
    pub async fn put_embeddings(
        &self,
        model: ModelId,
        embeddings: Vec<NewEmbedding>,
    ) -> Result<usize> {
        let put = move |turn: &mut write::Turn<'_>| embedding::put(turn, model, &embeddings);
        self.inner.writer.run(put).await
    }

    /// Texts that `model` has not seen, of passages whose rowid is above
    /// `after`, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unembedded(
        &self,
        model: ModelId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        let find = move |connection: &_| embedding::missing(connection, model, after, limit);
        self.inner.readers.run(find).await
    }

    /// Texts that `model` has not seen, of the passages touched by the changes
    /// numbered `from` to `to`. `None` if the log of changes does not reach back so
    /// far: then any passage may be among them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unembedded_of_changes(
        &self,
        model: ModelId,
        from: i64,
        to: i64,
    ) -> Result<Option<Vec<Unembedded>>> {
        let find = move |connection: &_| {
            let whole = write::reaches_back(connection, from)?;
            let find = || embedding::missing_of_changes(connection, model, from, to);
            whole.then(find).transpose()
        };
        self.inner.readers.run(find).await
    }

    /// How many passages have no vector of `model`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn count_unembedded(&self, model: ModelId) -> Result<u64> {
        let count = move |connection: &_| embedding::count_missing(connection, model);
        self.inner.readers.run(count).await
    }

    /// Why an index has another engine than the one that was chosen, if one
    /// has. Takes no time.
    #[must_use]
    pub fn engine_problem(&self) -> Option<String> {
        let indexes = self.inner.indexes.all();
        let mut problems = indexes.iter().filter_map(|index| index.problem());
        problems.next().map(str::to_owned)
    }

    /// Searches.
    ///
    /// # Errors
    /// `Invalid` when the question makes no sense, `Missing` when its model is
    /// not known.
    pub async fn search(&self, request: SearchRequest) -> Result<Found> {
        let indexes = Arc::clone(&self.inner.indexes);
        let search = Search::new(request, &indexes)?;
        let run = move |connection: &_| search.run(connection, &indexes);
        self.inner.readers.run(run).await
    }

    /// The files of a folder, as they were when they were last read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn files(&self, folder: Folder) -> Result<Vec<File>> {
        self.inner
            .readers
            .run(move |connection| ingest::files(connection, &folder))
            .await
    }

    /// As [`Store::put`], for a document that was read from a file.
    ///
    /// # Errors
    /// As there.
    pub async fn put_of_file(&self, origin: Origin, document: NewDocument) -> Result<Stored> {
        let put = move |turn: &mut write::Turn<'_>| ingest::put(turn, &origin, &document);
        self.inner.writer.run(put).await
    }

    /// Remembers a file whose `documents` were stored, and takes those that it
    /// had before and has no more away. Gives how many those were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep_file(
        &self,
        folder: Folder,
        file: File,
        documents: Vec<DocumentId>,
    ) -> Result<usize> {
        let keep = move |turn: &mut write::Turn<'_>| ingest::keep(turn, &folder, &file, &documents);
        self.inner.writer.run(keep).await
    }

    /// Forgets a file and takes its documents away. Gives how many those were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn forget_file(&self, folder: Folder, path: String) -> Result<usize> {
        let forget = move |turn: &mut write::Turn<'_>| ingest::forget(turn, &folder, &path);
        self.inner.writer.run(forget).await
    }

    /// How far a reader of the changes has come. Changes behind all of them are
    /// forgotten.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn cursor(&self, name: String) -> Result<Option<i64>> {
        self.inner
            .readers
            .run(move |connection| cursor::read(connection, &name))
            .await
    }

    /// Moves a cursor.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn set_cursor(&self, name: String, seq: i64) -> Result<()> {
        self.inner
            .writer
            .run(move |turn| cursor::set(turn, &name, seq))
            .await
    }

    /// Takes a cursor away.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn remove_cursor(&self, name: String) -> Result<()> {
        self.inner
            .writer
            .run(move |turn| cursor::remove(turn, &name))
            .await
    }

    /// A note that the store keeps for its caller.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn note(&self, key: String) -> Result<Option<String>> {
        self.inner
            .readers
            .run(move |connection| cursor::note(connection, &key))
            .await
    }

    /// Keeps a note.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn set_note(&self, key: String, value: String) -> Result<()> {
        self.inner
            .writer
            .run(move |turn| cursor::set_note(turn, &key, &value))
            .await
    }

    /// Looks for damage. Reads everything, which may take minutes; writes and
    /// searches go on. A vector index that took in more meanwhile is only
    /// compared with its checksums.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        upkeep::index_words(&self.inner).await?;
        let indexes = Arc::clone(&self.inner.indexes);
        let check = move |connection: &_| check::check(connection, &indexes);
        self.inner.readers.run_anew(check).await
    }

    /// Makes all indexes anew from the rows. Searches are right meanwhile, and
    /// slower.
    ///
    /// # Errors
    /// The rows cannot be read, or the indexes not be written.
    pub async fn rebuild_indexes(&self) -> Result<()> {
        let rebuild = |turn: &mut write::Turn<'_>| document::words::rebuild(turn.connection);
        self.inner.writer.run(rebuild).await?;
        upkeep::rebuild(&self.inner).await
    }

    /// Writes a copy of the database, whole and compact, to a file that must not
    /// be there. Gives its bytes.
    ///
    /// # Errors
    /// `Invalid` when the file is there, `Unavailable` when it cannot be written.
    pub async fn backup(&self, target: PathBuf) -> Result<u64> {
        upkeep::backup(&self.inner, target).await
    }

    /// What it holds and takes.
    ///
    /// # Errors
    /// The file or an index cannot be read.
    pub async fn stats(&self) -> Result<Stats> {
        let indexes = Arc::clone(&self.inner.indexes);
        let path = self.inner.folder.join(FILE_NAME);
        let read = move |connection: &_| stats::read(connection, &path, &indexes);
        self.inner.readers.run(read).await
    }

    /// Passages of more than so many bytes whose rowid is above `after`, by
    /// rowid, at most `limit`: each rowid and text.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn passages_longer_than(
        &self,
        bytes: usize,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        let read = move |connection: &_| stats::longer_than(connection, bytes, after, limit);
        self.inner.readers.run(read).await
    }

    /// The number of the last change, whenever there are new ones.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.inner.indexes.committed()
    }

    /// The folder it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The id of the database.
    #[must_use]
    pub fn database(&self) -> [u8; 16] {
        self.inner.database
    }

    /// Finishes what was begun, writes the indexes and closes the file. Later
    /// calls through any clone answer `Closed`.
    ///
    /// # Errors
    /// `Unavailable` when the last writes could not be folded into the file;
    /// they are still in its log. `Closed` when it was closed before.
    pub async fn close(&self) -> Result<()> {
        upkeep::stop(self).await;
        // The writer last: it folds the log into the file and removes it.
        self.inner.readers.close().await;
        let closed = self.inner.writer.close().await;
        let mut lock = self
            .inner
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *lock = None;
        closed
    }
}
