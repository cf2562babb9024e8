//! Holding a file's bytes to the index of its chunks.

use std::io::Read;

use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::plan::Chosen;

use super::path::BlobPath;
use super::stamp::Stamp;
use super::{BlobFolder, Stop};
use crate::error::{Error, Result};

/// What a file's bytes are, held to an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the file was like.
    pub stamp: Stamp,
    /// Chunks whose bytes are others, or not there.
    pub bad: Chosen,
    /// Bytes behind the last chunk.
    pub extra: u64,
}

impl Verdict {
    /// Whether every byte is as the index says, and none besides.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.extra == 0 && self.bad.numbers().next().is_none()
    }
}

impl BlobFolder {
    /// Reads all of a file and compares it with an index. `progress` is told
    /// how many bytes are done.
    ///
    /// # Errors
    /// `Missing` if there is none, `Closed` if `stop` was set; or it cannot be
    /// read.
    pub fn verify(
        &self,
        path: &BlobPath,
        index: &ChunkIndex,
        stop: &Stop,
        mut progress: impl FnMut(u64),
    ) -> Result<Verdict> {
        let place = self.place_of(path);
        let (mut file, stamp) = self.open_file(path)?;
        let mut bad = Chosen::none(index.chunks().len());
        let mut bytes = Vec::new();
        let chunks = index.chunks().iter().enumerate();
        for (number, chunk) in chunks {
            if stop.is_set() {
                return Err(Error::closed());
            }
            bytes.clear();
            let length = u64::from(chunk.length);
            // Chunks follow each other without gaps: this one begins where
            // the last one ended.
            let read = Read::by_ref(&mut file).take(length).read_to_end(&mut bytes);
            read.map_err(|error| Error::file(&place, error))?;
            if bytes.len() as u64 != length || Hash::of(&bytes) != chunk.hash {
                bad.add(number);
            }
            progress(chunk.end());
        }
        Ok(Verdict {
            stamp,
            bad,
            extra: stamp.size.saturating_sub(index.size()),
        })
    }
}
