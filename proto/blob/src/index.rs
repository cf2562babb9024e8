//! The list of a blob's chunks, and its bytes on disk and on the wire.
//!
//! ```text
//! "GNLI" · version u8 = 1 · 3 zeros · size u64 · chunks u32 · 4 zeros · blob's hash
//! for each chunk: hash, 32 bytes · length u32
//! BLAKE3 of everything before, 32 bytes
//! ```
//!
//! All numbers are little-endian. 36 bytes a chunk, 88 besides.

use std::io::{self, Read};
use std::ops::{ControlFlow, Range};

use bytes::{BufMut, Bytes, BytesMut};

use crate::cut::{CHUNK_MAX, Cutter};
use crate::format::Header;
use crate::hash::{Hash, Hasher};

/// Most chunks of a blob: 512 GiB at a mebibyte each, and 18 MiB of index.
pub const CHUNKS_MAX: usize = 1 << 19;

/// The longest index, in bytes.
pub const ENCODED_MAX: usize = HEAD + CHUNKS_MAX * ENTRY + Hash::LENGTH;

/// The first bytes of every index.
const MAGIC: &[u8; 4] = b"GNLI";

/// The version that this program writes.
const VERSION: u8 = 1;

/// Bytes before the first chunk.
const HEAD: usize = 24 + Hash::LENGTH;

/// Bytes of a chunk.
const ENTRY: usize = Hash::LENGTH + 4;

/// A piece of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The hash of its bytes.
    pub hash: Hash,
    /// Where it begins in the blob, in bytes.
    pub offset: u64,
    /// Its length in bytes, 1 to [`CHUNK_MAX`].
    pub length: u32,
}

impl Chunk {
    /// Where it lies in the blob, in bytes.
    #[must_use]
    pub fn place(&self) -> Range<u64> {
        self.offset..self.end()
    }

    /// Where it ends in the blob, in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }
}

/// The chunks of a blob, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkIndex {
    blob: Hash,
    size: u64,
    chunks: Vec<Chunk>,
}

/// Why bytes are no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk index is wrong, {0}")]
pub struct IndexError(String);

/// Why a blob got no index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It was written to meanwhile.
    #[error("file changed while it was read; hint: try again when nothing writes to it")]
    Changed,
    /// More chunks than an index takes.
    #[error("file has too many chunks, limit={CHUNKS_MAX}")]
    TooLong,
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
    /// It cannot be read.
    #[error("file cannot be read, reason={0}")]
    Read(#[from] io::Error),
}

impl ChunkIndex {
    /// Cuts and hashes a blob of `size` bytes. `progress` is told how many
    /// bytes are done, and may break off. Holds [`CHUNK_MAX`] bytes twice.
    ///
    /// # Errors
    /// The blob cannot be read or has another length, it has too many chunks,
    /// or the caller broke off.
    pub fn build(
        from: &mut impl Read,
        size: u64,
        header: Option<&Header>,
        mut progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Self, BuildError> {
        let mut ahead = Ahead::new(from);
        let mut cutter = Cutter::new(header);
        let mut whole = Hasher::default();
        let mut chunks = Vec::new();
        let mut offset = 0;
        loop {
            let bytes = ahead.fill()?;
            let length = cutter.next_length(bytes);
            let Some(bytes @ [_, ..]) = bytes.get(..length) else {
                break;
            };
            if chunks.len() == CHUNKS_MAX {
                return Err(BuildError::TooLong);
            }
            whole.update(bytes);
            chunks.push(Chunk {
                hash: Hash::of(bytes),
                offset,
                length: u32::try_from(length).map_err(|_| BuildError::TooLong)?,
            });
            ahead.pass(length);
            offset += length as u64;
            if offset > size {
                return Err(BuildError::Changed);
            }
            if progress(offset).is_break() {
                return Err(BuildError::Stopped);
            }
        }
        if offset != size {
            return Err(BuildError::Changed);
        }
        Ok(Self {
            blob: whole.finish(),
            size,
            chunks,
        })
    }

    /// The hash of the whole blob.
    #[must_use]
    pub fn blob(&self) -> Hash {
        self.blob
    }

    /// The blob's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All chunks, in their order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// What identifies this list of chunks: two lists of one blob differ if it
    /// was cut differently.
    #[must_use]
    pub fn root(&self) -> Hash {
        let encoded = self.encode();
        let (_, root) = encoded.split_at(encoded.len() - Hash::LENGTH);
        Hash::from_bytes(root.try_into().expect("its last 32 bytes"))
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let length = HEAD + self.chunks.len() * ENTRY + Hash::LENGTH;
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_bytes(0, 3);
        bytes.put_u64_le(self.size);
        bytes.put_u32_le(u32::try_from(self.chunks.len()).expect("at most CHUNKS_MAX"));
        bytes.put_bytes(0, 4);
        bytes.put_slice(self.blob.as_bytes());
        for chunk in &self.chunks {
            bytes.put_slice(chunk.hash.as_bytes());
            bytes.put_u32_le(chunk.length);
        }
        let root = Hash::of(&bytes);
        bytes.put_slice(root.as_bytes());
        bytes.freeze()
    }

    /// Reads an index. What it says of the blob is not proved by it: each
    /// chunk has to be held to its hash.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let wrong = |reason: &str| IndexError(reason.into());
        let Some((body, root)) = bytes.split_last_chunk::<{ Hash::LENGTH }>() else {
            return Err(wrong("cut short"));
        };
        let Some((head, entries)) = body.split_first_chunk::<HEAD>() else {
            return Err(wrong("cut short"));
        };
        let head = Head::read(head)?;
        if Some(entries.len()) != head.count.checked_mul(ENTRY) {
            return Err(wrong("its length is not that of its chunks"));
        }
        if Hash::of(body).as_bytes() != root {
            return Err(wrong("checksum"));
        }
        let mut chunks = Vec::with_capacity(head.count);
        let mut offset = 0_u64;
        for entry in entries.chunks_exact(ENTRY) {
            let chunk = read_entry(entry, offset)?;
            offset = chunk.end();
            chunks.push(chunk);
        }
        if offset != head.size {
            return Err(wrong("lengths of chunks do not add up to the size"));
        }
        Ok(Self {
            blob: head.blob,
            size: head.size,
            chunks,
        })
    }
}

