//! Whether the files are still those that were written: other programs can
//! damage them, or put others in their places.
//!
//! What is mapped stays as it was when another file takes its name, so searches
//! go on being right; but the next process would find that other file.

use super::{Compactor, MANIFEST, lock, segment_name};
use crate::error::{Error, Result};
use crate::vector::scan::segment::Segment;
use crate::vector::scan::state::Part;

impl Compactor {
    /// See [`super::super::Scan::verify`].
    ///
    /// # Errors
    /// A file is damaged, or is not ours any more.
    pub fn verify(&self) -> Result<()> {
        self.or_discard(self.look(Segment::verify))
    }

    /// The same without reading the segments.
    ///
    /// # Errors
    /// As [`Compactor::verify`].
    pub fn expect_files(&self) -> Result<()> {
        self.or_discard(self.look(Segment::expect_untouched))
    }

    fn look(&self, segment: impl Fn(&Segment) -> Result<()>) -> Result<()> {
        let parts = self.expect_names()?;
        for (name, part) in parts {
            if let Part::Segment { of, .. } = part {
                segment(&of.rows).map_err(|error| error.with("file", &name))?;
            }
        }
        Ok(())
    }

    /// All parts and their names, each of which still leads to its file.
    fn expect_names(&self) -> Result<Vec<(String, Part)>> {
        // Nobody else changes files meanwhile.
        let files = lock(&self.files);
        let mut parts = Vec::new();
        for part in self.state.read().parts.clone() {
            let Part::Segment { number, of } = &part else {
                continue;
            };
            let name = segment_name(*number);
            let in_place = of.rows.expect_at(&self.disk.path(&name));
            in_place.map_err(|error| error.with("file", &name))?;
            parts.push((name, part));
        }
        let Some(expected) = files.manifest else {
            return Ok(parts);
        };
        let found = self.disk.read(MANIFEST)?;
        if found.map(|bytes| crc32fast::hash(&bytes)) != Some(expected) {
            return Err(Error::corrupt("manifest was changed by another program"));
        }
        Ok(parts)
    }

    /// Throws the index away if it is damaged.
    fn or_discard(&self, looked: Result<()>) -> Result<()> {
        if let Err(error) = &looked
            && error.kind() == crate::error::ErrorKind::Corrupt
        {
            tracing::warn!(%error, "vector index is thrown away");
            *lock(&self.discarded) = Some(error.to_string());
            self.discard(Some(error.to_string()))?;
        }
        looked
    }
}
