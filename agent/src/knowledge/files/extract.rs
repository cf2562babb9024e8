//! The text of a file.

use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::Error;

/// The text of a file that is one document. `name` tells what kind it is.
pub(in crate::knowledge) fn extract(name: &str, bytes: &[u8]) -> Result<Extracted, Error> {
    ginnel_ingest::extract::extract(name, bytes)
}
