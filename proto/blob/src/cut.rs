//! Where a blob is cut into chunks.
//!
//! At the borders of tensors, so that an edited header or a retrained layer
//! leaves all other chunks as they were; between borders, and in files that
//! have none, where the content says so: a gear hash over the last 64 bytes
//! (Xia and others, FastCDC, USENIX ATC 2016), so that cuts move with the
//! bytes around them.
//!
//! Databases of SQLite are cut into blocks of one length: they change in place.
//! So are those that are encrypted.
//!
//! The same bytes are cut alike for ever: what is decided here is part of the
//! format of chunk indexes, and held by golden tests.

use std::sync::LazyLock;

use crate::format::Header;

/// The longest chunk, in bytes: the most that is sent again for a byte that
/// went wrong.
pub const CHUNK_MAX: usize = 4 << 20;

/// No content cut leaves a chunk shorter than this, in bytes: lists of chunks
/// stay short. Borders do.
const CONTENT_MIN: usize = 256 << 10;

/// A content cut is drawn with a chance of one in so many at each byte, so
/// that chunks have a mebibyte in the mean.
const CONTENT_MEAN: u64 = (1 << 20) - CONTENT_MIN as u64;

/// Borders nearer than this to the one before are passed over, in bytes: a
/// chunk costs 36 bytes in every list.
const BORDER_MIN: u64 = 1 << 10;

/// Most borders. A header with more describes no model of today, and the list
/// of chunks has a limit.
const BORDERS_MAX: usize = 1 << 17;

/// SQLite's databases are written in place, a page here and there: they are cut
/// into blocks of so many bytes, each of them whole pages.
pub const BLOCK: usize = 64 << 10;

/// What an encrypted database begins with, and each of its blocks.
pub const SEALED: &[u8] = b"GNLKSEAL";

/// What a database begins with. <https://www.sqlite.org/fileformat.html>
const DATABASE: &[u8] = b"SQLite format 3\0";

/// How many bytes decide a cut: what is shifted out of 64 bits is forgotten.
const WINDOW: usize = 64;

/// Cuts one blob, from its first byte to its last.
#[derive(Debug, Clone)]
pub struct Cutter {
    /// In order, and none twice.
    borders: Vec<u64>,
    /// How many of them lie behind.
    passed: usize,
    position: u64,
    /// Whether it is a database.
    in_blocks: bool,
}

impl Cutter {
    /// Begins a blob, with the borders of its tensors if it has any.
    #[must_use]
    pub fn new(header: Option<&Header>) -> Self {
        Self {
            borders: header.map(borders).unwrap_or_default(),
            passed: 0,
            position: 0,
            in_blocks: false,
        }
    }

    /// The length of the next chunk. `ahead` is what follows the last one: at
    /// least [`CHUNK_MAX`] bytes, or all that is left. Zero at the end.
    pub fn next_length(&mut self, ahead: &[u8]) -> usize {
        if self.position == 0 {
            self.in_blocks = self.borders.is_empty()
                && (ahead.starts_with(DATABASE) || ahead.starts_with(SEALED));
        }
        let length = match self.in_blocks {
            true => ahead.len().min(BLOCK),
            false => content_cut(self.limit(ahead)),
        };
        self.position = self.position.saturating_add(length as u64);
        length
    }

    /// The bytes up to the next border, or as many as a chunk may have.
    fn limit<'a>(&mut self, ahead: &'a [u8]) -> &'a [u8] {
        while let Some(&border) = self.borders.get(self.passed) {
            if let Some(length @ 1..) = border.checked_sub(self.position) {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let end = length.min(CHUNK_MAX).min(ahead.len());
                return ahead.get(..end).unwrap_or(ahead);
            }
            self.passed += 1;
        }
        ahead.get(..CHUNK_MAX).unwrap_or(ahead)
    }
}

