//! Bounds of the store, each with its reason.

use std::time::Duration;

/// Bytes of a page. Vectors of 384 dimensions take 1,536 bytes, so a page holds
/// five; with 4 KiB it would hold two and waste a quarter.
pub(crate) const PAGE_SIZE: u32 = 8192;

/// How long a write waits for another program that holds the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The log is cut to this size when it is emptied: 64 MiB.
pub(crate) const JOURNAL_SIZE_MAX: i64 = 64 << 20;

/// Pages of log after which they are moved into the file: 32 MiB. Each move
/// waits for the disk twice, so it must not come with every few documents.
pub(crate) const CHECKPOINT_PAGES: u32 = 4096;

/// Memory of the writer for pages, in KiB: those that a large transaction changes
/// must not go to the log and come back while it is under way.
pub(crate) const WRITER_CACHE_KIB: i64 = 32 << 10;

/// Bytes of the file that readers see as memory: reading a row is a copy then,
/// no call into the system. Address space only.
pub(crate) const MAP_MAX: i64 = 64 << 30;

/// Prepared statements that a connection keeps.
pub(crate) const STATEMENTS_MAX: usize = 128;

/// Readers at a time; more searches wait. A search keeps one core busy, and
/// each connection has a cache of 2 MB.
pub(crate) const READERS_MAX: usize = 8;

/// Writes that wait for their turn; more callers wait to be let in.
pub(crate) const WRITES_MAX: usize = 256;

/// Writes of one commit. The first of them waits for the last, so a commit also
/// ends after a time.
pub(crate) const GROUP_MAX: usize = 256;

/// For how long writes that wait are taken into one commit, see [`GROUP_MAX`]: as long
/// as the commit before took by itself, but within these. So at most half of the time
/// goes to commits, on slow disks too, and nobody waits long.
pub(crate) const GROUP_TIME_MIN: Duration = Duration::from_millis(5);
pub(crate) const GROUP_TIME_MAX: Duration = Duration::from_millis(50);

/// Bytes of a document's text: a very thick book has 5 MB.
pub const TEXT_MAX: usize = 64 << 20;

/// Passages of a document.
pub const PASSAGES_MAX: usize = 1 << 20;

/// Bytes of a passage. No model reads as much at once.
pub const PASSAGE_MAX: usize = 1 << 20;

/// Bytes of a source, title or mime type.
pub const LABEL_MAX: usize = 4096;

/// Bytes of a document's metadata as JSON.
pub const METADATA_MAX: usize = 64 << 10;

/// Models with an index of their own in one store.
pub const MODELS_MAX: usize = 16;

/// Rows that a list or search gives at once.
pub const RESULTS_MAX: usize = 1000;

/// How deep a search can be paged: what is behind the first few thousand is
/// reached by a better question.
pub const DEPTH_MAX: usize = 4000;

/// Passages of context on each side of a hit.
pub const CONTEXT_MAX: usize = 10;

/// Bytes of a query's text.
pub const QUERY_MAX: usize = 64 << 10;

/// Conditions of a filter.
pub const CONDITIONS_MAX: usize = 64;

/// Artifacts in the catalog: a thousand times what disks hold of models.
pub const ARTIFACTS_MAX: usize = 10_000;

/// Transfers that are remembered once they are done.
pub const TRANSFERS_KEPT: usize = 100;

/// Bytes of a transfer's error that are kept: enough for what happened and
/// what to do.
pub const ERROR_MAX: usize = 1024;

/// Bytes of an etag; buckets have 34 to 70.
pub const ETAG_MAX: usize = 256;
