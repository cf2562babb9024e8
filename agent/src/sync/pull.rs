//! An artifact from the relay: chunk index → chunks that are here already →
//! ranges for the rest, each chunk held to its hash → the file in its place.
//! The function to read is [`Pull::run`].

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use ginnel_blob::hash::Hash;
use ginnel_blob::index::{Chunk, ChunkIndex};
use ginnel_blob::plan::{Chosen, ranges};
use ginnel_store::Store;
use ginnel_store::artifact::{LocalFile, Remote};
use ginnel_store::blob::BlobFolder;
use ginnel_store::blob::arrive::Arrived;
use ginnel_store::blob::place::Unfinished;
use ginnel_store::transfer::Transfer;
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::catalog::{Catalog, Version};
use super::failure::{Failure, Then};
use super::fetch::Source;
use super::{Changes, reuse};

/// Chunks between two that are lacking are fetched with them if they are no
/// longer than this, in bytes: a request costs as much.
const GAP_MAX: u64 = 256 << 10;

/// The longest range, in bytes: as much is lost when a connection breaks.
const RANGE_MAX: u64 = 8 << 20;

/// Ranges at once.
const RANGES: usize = 4;

/// How much may be written before it is synced and noted, in bytes. With the
/// ranges under way, that is what a break costs.
const NOTE_EVERY: u64 = 24 << 20;

/// How often a chunk that is wrong is fetched again.
const TRIES: usize = 3;

/// One pull of one transfer.
pub(super) struct Pull<'a> {
    pub(super) store: &'a Store,
    pub(super) folder: &'a BlobFolder,
    pub(super) catalog: Catalog,
    pub(super) source: Source<'a>,
    pub(super) version: &'a Version,
    pub(super) transfer: &'a Transfer,
    pub(super) over: Changes,
}

/// What has arrived.
struct Written {
    chunks: Chosen,
    /// Bytes that travelled, and are not noted.
    travelled: u64,
    /// Bytes that were written, and are not noted.
    unnoted: u64,
}

