//! The catalog in the bucket: entries read, written by condition, and listed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;
use ginnel_proto::artifact::{Artifact, Cover};
use ginnel_proto::id::UserName;
use object_store::path::Path;
use tokio::time::{Instant, sleep_until};

use super::entry::{ENTRY_MAX, Entry};
use crate::objects::error::{Error, ErrorKind, Result};
use crate::objects::layout::{Place, Shelf};
use crate::objects::{Bucket, Etag};

/// Entries that are read at once for a listing.
const READS: usize = 16;

/// Entries that are remembered, about a kilobyte each. Beyond that a listing
/// reads the rest again each time.
const REMEMBERED: usize = 20_000;

/// Entries by key.
#[derive(Debug)]
pub struct Catalog {
    bucket: Bucket,
    remembered: Mutex<HashMap<Path, Versioned>>,
    /// When entries were last written; those of long ago are forgotten.
    written: Mutex<HashMap<Path, Instant>>,
}

/// An entry as it was at one time.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The bucket's tag for it.
    pub etag: Etag,
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It is there.
    Yes(Versioned),
    /// Somebody else wrote first: this is there, if anything is.
    Lost(Option<Versioned>),
}

impl Catalog {
    /// The catalog of a bucket.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self {
            bucket,
            remembered: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// An artifact's entry as it is now.
    ///
    /// # Errors
    /// The bucket's, or what lies there is no entry.
    pub async fn read(&self, place: &Place) -> Result<Option<Versioned>> {
        self.read_key(&place.entry()).await
    }

    async fn read_key(&self, key: &Path) -> Result<Option<Versioned>> {
        let Some(small) = self.bucket.read(key, ENTRY_MAX).await? else {
            return Ok(None);
        };
        let entry = Entry::decode(&small.bytes).map_err(|reason| {
            let what = format_args!("entry cannot be read, reason={reason}");
            Error::new(ErrorKind::Invalid, what, key)
        })?;
        let entry = Arc::new(entry);
        let etag = small.etag;
        Ok(Some(Versioned { entry, etag }))
    }

    /// Writes an entry over the one that was read, or where there was none. An
    /// answer that was lost is found out about.
    ///
    /// # Errors
    /// The bucket's: then it is not known whether it was written.
    pub async fn write(
        &self,
        place: &Place,
        old: Option<&Versioned>,
        entry: Entry,
    ) -> Result<Written> {
        let key = place.entry();
        self.wait_for_turn(&key).await;
        let bytes = entry.encode().into();
        let written = match old {
            Some(old) => self.bucket.replace(&key, &old.etag, bytes).await,
            None => self.bucket.create(&key, bytes).await,
        };
        lock(&self.written).insert(key.clone(), Instant::now());
        match written {
            Ok(etag) => {
                let entry = Arc::new(entry);
                Ok(Written::Yes(Versioned { entry, etag }))
            }
            // A request that was sent twice is refused by its own effect, and one
            // whose answer was lost may have had it.
            Err(error) if matches!(error.kind(), ErrorKind::Changed | ErrorKind::Unavailable) => {
                let now = self.read_key(&key).await?;
                match now {
                    Some(now) if *now.entry == entry => Ok(Written::Yes(now)),
                    now if error.kind() == ErrorKind::Changed => Ok(Written::Lost(now)),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what lies beside an artifact, such as an adapter's metadata.
    ///
    /// # Errors
    /// The bucket's.
    pub(super) async fn write_beside(&self, key: &Path, bytes: Bytes) -> Result<()> {
        self.wait_for_turn(key).await;
        let written = self.bucket.write(key, bytes).await;
        lock(&self.written).insert(key.clone(), Instant::now());
        written.map(drop)
    }

    /// Buckets take one write a second of an entry: a second push would be
    /// refused, and be tried again by chance.
    async fn wait_for_turn(&self, key: &Path) {
        let spacing = self.bucket.spacing();
        let until = {
            let mut written = lock(&self.written);
            written.retain(|_, at| at.elapsed() < spacing);
            written.get(key).map(|at| *at + spacing)
        };
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    /// All artifacts of a shelf with their entries. One listing, and a read for
    /// each entry that is new or changed.
    ///
    /// # Errors
    /// The bucket's. An entry that cannot be read is left out, and told in the
    /// log.
    pub async fn list(&self, shelf: &Shelf) -> Result<Vec<(Artifact, Arc<Entry>)>> {
        // Beside its entries lie logs, which may be long.
        if let Shelf::KnowledgeOf(user) = shelf {
            return self.list_knowledge(user).await;
        }
        let listed = self.bucket.list(&shelf.catalog());
        let entries = listed
            .try_filter_map(|object| {
                let artifact = shelf.artifact(&object.key);
                std::future::ready(Ok(artifact.map(|artifact| (artifact, object))))
            })
            .map_ok(|(artifact, object)| async move {
                let entry = self.remembered(&object.key, &object.etag).await;
                entry.map(|entry| entry.map(|entry| (artifact, entry)))
            })
            .try_buffered(READS);
        entries
            .try_filter_map(|entry| std::future::ready(Ok(entry)))
            .try_collect()
            .await
    }

    async fn list_knowledge(&self, user: &UserName) -> Result<Vec<(Artifact, Arc<Entry>)>> {
        let mut entries = Vec::new();
        for cover in [Cover::Plain, Cover::Sealed] {
            let artifact = Artifact::Knowledge(cover);
            match self.read(&Place::of(&artifact, user)).await {
                Ok(Some(now)) => entries.push((artifact, now.entry)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    tracing::warn!(%error, "an entry of the catalog is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    async fn remembered(&self, key: &Path, etag: &Etag) -> Result<Option<Arc<Entry>>> {
        if let Some(known) = self.lock().get(key)
            && known.etag == *etag
        {
            return Ok(Some(Arc::clone(&known.entry)));
        }
        let read = match self.read_key(key).await {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Invalid => {
                tracing::warn!(%error, "an entry of the catalog is left out");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(read) = read else {
            self.lock().remove(key);
            return Ok(None);
        };
        let entry = Arc::clone(&read.entry);
        let mut remembered = self.lock();
        if remembered.len() < REMEMBERED || remembered.contains_key(key) {
            remembered.insert(key.clone(), read);
        }
        Ok(Some(entry))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Path, Versioned>> {
        lock(&self.remembered)
    }
}

/// Nothing under these locks panics half-way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
