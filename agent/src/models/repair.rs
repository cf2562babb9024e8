//! Making damaged files whole again from what this device has.
//!
//! A chunk that is damaged in one file may be whole in another: in the model
//! that it was made from, or under another name. What is nowhere here has to
//! be fetched, which is not this module's business; it says which bytes those
//! are.

use std::io::{Read, Seek, SeekFrom};

use ginnel_blob::hash::{Hash, Hasher};
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::{Chosen, Source, Stock};
use ginnel_proto::artifact::Artifact;
use ginnel_store::artifact::LocalFile;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::blob::place::{Over, Unfinished};
use ginnel_store::blob::stamp::Stamp;
use ginnel_store::blob::verify::Verdict;
use ginnel_store::blob::{BlobFolder, Stop};
use ginnel_store::error::{Error, Result as StoreResult};
use tokio::sync::mpsc;

use super::event::{Event, Outcome, Verified, progress};
use super::verify::{Changes, Treatment, verified};
use super::{Models, ModelsError, Result};

/// Where chunks may be had: files of this device, and where they are cut.
struct Elsewhere {
    stock: Stock,
    paths: Vec<BlobPath>,
}

impl Models {
    /// Repairs artifacts one after the other, all that have files if none is
    /// named. Tells everything, and the end last. What cannot be repaired is
    /// left as it is and told by its bytes.
    ///
    /// # Errors
    /// The catalog or the folder cannot be read. One bad file stops none of
    /// the others.
    pub async fn repair_all(
        &self,
        names: Vec<Artifact>,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        self.treat_all(names, Treatment::Repair, events).await
    }

    /// Verifies one artifact, and repairs it if all that is damaged is
    /// elsewhere on this device. The damaged file stays in its place until the
    /// repaired one is whole.
    ///
    /// # Errors
    /// It has no file, or that cannot be read or written.
    pub async fn repair(&self, name: &Artifact, events: &mpsc::Sender<Event>) -> Result<Verified> {
        let found = self.verify(name, Changes::Tell, events).await?;
        if found.outcome != Outcome::Damaged {
            return Ok(found);
        }
        let _lease = self.lease(name);
        let listed = self.find(name).await?;
        let file = listed.entry.file.clone();
        let (Some(file), Some(index)) = (file, self.noted_index(&listed).await?) else {
            return Err(ModelsError::NoFile(name.clone()));
        };
        let Some(bad) = file.bad_chunks(&index) else {
            return Ok(found);
        };
        let elsewhere = self.elsewhere(name).await?;
        let blobs = self.blobs().await?;
        let (path, wanted) = (listed.entry.path.clone(), index.clone());
        let tell = progress(events.clone(), name.to_string(), index.size());
        let mended = blobs
            .apart(move |blobs, stop| mend(blobs, &path, &wanted, &bad, &elsewhere, stop, tell));
        match mended.await? {
            Ok(stamp) => {
                let whole = LocalFile::read(stamp, file.format, index.blob());
                self.store()
                    .keep_artifact_file(name.clone(), whole, None)
                    .await?;
                let verdict = Verdict {
                    stamp,
                    bad: Chosen::none(index.chunks().len()),
                    extra: 0,
                };
                Ok(verified(name, Outcome::Repaired, &index, &verdict))
            }
            Err(lacking) => {
                // What can be had here is not what is asked for elsewhere, so
                // only the rest is told; the file is as damaged as before.
                let verdict = Verdict {
                    stamp: file.stamp,
                    bad: lacking,
                    extra: found.extra,
                };
                Ok(verified(name, Outcome::Damaged, &index, &verdict))
            }
        }
    }

    /// Other files, and where they are cut.
    async fn elsewhere(&self, name: &Artifact) -> Result<Elsewhere> {
        let mut elsewhere = Elsewhere {
            stock: Stock::default(),
            paths: Vec::new(),
        };
        for listed in self.list().await?.artifacts {
            if listed.entry.name == *name || listed.found.is_none() {
                continue;
            }
            // Changed or damaged, it may still have the chunk: each is held
            // to its hash when it is read.
            if let Some(index) = self.noted_index(&listed).await? {
                elsewhere.stock.add(elsewhere.paths.len(), &index);
                elsewhere.paths.push(listed.entry.path);
            }
        }
        Ok(elsewhere)
    }
}

