//! Every limit of reading and cutting, each with its reason.

use std::time::Duration;

/// Most bytes of a file. A long book is 2 MB of text, a large manual 10 MB; a
/// file is held in memory a few times over while it is read, by several
/// threads.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a document's text. A small file can unfold to a large text
/// (a compressed PDF, UTF-16), so this is a limit of its own.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// Most bytes of one line of JSON Lines, with its text and vector. A line is
/// held whole; 4,096 dimensions take 80 kB, the longest novels 6 MB.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// Most passages of one document. The largest text we take has 60,000 of 256
/// tokens; more come only from texts made to have many.
pub const PASSAGES_MAX: usize = 200_000;

/// Most characters of a title: more is a paragraph that poses as one.
pub const TITLE_CHARS_MAX: usize = 300;

/// Most bytes of front matter: beyond it a first line of `---` is a rule.
pub const FRONT_MATTER_BYTES_MAX: usize = 64 << 10;

/// Most metadata keys of a document: every one can be filtered by.
pub const METADATA_KEYS_MAX: usize = 64;

/// Most bytes of one metadata value. Longer ones are text, not marks to
/// filter by, and are left out.
pub const METADATA_VALUE_BYTES_MAX: usize = 4 << 10;

/// Most memory of a process that reads a PDF, in bytes: the largest file, its
/// largest text, and room for its fonts and streams unfolded.
pub const PDF_MEMORY_MAX: u64 = 1 << 30;

/// Most processor time of such a process. A manual of 1,000 pages takes less
/// than two seconds.
pub const PDF_CPU_SECONDS_MAX: u64 = 30;

/// How long a PDF may take in all, on a machine with other work.
pub const PDF_TIME_MAX: Duration = Duration::from_secs(120);

/// Longest answer of such a process, in bytes: the longest text, and its
/// blocks.
pub const ANSWER_BYTES_MAX: usize = 96 << 20;