/// What stands before the chunks.
struct Head {
    size: u64,
    count: usize,
    blob: Hash,
}

impl Head {
    fn read(bytes: &[u8; HEAD]) -> Result<Self, IndexError> {
        let wrong = |reason: String| Err(IndexError(reason));
        let (fixed, blob) = bytes.split_at(24);
        let (magic, rest) = fixed.split_at(4);
        if magic != MAGIC {
            return wrong("magic".into());
        }
        let (version, rest) = rest.split_at(4);
        if version != [VERSION, 0, 0, 0] {
            return wrong(format!("version={:?}, known={VERSION}", version[0]));
        }
        let (size, rest) = rest.split_at(8);
        let (count, zeros) = rest.split_at(4);
        if zeros != [0; 4] {
            return wrong("reserved bytes".into());
        }
        let size = u64::from_le_bytes(size.try_into().expect("8 bytes"));
        let count = u32::from_le_bytes(count.try_into().expect("4 bytes"));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > CHUNKS_MAX {
            return wrong(format!(
                "too many chunks, chunks={count}, limit={CHUNKS_MAX}"
            ));
        }
        let blob = Hash::from_bytes(blob.try_into().expect("32 bytes"));
        Ok(Self { size, count, blob })
    }
}

fn read_entry(entry: &[u8], offset: u64) -> Result<Chunk, IndexError> {
    let (hash, length) = entry.split_at(Hash::LENGTH);
    let length = u32::from_le_bytes(length.try_into().expect("4 bytes"));
    if !(1..=CHUNK_MAX).contains(&usize::try_from(length).unwrap_or(usize::MAX)) {
        return Err(IndexError(format!("length of a chunk, length={length}")));
    }
    Ok(Chunk {
        hash: Hash::from_bytes(hash.try_into().expect("32 bytes")),
        offset,
        length,
    })
}

/// What of a blob is read and not yet cut.
struct Ahead<'a, R> {
    from: &'a mut R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<'a, R: Read> Ahead<'a, R> {
    fn new(from: &'a mut R) -> Self {
        Self {
            from,
            buffer: vec![0; 2 * CHUNK_MAX],
            start: 0,
            end: 0,
            ended: false,
        }
    }

    /// At least [`CHUNK_MAX`] bytes, or all that is left.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.end - self.start < CHUNK_MAX && !self.ended {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while let Some(room @ [_, ..]) = self.buffer.get_mut(self.end..) {
                match self.from.read(room) {
                    Ok(0) => {
                        self.ended = true;
                        break;
                    }
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn pass(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }
}

#[cfg(test)]
mod tests;