/// Where the numbers begin, and where each tensor does.
fn borders(header: &Header) -> Vec<u64> {
    if header.tensors.len() > BORDERS_MAX {
        return Vec::new();
    }
    let mut kept = Vec::with_capacity(header.tensors.len() + 1);
    let mut last = 0;
    let places = header.tensors.iter().map(|tensor| &tensor.place);
    let ends = header.tensors.last().map(|tensor| tensor.place.end);
    let starts = places.map(|place| place.start);
    for border in std::iter::once(header.length).chain(starts).chain(ends) {
        if border >= last + BORDER_MIN {
            kept.push(border);
            last = border;
        }
    }
    kept
}

/// The length of the first chunk of `bytes`, which is at most all of them.
fn content_cut(bytes: &[u8]) -> usize {
    let gear = Gear(&NUMBERS);
    let mut from = CONTENT_MIN;
    while from < bytes.len() {
        let to = bytes.len().min(from + LANES * LANE);
        let is_whole_block = to - from == LANES * LANE;
        // The first look at a block only says whether there is a cut.
        if (!is_whole_block || any_cut(gear, bytes, from))
            && let Some(length) = first_cut(gear, bytes, from, to)
        {
            return length;
        }
        from = to;
    }
    bytes.len()
}

/// Places looked at side by side. Each step of the hash waits for the one
/// before; four of them at once keep a core busy.
const LANES: usize = 4;

/// Bytes of a lane.
const LANE: usize = 4096;

/// Whether a cut lies behind any of the bytes from `from` on, in all lanes.
fn any_cut(gear: Gear, bytes: &[u8], from: usize) -> bool {
    let lane = |index: usize| {
        let start = from + index * LANE;
        let warm = bytes.get(start - WINDOW..start)?;
        let body = bytes.get(start..start + LANE)?;
        Some((
            warm.iter().fold(0, |hash, byte| gear.next(hash, byte)),
            body,
        ))
    };
    let (Some(a), Some(b), Some(c), Some(d)) = (lane(0), lane(1), lane(2), lane(3)) else {
        return true;
    };
    let (mut hash_a, mut hash_b, mut hash_c, mut hash_d) = (a.0, b.0, c.0, d.0);
    let mut least = u64::MAX;
    let lanes = a.1.iter().zip(b.1).zip(c.1).zip(d.1);
    for (((a, b), c), d) in lanes {
        hash_a = gear.next(hash_a, a);
        hash_b = gear.next(hash_b, b);
        hash_c = gear.next(hash_c, c);
        hash_d = gear.next(hash_d, d);
        least = least.min(hash_a.min(hash_b).min(hash_c.min(hash_d)));
    }
    least < CUT_BELOW
}

/// The first length in `from + 1..=to` to cut at.
fn first_cut(gear: Gear, bytes: &[u8], from: usize, to: usize) -> Option<usize> {
    let warm = bytes.get(from.saturating_sub(WINDOW)..from)?;
    let mut hash = warm.iter().fold(0, |hash, byte| gear.next(hash, byte));
    for (length, byte) in (from + 1..=to).zip(bytes.get(from..to)?) {
        hash = gear.next(hash, byte);
        if hash < CUT_BELOW {
            return Some(length);
        }
    }
    None
}

/// Hashes below this cut. The high bits depend on the whole window.
const CUT_BELOW: u64 = u64::MAX / CONTENT_MEAN;

/// The rolling hash, with its numbers at hand: whether they are made yet would
/// otherwise be looked at for each byte.
#[derive(Clone, Copy)]
struct Gear(&'static [u64; 256]);

impl Gear {
    /// The hash one byte on.
    fn next(self, hash: u64, byte: &u8) -> u64 {
        hash.wrapping_shl(1)
            .wrapping_add(self.0[usize::from(*byte)])
    }
}

/// A random number for each byte, the same for ever.
static NUMBERS: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let mut random = blake3::Hasher::new_derive_key("ginnel gear v1").finalize_xof();
    std::array::from_fn(|_| {
        let mut number = [0; 8];
        random.fill(&mut number);
        u64::from_le_bytes(number)
    })
});

#[cfg(test)]
mod tests;
