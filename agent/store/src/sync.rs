//! The rows that a user's devices share: those that are to be sent, and those
//! that came.
//!
//! ```text
//! change ─▶ outgoing ─▶ batch ─▶ … ─▶ batch of another device ─▶ apply
//!           what is new here                    the later stamp stays
//! ```
//!
//! Who sends and fetches batches is not known here. How far each device's log
//! has been read is written in the same transaction as what was read.

mod apply;
mod clock;
mod dump;
mod epoch;
mod garbage;
mod identity;
mod import;
mod joining;
mod meta;
mod outgoing;
mod peers;
mod published;
mod unheard;
mod valid;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use ginnel_blob::hash::Hash;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::Batch;
use ginnel_proto::sync::hlc::Hlc;
use ginnel_proto::sync::horizon::Mark;

use crate::Store;
use crate::error::{Error, Result};
use crate::model;
use crate::options::Executor;
use crate::upkeep;

pub(crate) use garbage::note_fresh;
pub(crate) use identity::{device, is_shared};
#[cfg(test)]
pub(crate) use import::{start_over as start_over_rows, take_over as take_over_rows};

pub use epoch::KnownEpoch;
pub use identity::Identity;
pub use outgoing::{Outgoing, Upto};
pub use peers::{NOT_READ, Peer, Quarantined};
pub use published::Published;

/// Rows that are applied in one transaction: others wait for so long.
pub(crate) const APPLIED_AT_ONCE: usize = 8192;

/// What else there is, for a device that begins anew with a published database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It is all.
    Nothing,
    /// Batches of the epoch before are applied next, until [`Store::begin_logs`].
    BatchesOfBefore,
}

/// What became of the rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// They are what the store has now.
    pub taken: usize,
    /// The store had later ones.
    pub stale: usize,
}

impl Applied {
    fn add(&mut self, part: Self) {
        self.taken += part.taken;
        self.stale += part.stale;
    }
}

/// A batch that is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// In which epoch.
    pub epoch: u64,
    /// Which of this device's.
    pub sequence: u64,
    /// Its BLAKE3.
    pub hash: Hash,
    /// Its earliest stamp.
    pub first: Hlc,
    /// Its latest stamp.
    pub last: Hlc,
    /// As it lies there.
    pub object: Bytes,
}

impl Store {
    /// Begins to share the rows, as this device of this user. All that is there
    /// is to be sent then; rows of a time without a name get this one.
    ///
    /// # Errors
    /// `Invalid` if the rows are shared already, with another user's devices or
    /// under a name that is not the store's.
    pub async fn begin_sync(&self, identity: Identity) -> Result<()> {
        let begin = move |turn: &mut crate::write::Turn<'_>| identity::begin(turn, &identity);
        self.inner.writer.run(begin).await
    }

