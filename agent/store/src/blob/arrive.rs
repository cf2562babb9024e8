//! The end of a pull: a file whose bytes have all arrived is held to its hash,
//! looked at, and put in its place.

use ginnel_blob::hash::{Hash, Hasher};

use super::Stop;
use super::path::BlobPath;
use super::place::{Over, Unfinished};
use super::read::inspect;
use super::stamp::Stamp;
use crate::artifact::LocalFile;
use crate::error::{Error, Result};

/// How much is hashed at once, in bytes.
const PIECE: usize = 1 << 20;

/// What became of a file that has arrived.
#[derive(Debug)]
pub enum Arrived {
    /// It is in its place.
    Placed(LocalFile),
    /// Its bytes have another hash. Nothing was placed.
    Another(Hash),
}

impl Unfinished {
    /// Puts the file in its place if it is that blob of `size` bytes.
    ///
    /// # Errors
    /// `Invalid`: it is a pickle, or its header lies. `Closed` if `stop` was
    /// set. Or as [`Unfinished::finish`].
    pub fn arrive(self, path: &BlobPath, blob: Hash, size: u64, stop: &Stop) -> Result<Arrived> {
        let found = self.hash(size, stop)?;
        if found != blob {
            return Ok(Arrived::Another(found));
        }
        let told = |error| Error::file(self.place(), error);
        let mut file = self.file().try_clone().map_err(told)?;
        let stamp = Stamp::of(&file.metadata().map_err(told)?);
        std::io::Seek::rewind(&mut file).map_err(told)?;
        let inspected = inspect(&mut file, stamp, path.file_name(), self.place())?;
        let stamp = self.finish(Over::Anything)?;
        let file = LocalFile::read(stamp, inspected.format, blob);
        Ok(Arrived::Placed(file))
    }

    fn hash(&self, size: u64, stop: &Stop) -> Result<Hash> {
        let mut hasher = Hasher::default();
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < size {
            if stop.is_set() {
                return Err(Error::closed());
            }
            let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let (piece, _) = piece.split_at_mut(length);
            self.read_at(at, piece)?;
            hasher.update(piece);
            at += length as u64;
        }
        Ok(hasher.finish())
    }
}