/// Writes a whole file beside the damaged one and puts it in its place. Within
/// is what is nowhere.
fn mend(
    blobs: &BlobFolder,
    path: &BlobPath,
    index: &ChunkIndex,
    bad: &Chosen,
    elsewhere: &Elsewhere,
    stop: &Stop,
    mut tell: impl FnMut(u64),
) -> StoreResult<std::result::Result<Stamp, Chosen>> {
    let mut lacking = Chosen::none(index.chunks().len());
    let sources = elsewhere.stock.sources(index);
    // First those that may not be there, so that no file is copied in vain.
    for number in bad.numbers() {
        let (Some(chunk), Some(source)) = (index.chunks().get(number), sources.get(number)) else {
            continue;
        };
        let length = chunk.length as usize;
        if fetch(blobs, elsewhere, *source, length, chunk.hash)?.is_none() {
            lacking.add(number);
        }
    }
    if lacking.numbers().next().is_some() {
        return Ok(Err(lacking));
    }
    let unfinished = blobs.unfinished(path, index.blob(), index.size())?;
    let written = fill(
        blobs,
        &unfinished,
        (path, index, bad),
        (elsewhere, &sources),
        stop,
        &mut tell,
    );
    match written {
        Ok(()) => unfinished.finish(Over::Anything).map(Ok),
        Err(error) => {
            blobs.discard_unfinished(path, index.blob())?;
            Err(error)
        }
    }
}

/// Writes every chunk, and holds the whole to its hash.
fn fill(
    blobs: &BlobFolder,
    to: &Unfinished,
    (path, index, bad): (&BlobPath, &ChunkIndex, &Chosen),
    (elsewhere, sources): (&Elsewhere, &[Source]),
    stop: &Stop,
    tell: &mut impl FnMut(u64),
) -> StoreResult<()> {
    let mut whole = Hasher::default();
    for (number, chunk) in index.chunks().iter().enumerate() {
        if stop.is_set() {
            return Err(Error::unavailable("repair was broken off"));
        }
        let length = chunk.length as usize;
        let bytes = match (bad.has(number), sources.get(number)) {
            (true, Some(source)) => fetch(blobs, elsewhere, *source, length, chunk.hash)?,
            (true, None) => None,
            (false, _) => read_chunk(blobs, path, chunk.offset, length, chunk.hash)?,
        };
        let Some(bytes) = bytes else {
            return Err(Error::unavailable(
                "a file changed while it was repaired; hint: try again",
            ));
        };
        whole.update(&bytes);
        to.write_at(chunk.offset, &bytes)?;
        tell(chunk.end());
    }
    match whole.finish() == index.blob() {
        true => Ok(()),
        false => Err(Error::unavailable(
            "a file changed while it was repaired; hint: try again",
        )),
    }
}

/// A chunk from another file, if it is there and whole.
fn fetch(
    blobs: &BlobFolder,
    elsewhere: &Elsewhere,
    source: Source,
    length: usize,
    hash: Hash,
) -> StoreResult<Option<Vec<u8>>> {
    let Source::Stock { blob, offset } = source else {
        return Ok(None);
    };
    match elsewhere.paths.get(blob) {
        Some(path) => read_chunk(blobs, path, offset, length, hash),
        None => Ok(None),
    }
}

/// A chunk of a file, if it is what its hash says.
fn read_chunk(
    blobs: &BlobFolder,
    path: &BlobPath,
    offset: u64,
    length: usize,
    hash: Hash,
) -> StoreResult<Option<Vec<u8>>> {
    let (mut file, _) = blobs.open_file(path)?;
    let mut bytes = vec![0; length];
    let read = file
        .seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut bytes));
    Ok((read.is_ok() && Hash::of(&bytes) == hash).then_some(bytes))
}
