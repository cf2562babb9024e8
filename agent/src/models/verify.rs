//! Holding files to what was read of them before.

use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;
use ginnel_proto::artifact::Artifact;
use ginnel_store::artifact::LocalFile;
use ginnel_store::blob::verify::Verdict;
use std::time::SystemTime;
use tokio::sync::mpsc;

use super::event::{Event, Outcome, Range, Verified, progress};
use super::list::Listed;
use super::{Models, ModelsError, Result};

/// What to do with a file that someone wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Tell.
    Tell,
    /// Take it as it is from now on.
    Accept,
}

/// What is done with each of several artifacts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Treatment {
    /// See [`Models::verify`].
    Verify(Changes),
    /// See [`Models::repair`].
    Repair,
}

impl Models {
    /// Verifies artifacts one after the other, all that have files if none is
    /// named. Tells everything, and the end last.
    ///
    /// # Errors
    /// The catalog or the folder cannot be read. One bad file stops none of
    /// the others.
    pub async fn verify_all(
        &self,
        names: Vec<Artifact>,
        changes: Changes,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        self.treat_all(names, Treatment::Verify(changes), events)
            .await
    }

    /// Does the same with one artifact after the other, and tells what comes of
    /// each.
    pub(super) async fn treat_all(
        &self,
        names: Vec<Artifact>,
        treatment: Treatment,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        let (mut good, mut bad) = (0, 0);
        for name in self.named_or_all(names).await? {
            let treated = match treatment {
                Treatment::Verify(changes) => self.verify(&name, changes, events).await,
                Treatment::Repair => self.repair(&name, events).await,
            };
            let event = treated.map_or_else(
                |error| Event::Failed {
                    name: Some(name.to_string()),
                    message: error.to_string(),
                },
                Event::Verified,
            );
            if event.is_good() {
                good += 1;
            } else {
                bad += 1;
            }
            let _ = events.send(event).await;
        }
        let _ = events.send(Event::Done { good, bad }).await;
        Ok(())
    }

    /// Those that are named, or all that have files or should have.
    async fn named_or_all(&self, names: Vec<Artifact>) -> Result<Vec<Artifact>> {
        if !names.is_empty() {
            return Ok(names);
        }
        let listed = self.list().await?.artifacts.into_iter();
        let with_file = listed.filter(|listed| listed.entry.file.is_some());
        Ok(with_file.map(|listed| listed.entry.name).collect())
    }

    /// Verifies one artifact, and notes what is found.
    ///
    /// # Errors
    /// It has no file, or that cannot be read.
    pub async fn verify(
        &self,
        name: &Artifact,
        changes: Changes,
        events: &mpsc::Sender<Event>,
    ) -> Result<Verified> {
        let _lease = self.lease(name);
        let listed = self.find(name).await?;
        let Some(found) = &listed.found else {
            return Err(ModelsError::NoFile(name.clone()));
        };
        let stamp = found.stamp;
        let file = listed.entry.file.as_ref();
        let is_touched = file.map(|file| file.stamp) != Some(stamp);
        let tell = progress(events.clone(), name.to_string(), stamp.size);
        let Some(index) = self.noted_index(&listed).await? else {
            let index = self.read(name, tell).await?;
            return Ok(recorded(name, &index));
        };
        let begun = SystemTime::now();
        let verdict = self.hold(&listed, &index, tell).await?;
        if verdict.is_whole() {
            self.note_whole(name, &listed, &verdict, begun).await?;
            return Ok(verified(name, Outcome::Whole, &index, &verdict));
        }
        if is_touched && changes == Changes::Accept {
            let tell = progress(events.clone(), name.to_string(), stamp.size);
            let index = self.read(name, tell).await?;
            return Ok(recorded(name, &index));
        }
        let outcome = match is_touched {
            true => Outcome::Changed,
            false => Outcome::Damaged,
        };
        if outcome == Outcome::Damaged {
            let bad = Some(verdict.bad.clone());
            self.store().mark_artifact(name.clone(), bad).await?;
        }
        Ok(verified(name, outcome, &index, &verdict))
    }

    /// Where the file was cut when it was last read.
    pub(super) async fn noted_index(&self, listed: &Listed) -> Result<Option<ChunkIndex>> {
        let blob = listed.entry.file.as_ref().and_then(|file| file.blob);
        match blob {
            Some(blob) => Ok(self.store().chunk_index(blob).await?),
            None => Ok(None),
        }
    }

    /// Reads a file and compares it.
    pub(super) async fn hold(
        &self,
        listed: &Listed,
        index: &ChunkIndex,
        tell: impl FnMut(u64) + Send + 'static,
    ) -> Result<Verdict> {
        let (path, index) = (listed.entry.path.clone(), index.clone());
        let blobs = self.blobs().await?;
        let hold = blobs.apart(move |blobs, stop| blobs.verify(&path, &index, stop, tell));
        Ok(hold.await?)
    }

    /// Notes that a file is whole, and its stamp if only that was another.
    async fn note_whole(
        &self,
        name: &Artifact,
        listed: &Listed,
        verdict: &Verdict,
        begun: SystemTime,
    ) -> Result<()> {
        let Some(file) = &listed.entry.file else {
            return Ok(());
        };
        // A stamp that does not tell of every write is not to be believed.
        let is_settled = verdict.stamp.is_settled(begun);
        let stamp = if is_settled {
            verdict.stamp
        } else {
            file.stamp
        };
        let whole = LocalFile {
            stamp,
            bad: None,
            ..file.clone()
        };
        if whole != *file {
            let store = self.store();
            store.keep_artifact_file(name.clone(), whole, None).await?;
        }
        Ok(())
    }
}

fn recorded(name: &Artifact, index: &ChunkIndex) -> Verified {
    Verified {
        name: name.to_string(),
        outcome: Outcome::Recorded,
        bytes: index.size(),
        chunks: index.chunks().len() as u64,
        blob: index.blob().to_string(),
        bad: Vec::new(),
        extra: 0,
    }
}

pub(super) fn verified(
    name: &Artifact,
    outcome: Outcome,
    index: &ChunkIndex,
    verdict: &Verdict,
) -> Verified {
    Verified {
        outcome,
        bytes: verdict.stamp.size,
        bad: ranges(index, &verdict.bad),
        extra: verdict.extra,
        ..recorded(name, index)
    }
}

/// Chunks that follow each other, together.
pub(super) fn ranges(index: &ChunkIndex, chosen: &Chosen) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let chunks = index.chunks().iter().zip(0_u64..);
    let chosen = chunks.zip(0_usize..).filter(|(_, at)| chosen.has(*at));
    for ((chunk, number), _) in chosen {
        match ranges.last_mut() {
            Some(range) if range.to == chunk.offset => {
                range.last = number;
                range.to = chunk.end();
            }
            _ => ranges.push(Range {
                first: number,
                last: number,
                from: chunk.offset,
                to: chunk.end(),
            }),
        }
    }
    ranges
}
