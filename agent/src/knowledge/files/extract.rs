//! The text of a file.

use std::time::Duration;

use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::format::Format;
use ginnel_ingest::pdf::child;

/// The hidden command under which this program reads a PDF, so that a bad one
/// takes down nothing but itself.
pub(crate) const PDF_COMMAND: &str = "read-pdf";

/// How long a PDF may take: the thickest manuals take some seconds.
const PDF_TIMEOUT: Duration = Duration::from_secs(60);

/// The text of a file that is one document. `name` tells what kind it is.
pub(in crate::knowledge) fn extract(name: &str, bytes: &[u8]) -> Result<Extracted, Error> {
    if Format::of(name, bytes)? != Format::Pdf {
        return ginnel_ingest::extract::extract(name, bytes);
    }
    let program = std::env::current_exe();
    let program = program.map_err(|error| {
        let reason = format!("its reader cannot be found, {error}");
        Error::new(ErrorKind::Unreadable, reason).of(name)
    })?;
    let read = child::run(&program, &[PDF_COMMAND], bytes, PDF_TIMEOUT);
    read.map_err(|error| error.of(name))
}
