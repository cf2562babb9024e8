//! The registry's limits, each with its reason.

use std::time::Duration;

/// Jobs that may wait for the SQLite thread. A job costs at most one fsync, so
/// a full queue is about a second of work; at the limit callers wait.
pub const QUEUE_MAX: usize = 256;

/// How long a write waits for another process's write. The command line
/// writes single rows; five seconds means that something is stuck.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Tries to turn the write-ahead log on in a new file. Each waits for one other
/// process that makes the same file; more than a few are a mistake.
pub const LOG_TRIES: usize = 32;

/// Bytes that the write-ahead log keeps on disk after a checkpoint, so that
/// one burst does not hold the space for good.
pub const JOURNAL_SIZE_MAX: i64 = 16 * 1024 * 1024;

/// The longest life of an invitation: it waits in somebody's mailbox.
pub const INVITATION_TTL_MAX: Duration = Duration::from_hours(7 * 24);

/// How long a used join code answers its own device again, in milliseconds: a
/// device that lost the answer retries within its back-off, well under this.
pub const REPEAT_WINDOW_MS: i64 = 10 * 60 * 1000;

/// How long an expired join code is kept to say "expired" or "used" rather
/// than "not valid", in milliseconds.
pub const CODE_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The longest public id of a join code, in bytes. Ours have 8.
pub const CODE_ID_MAX: usize = 32;

/// The shortest join code secret, in bytes: 128 random bits.
pub const CODE_SECRET_MIN: usize = 16;

/// The longest join code secret, in bytes; hashing it costs time.
pub const CODE_SECRET_MAX: usize = 64;

/// The largest stored certificate, in bytes. Ours are below 1 KiB.
pub const CERTIFICATE_MAX: usize = 16 * 1024;

/// The longest certificate serial, in octets (RFC 5280 §4.1.2.2).
pub const SERIAL_MAX: usize = 20;

/// Scopes on one API key: every check walks them.
pub const SCOPES_MAX: usize = 32;

/// The longest API key name, in bytes: it is a line in a table.
pub const KEY_NAME_MAX: usize = 100;

/// Keys a user may hold that are neither revoked nor expired: all keys are in
/// memory.
pub const KEYS_PER_USER_MAX: i64 = 1000;

/// Tries to find a free key id. With 40 random bits even one repeat is rare.
pub const KEY_ID_TRIES: usize = 4;

/// Sums of usage in one call: the transaction blocks the other writers.
pub const USAGE_BATCH_MAX: usize = 1000;

/// The longest model name, in bytes.
pub const USAGE_TEXT_MAX: usize = 200;

/// How long usage is kept, in milliseconds: 400 days, so that a month can be
/// compared with the same one a year before.
pub const USAGE_KEPT_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// Rows of usage forgotten in one call, for the same reason as
/// [`USAGE_BATCH_MAX`].
pub const USAGE_PRUNE_MAX: u64 = 1000;

/// Adapters in one list: a megabyte of answer.
pub const LORAS_LISTED_MAX: i64 = 1000;