impl Pull<'_> {
    /// Pulls, and notes what becomes of it.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let index = Arc::new(self.index().await?);
        let count = index.chunks().len();
        let (id, etag) = (self.transfer.id, &self.version.remote.etag);
        if !self.is_begun().await? {
            // What was noted as written is gone, or in its place already: a kill
            // may have come between the two. Room is taken only then.
            self.store.forget_chunks(id).await?;
            if let Some(file) = self.in_place().await? {
                return self.finish(file).await;
            }
        }
        let unfinished = Arc::new(self.unfinished().await?);
        let mut chunks = self.store.transfer_chunks(id, etag.clone(), count).await?;
        reuse::fill(self.store, self.folder, &index, &unfinished, &mut chunks).await?;
        self.note(&unfinished, chunks.clone(), 0).await?;
        let have = chunks.length(&index);
        let lacking = index.size() - have;
        let reused = have.saturating_sub(self.transfer.progress.sent);
        self.store.plan_transfer(id, lacking, reused).await?;

        let arrived = Mutex::new(Written {
            chunks,
            travelled: 0,
            unnoted: 0,
        });
        let fetched = self.fetch(&index, &unfinished, &arrived).await;
        let Written {
            chunks, travelled, ..
        } = arrived.into_inner();
        // What came before a break need not come again.
        self.note(&unfinished, chunks, travelled).await?;
        fetched?;
        self.place(unfinished).await
    }

    /// The file in its place, if it is what is pulled.
    async fn in_place(&self) -> Result<Option<LocalFile>, Failure> {
        let Remote { blob, size, .. } = self.version.remote;
        let path = self.transfer.path.clone();
        let looked = self.folder.apart(move |folder, stop| {
            if folder.stamp(&path)?.is_none_or(|stamp| stamp.size != size) {
                return Ok(None);
            }
            // One that cannot be read is not what is pulled.
            let read = folder.index(&path, stop, |_| {}).ok();
            let read = read.filter(|read| read.index.blob() == blob);
            let found = read.map(|read| read.file());
            if found.is_some() {
                folder.discard_unfinished(&path, blob)?;
            }
            Ok(found)
        });
        Ok(looked.await?)
    }

    /// Whether the file in its place was written to since the pull was asked
    /// for: then it is kept.
    async fn check_kept(&self) -> Result<(), Failure> {
        let name = &self.transfer.artifact;
        let known = self.store.artifact(name.clone()).await?;
        let known = known.and_then(|entry| entry.file);
        let path = self.transfer.path.clone();
        let looked = self.folder.apart(move |folder, stop| {
            let Some(stamp) = folder.stamp(&path)? else {
                return Ok(true);
            };
            let Some(known) = known else { return Ok(false) };
            if known.stamp == stamp {
                return Ok(true);
            }
            // Times may differ where bytes do not.
            let read = folder.index(&path, stop, |_| {}).ok();
            Ok(read.is_some_and(|read| Some(read.index.blob()) == known.blob))
        });
        if looked.await? {
            return Ok(());
        }
        Err(Failure::give(format_args!(
            "the file here was changed while the artifact was pulled, and stays, name={name}; \
             hint: push it, or pull again with --force"
        )))
    }

    async fn finish(&self, file: LocalFile) -> Result<(), Failure> {
        let remote = self.version.remote.clone();
        let done = self
            .store
            .finish_pull(self.transfer.id, file, remote)
            .await?;
        debug!(artifact = %done.artifact, "pulled");
        Ok(())
    }

    /// The version's chunk index: what was kept when the transfer was begun, if
    /// the version is cut as it was.
    async fn index(&self) -> Result<ChunkIndex, Failure> {
        let known = self.store.chunk_index(self.version.remote.blob).await?;
        if let Some(known) = known.filter(|known| known.root() == self.version.index) {
            return Ok(known);
        }
        let artifact = &self.transfer.artifact;
        self.catalog.index(artifact, self.version).await
    }

    /// Whether there is a file that is being made.
    async fn is_begun(&self) -> Result<bool, Failure> {
        let blob = self.version.remote.blob;
        let path = self.transfer.path.clone();
        let looked = self
            .folder
            .apart(move |folder, _| Ok(folder.unfinished_of(&path, blob).exists()));
        Ok(looked.await?)
    }

    /// The file that is being made.
    async fn unfinished(&self) -> Result<Unfinished, Failure> {
        let Remote { blob, size, .. } = self.version.remote;
        let path = self.transfer.path.clone();
        let made = self
            .folder
            .apart(move |folder, _| folder.unfinished(&path, blob, size));
        Ok(made.await?)
    }

    /// Fetches all that is lacking.
    async fn fetch(
        &self,
        index: &Arc<ChunkIndex>,
        unfinished: &Arc<Unfinished>,
        arrived: &Mutex<Written>,
    ) -> Result<(), Failure> {
        let here = arrived.lock().await.chunks.clone();
        let wanted = ranges(index, |number| !here.has(number), GAP_MAX, RANGE_MAX);
        let fetched = futures_util::stream::iter(wanted)
            .map(|range| self.fetch_range(index, unfinished, arrived, range))
            .buffer_unordered(RANGES);
        fetched.try_collect().await
    }

    /// Fetches chunks that lie side by side, and those that are wrong again.
    async fn fetch_range(
        &self,
        index: &Arc<ChunkIndex>,
        unfinished: &Arc<Unfinished>,
        arrived: &Mutex<Written>,
        range: Range<usize>,
    ) -> Result<(), Failure> {
        let Some(chunks) = index.chunks().get(range.clone()) else {
            return Ok(());
        };
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Ok(());
        };
        let mut coming = self.source.begin(&(first.offset..last.end())).await?;
        let mut ahead = BytesMut::new();
        for (number, chunk) in range.zip(chunks) {
            let length = usize::try_from(chunk.length).unwrap_or(usize::MAX);
            while ahead.len() < length {
                match coming.next(self.source.pace).await? {
                    Some(piece) => ahead.extend_from_slice(&piece),
                    None => return Err(Failure::retry("the answer was cut short")),
                }
            }
            let bytes = ahead.split_to(length).freeze();
            if !written(unfinished, *chunk, bytes).await? {
                self.fetch_again(unfinished, number, *chunk).await?;
            }
            self.add(index, unfinished, arrived, (number, *chunk))
                .await?;
        }
        Ok(())
    }

    /// One chunk alone, through the tunnel: whatever was between changed it.
    async fn fetch_again(
        &self,
        unfinished: &Arc<Unfinished>,
        number: usize,
        chunk: Chunk,
    ) -> Result<(), Failure> {
        let length = usize::try_from(chunk.length).unwrap_or(usize::MAX);
        for attempt in 1..=TRIES {
            info!(
                number,
                attempt, "a chunk arrived damaged, and is fetched again"
            );
            let mut coming = self.source.through_tunnel(&chunk.place()).await?;
            let mut bytes = BytesMut::with_capacity(length);
            while let Some(piece) = coming.next(self.source.pace).await? {
                bytes.extend_from_slice(&piece);
            }
            if written(unfinished, chunk, bytes.freeze()).await? {
                return Ok(());
            }
        }
        let name = &self.transfer.artifact;
        Err(Failure::give(format_args!(
            "the bucket has other bytes than were pushed, and the file here stays as it is, \
             name={name} chunk={number} offset={}; hint: push the artifact again",
            chunk.offset
        )))
    }

    /// Adds a chunk to those that were written, and notes these every now and then.
    async fn add(
        &self,
        index: &ChunkIndex,
        unfinished: &Arc<Unfinished>,
        arrived: &Mutex<Written>,
        (number, chunk): (usize, Chunk),
    ) -> Result<(), Failure> {
        let mut arrived = arrived.lock().await;
        let length = u64::from(chunk.length);
        // What lay in a gap was here already.
        if !arrived.chunks.has(number) {
            arrived.chunks.add(number);
            arrived.travelled += length;
        }
        arrived.unnoted += length;
        debug_assert!(number < index.chunks().len());
        if arrived.unnoted >= NOTE_EVERY {
            let travelled = std::mem::take(&mut arrived.travelled);
            arrived.unnoted = 0;
            let chunks = arrived.chunks.clone();
            self.note(unfinished, chunks, travelled).await?;
        }
        Ok(())
    }

    /// Syncs what was written, then notes it: in this order.
    async fn note(
        &self,
        unfinished: &Arc<Unfinished>,
        chunks: Chosen,
        travelled: u64,
    ) -> Result<(), Failure> {
        let file = Arc::clone(unfinished);
        blocking(move || file.sync()).await??;
        let etag = self.version.remote.etag.clone();
        self.store
            .keep_chunks(self.transfer.id, etag, chunks, travelled)
            .await?;
        Ok(())
    }

    /// Holds the whole file to its hash, and puts it in its place.
    async fn place(&self, unfinished: Arc<Unfinished>) -> Result<(), Failure> {
        if self.over == Changes::Keep {
            self.check_kept().await?;
        }
        let Remote { blob, size, .. } = self.version.remote;
        let path = self.transfer.path.clone();
        let placed = self.folder.apart(move |folder, stop| {
            // All that wrote to it have ended.
            let Some(unfinished) = Arc::into_inner(unfinished) else {
                return Ok(None);
            };
            match unfinished.arrive(&path, blob, size, stop)? {
                Arrived::Placed(file) => Ok(Some(file)),
                Arrived::Another(_) => {
                    folder.discard_unfinished(&path, blob)?;
                    Ok(None)
                }
            }
        });
        let Some(file) = placed.await? else {
            self.store.forget_chunks(self.transfer.id).await?;
            let name = &self.transfer.artifact;
            return Err(Failure {
                then: Then::Give,
                reason: format!(
                    "the chunk index does not belong to the blob, and the file here stays as it \
                     is, name={name}; hint: push the artifact again"
                ),
            });
        };
        self.finish(file).await
    }
}

/// Writes the chunk if it has its hash. Gives whether it has.
async fn written(file: &Arc<Unfinished>, chunk: Chunk, bytes: Bytes) -> Result<bool, Failure> {
    let file = Arc::clone(file);
    let write = move || {
        if Hash::of(&bytes) != chunk.hash {
            return Ok(false);
        }
        file.write_at(chunk.offset, &bytes).map(|()| true)
    };
    Ok(blocking(write).await??)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Failure::retry)
}