    /// Corrects the clock: the relay's is ahead of this machine's by so many
    /// milliseconds. What nobody has seen yet and was stamped by a clock that
    /// was far off is stamped anew. Gives how many rows those were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn correct_clock(&self, offset_ms: i64) -> Result<usize> {
        let correct = move |turn: &mut crate::write::Turn<'_>| clock::correct(turn, offset_ms);
        self.inner.writer.run(correct).await
    }

    /// The next rows to be sent, as many as fit into a batch; `None` if there
    /// are none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn outgoing(&self) -> Result<Option<Outgoing>> {
        self.inner.readers.run(outgoing::next).await
    }

    /// How many changes were not looked at yet, whether they are to be sent. An
    /// upper bound; takes no time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn outgoing_backlog(&self) -> Result<u64> {
        self.inner.readers.run(outgoing::backlog).await
    }

    /// Up to which change all of this device's rows are in the bucket; `None` while
    /// they are sent for the first time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn sent_upto(&self) -> Result<Option<i64>> {
        self.inner.readers.run(outgoing::sent_upto).await
    }

    /// Rows up to there are in the bucket.
    ///
    /// # Errors
    /// `Unavailable` if another epoch has begun, or the file cannot be written.
    pub async fn sent(&self, upto: Upto, written: Option<Written>) -> Result<()> {
        let sent = move |turn: &mut crate::write::Turn<'_>| {
            if let Some(batch) = &written {
                epoch::check(turn.connection, batch.epoch)?;
            }
            outgoing::sent(turn, upto)?;
            match &written {
                Some(batch) => {
                    written::keep(turn, batch)?;
                    peers::read_own(turn, batch)
                }
                None => Ok(()),
            }
        };
        self.inner.writer.run(sent).await
    }

    /// One of this device's newest batches as it was written, if it is kept.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn written(&self, sequence: u64) -> Result<Option<Bytes>> {
        let find = move |connection: &rusqlite::Connection| written::find(connection, sequence);
        self.inner.readers.run(find).await
    }

    /// Whether no other device has heard of any row of this one yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn is_new(&self) -> Result<bool> {
        self.inner.readers.run(joining::is_new).await
    }

    /// All that other devices wrote is read. Of deletions that are no later than
    /// `gone` they know nothing any more: what of this device's they do not know counts
    /// as later than those.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn join(&self, gone: Hlc) -> Result<()> {
        let join = move |turn: &mut crate::write::Turn<'_>| joining::join(turn, gone);
        self.inner.writer.run(join).await
    }

    /// All of this device's rows are to be sent once more: what was sent is lost.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn send_again(&self) -> Result<()> {
        let begin = |turn: &mut crate::write::Turn<'_>| outgoing::begin_scan(turn.connection);
        self.inner.writer.run(begin).await
    }

    /// Applies a batch, and notes that the device's log is read up to there.
    /// Again or in another order than before, it comes to the same.
    ///
    /// # Errors
    /// `Invalid` says what is wrong with a row: some rows may be applied then.
    /// `Unavailable` if a stamp is too far ahead of the clock, or another epoch has
    /// begun.
    pub async fn apply(&self, batch: Batch) -> Result<Applied> {
        let Batch { header, rows, hash } = batch;
        valid::validate(&rows)?;
        let (device, epoch) = (header.place.device, header.place.epoch);
        let mut applied = Applied::default();
        let mut parts = apply::parts(rows, APPLIED_AT_ONCE);
        while let Some(rows) = parts.next() {
            let is_last = parts.len() == 0;
            let read = is_last.then(|| Peer {
                device: device.clone(),
                sequence: header.place.sequence,
                hash,
                last: header.stamps.1,
            });
            let device = device.clone();
            let last = header.stamps.1;
            let part = self.inner.writer.run(move |turn| {
                epoch::check(turn.connection, epoch)?;
                turn.observe(last)?;
                let applied = apply::rows(turn, &device, rows)?;
                if let Some(peer) = read {
                    peers::read(turn, &peer)?;
                }
                Ok(applied)
            });
            applied.add(part.await?);
        }
        self.purge_models().await?;
        Ok(applied)
    }

    /// Takes the vectors away of models that other devices deleted.
    async fn purge_models(&self) -> Result<()> {
        for id in self.inner.readers.run(model::unpurged).await? {
            let mut after = Some(0);
            while let Some(from) = after {
                let purge = move |turn: &mut crate::write::Turn<'_>| model::purge(turn, id, from);
                after = self.inner.writer.run(purge).await?;
            }
        }
        Ok(())
    }

    /// How far the log of each device has been read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn peers(&self) -> Result<Vec<Peer>> {
        self.inner.readers.run(peers::all).await
    }

    /// Notes that a batch is not applied, and why.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn quarantine(
        &self,
        device: DeviceName,
        sequence: u64,
        reason: String,
    ) -> Result<()> {
        let note = move |turn: &mut crate::write::Turn<'_>| {
            peers::quarantine(turn, &device, sequence, &reason)
        };
        self.inner.writer.run(note).await
    }

    /// Goes on behind a batch that cannot be applied.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn skip(&self, device: DeviceName, sequence: u64) -> Result<()> {
        let skip = move |turn: &mut crate::write::Turn<'_>| peers::skip(turn, &device, sequence);
        self.inner.writer.run(skip).await
    }

    /// Batches that were not applied.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn quarantined(&self) -> Result<Vec<Quarantined>> {
        self.inner.readers.run(peers::quarantined).await
    }

    /// Remembers how far all logs are read now, for [`Store::marks`]. Gives how far
    /// each is without a gap.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn mark(&self) -> Result<BTreeMap<DeviceName, u64>> {
        self.inner.writer.run(|turn| garbage::mark(turn)).await
    }

    /// How far all logs were read at certain changes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn marks(&self) -> Result<Vec<Mark>> {
        self.inner.readers.run(garbage::marks).await
    }

    /// The latest stamp of a deletion that this device has let go.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn gone(&self) -> Result<Hlc> {
        self.inner.readers.run(garbage::gone).await
    }

    /// Notes for [`Store::gone`] what [`Store::collect_garbage`] will let go, and
    /// gives it: others are told before it happens.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn will_be_gone(&self, horizon: i64) -> Result<Hlc> {
        let note = move |turn: &mut crate::write::Turn<'_>| garbage::will_be_gone(turn, horizon);
        self.inner.writer.run(note).await
    }

    /// Lets go what was kept until the change `horizon` for devices that know it
    /// by now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn collect_garbage(&self, horizon: i64) -> Result<()> {
        let collect = move |turn: &mut crate::write::Turn<'_>| garbage::collect(turn, horizon);
        while self.inner.writer.run(collect).await? {}
        Ok(())
    }

    /// Runs what takes long where SQLite's calls run, and not on the caller's
    /// thread.
    ///
    /// # Errors
    /// The process ends.
    pub async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match self.inner.executor {
            Executor::Inline => Ok(work()),
            Executor::Threads => {
                let done = tokio::task::spawn_blocking(work).await;
                done.map_err(|_| Error::closed())
            }
        }
    }

    /// Brings a plain database of all shared rows up to date, in place, and makes
    /// sure that it is whole: for the bucket.
    ///
    /// # Errors
    /// It or the store cannot be read or written.
    pub async fn write_published(&self, path: PathBuf) -> Result<Published> {
        let store = self.inner.folder.join(crate::FILE_NAME);
        let database = self.inner.database;
        let write = move || published::write(&store, database, &path);
        let written = self.apart(write).await??;
        // Changes behind it are kept for the next time.
        self.set_cursor(published::CURSOR.to_owned(), written.change)
            .await?;
        Ok(written)
    }

    /// Takes over a published database: all at once where nothing is known yet,
    /// else row by row, as batches are. Indexes follow meanwhile.
    ///
    /// # Errors
    /// `Invalid` if it has what no device may send, `Newer` if it is of a newer
    /// version; or the store cannot be written.
    pub async fn take_over(&self, path: PathBuf) -> Result<()> {
        let (whole, latest) = (path.clone(), self.latest().await?);
        upkeep::distrust_indexes(&self.inner).await?;
        let take = move |connection: &rusqlite::Connection| {
            let origin = device(connection)?.unwrap_or_default();
            import::take_over(connection, &whole, &origin, latest)
        };
        match self.inner.writer.run_apart(take).await? {
            true => {
                self.purge_models().await?;
                upkeep::make_indexes(&self.inner).await
            }
            false => self.merge(path, latest).await,
        }
    }

    /// Takes over a published database instead of what is there: for a device that
    /// was away for too long, or after a restore. What this device changed and no other
    /// has heard of stays, unless it is of a document that is gone.
    ///
    /// # Errors
    /// As [`Store::take_over`].
    pub async fn start_over(&self, path: PathBuf, rest: Rest) -> Result<()> {
        let latest = self.latest().await?;
        // From now on searches read the rows, of before and after.
        upkeep::distrust_indexes(&self.inner).await?;
        let over = move |connection: &rusqlite::Connection| {
            let origin = device(connection)?.unwrap_or_default();
            import::start_over(connection, &path, &origin, latest, rest)
        };
        self.inner.writer.run_apart(over).await?;
        self.purge_models().await?;
        upkeep::make_indexes(&self.inner).await
    }

    /// Applies rows of a batch of an epoch before that belong to what was restored:
    /// of those that were changed until then.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub async fn apply_of_before(&self, batch: Batch, until_unix_ms: u64) -> Result<Applied> {
        let Batch { header, rows, .. } = batch;
        let rows = rows.until(until_unix_ms);
        valid::validate(&rows)?;
        let mut applied = Applied::default();
        for rows in apply::parts(rows, APPLIED_AT_ONCE) {
            let device = header.place.device.clone();
            let part = self.inner.writer.run(move |turn| {
                if let Some((_, last)) = rows.stamps() {
                    turn.observe(last)?;
                }
                let applied = apply::rows(turn, &device, rows)?;
                meta::write(turn.connection, meta::SYNCED, turn.last_stamp().to_stored())?;
                Ok(applied)
            });
            applied.add(part.await?);
        }
        self.purge_models().await?;
        Ok(applied)
    }

    /// All that this device begins with in a new epoch is there. From here on its logs
    /// are read, from their beginning.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin_logs(&self, epoch: KnownEpoch) -> Result<()> {
        let begin = move |turn: &mut crate::write::Turn<'_>| {
            unheard::settle(turn)?;
            peers::forget(turn)?;
            epoch::write(turn.connection, epoch)
        };
        self.inner.writer.run(begin).await
    }

    /// Removes all shared rows, and what belongs to them: nothing is told to other
    /// devices. Freed pages are overwritten.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn erase(&self) -> Result<()> {
        self.inner.writer.run_apart(import::erase).await?;
        self.rebuild_indexes().await
    }

    /// In which epoch the rows are shared; `None` before the first time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn epoch(&self) -> Result<Option<KnownEpoch>> {
        self.inner.readers.run(epoch::read).await
    }

    /// Notes in which epoch the rows are shared.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn set_epoch(&self, epoch: KnownEpoch) -> Result<()> {
        let set = move |turn: &mut crate::write::Turn<'_>| epoch::write(turn.connection, epoch);
        self.inner.writer.run(set).await
    }

    /// The latest stamp that a row of another device may have now.
    async fn latest(&self) -> Result<Hlc> {
        let latest = |turn: &mut crate::write::Turn<'_>| Ok(Hlc::latest_at(turn.now()));
        self.inner.writer.run(latest).await
    }

    /// Applies the rows of a published database.
    async fn merge(&self, path: PathBuf, latest: Hlc) -> Result<()> {
        let whole = path.clone();
        self.apart(move || import::check(&whole, latest)).await??;
        let mut place = import::Place::default();
        loop {
            let from = path.clone();
            let read = move |_: &_| import::rows(&from, place, APPLIED_AT_ONCE);
            let Some((rows, next)) = self.inner.readers.run(read).await? else {
                break;
            };
            self.inner
                .writer
                .run(move |turn| {
                    for (origin, rows) in rows {
                        if let Some((_, last)) = rows.stamps() {
                            turn.observe(last)?;
                        }
                        apply::rows(turn, &origin, rows)?;
                    }
                    Ok(())
                })
                .await?;
            place = next;
        }
        let note = move |turn: &mut crate::write::Turn<'_>| {
            let (_, about) = import::open(&path)?;
            import::note_logs(turn.connection, &about)?;
            meta::write(turn.connection, meta::SYNCED, turn.last_stamp().to_stored())
        };
        self.inner.writer.run(note).await?;
        self.purge_models().await
    }

    /// All live rows as text, one a line, in an order that does not depend on
    /// this file: two devices that agree give the same.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn logical_dump(&self) -> Result<Vec<String>> {
        self.inner.readers.run(dump::dump).await
    }
}

fn stored_sequence(sequence: u64) -> Result<i64> {
    let stored = i64::try_from(sequence);
    stored.map_err(|_| Error::invalid(format!("sequence is too high, sequence={sequence}")))
}
