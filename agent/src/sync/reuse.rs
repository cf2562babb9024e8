//! Chunks of what is pulled that other files of this device have.

use std::fs::File;
use std::sync::Arc;

use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::{Chosen, Source, Stock};
use ginnel_store::Store;
use ginnel_store::blob::place::Unfinished;
use ginnel_store::blob::{BlobFolder, Stop};
use ginnel_store::error::Result;

use super::records::read_at;

/// Files whose chunks are looked at.
const FILES_MAX: usize = 64;

/// Copies the chunks that are lacking and lie in files here. Each is held to
/// its hash: a file may have been written to since it was read.
pub(super) async fn fill(
    store: &Store,
    folder: &BlobFolder,
    index: &Arc<ChunkIndex>,
    unfinished: &Arc<Unfinished>,
    chunks: &mut Chosen,
) -> Result<()> {
    let mut stock = Stock::default();
    let mut paths = Vec::new();
    for entry in store.artifacts().await? {
        let Some(blob) = entry.file.as_ref().and_then(|file| file.blob) else {
            continue;
        };
        if paths.len() == FILES_MAX {
            break;
        }
        if let Some(index) = store.chunk_index(blob).await? {
            stock.add(paths.len(), &index);
            paths.push(entry.path);
        }
    }
    let sources = stock.sources(index);
    let (index, unfinished) = (Arc::clone(index), Arc::clone(unfinished));
    let mut filled = chunks.clone();
    let copied = folder.apart(move |folder, stop| {
        let files: Vec<Option<File>> = paths
            .iter()
            .map(|path| folder.open_file(path).ok().map(|(file, _)| file))
            .collect();
        copy(&index, &sources, &files, &unfinished, &mut filled, stop)?;
        Ok(filled)
    });
    *chunks = copied.await?;
    Ok(())
}

fn copy(
    index: &ChunkIndex,
    sources: &[Source],
    files: &[Option<File>],
    unfinished: &Unfinished,
    filled: &mut Chosen,
    stop: &Stop,
) -> Result<()> {
    let mut bytes = Vec::new();
    for (number, (chunk, source)) in index.chunks().iter().zip(sources).enumerate() {
        let Source::Stock { blob, offset } = source else {
            continue;
        };
        if filled.has(number) {
            continue;
        }
        // Whoever asked is gone.
        if stop.is_set() {
            return Ok(());
        }
        let Some(Some(file)) = files.get(*blob) else {
            continue;
        };
        bytes.resize(usize::try_from(chunk.length).unwrap_or(usize::MAX), 0);
        // One that cannot be read, or is another by now, is fetched.
        if read_at(file, *offset, &mut bytes).is_ok() && Hash::of(&bytes) == chunk.hash {
            unfinished.write_at(chunk.offset, &bytes)?;
            filled.add(number);
        }
    }
    Ok(())
}
