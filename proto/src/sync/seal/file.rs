//! A database that is sealed: blocks of 64 KiB, each by itself, so that one that
//! did not change stays the same.
//!
//! ```text
//! plain   ├──── 65,480 B ────┼──── 65,480 B ────┼─ rest ─┼ BLAKE3, 32 B ┤
//! sealed  ├────── block 0 ───┼────── block 1 ───┼──── block 2, the last ─┤
//! ```
//!
//! Each block is sealed for the file's key, its number, and whether it is the last:
//! blocks cannot be moved, left out or cut off. The BLAKE3 of all that is plain, in
//! the last one, holds blocks of different versions apart.

use std::io::{self, Read, Write};

use super::{CannotOpen, Key, OVERHEAD, open, seal};

/// A block as it is kept, in bytes. [`ginnel_blob`] cuts at these.
pub const BLOCK: usize = ginnel_blob::cut::BLOCK;

/// What is plain of it, in bytes.
pub const PLAIN: usize = BLOCK - OVERHEAD;

/// Why a file cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("cannot read or write")]
    Io(#[from] io::Error),
    /// It was not sealed like this.
    #[error("block {block}: {reason}")]
    Block {
        /// Which, from 0.
        block: u64,
        /// Why.
        reason: CannotOpen,
    },
    /// Its blocks are of several versions, or its end is missing.
    #[error("its blocks do not belong together")]
    Mixed,
}

/// Seals all of `plain`, which belongs at `place`. Gives the bytes written.
///
/// # Errors
/// What cannot be read or written.
pub fn seal_file(
    key: &Key,
    place: &str,
    plain: &mut impl Read,
    sealed: &mut impl Write,
) -> Result<u64, FileError> {
    let mut hasher = blake3::Hasher::new();
    let (mut block, mut written) = (0, 0);
    // One byte beyond a block says whether it is the last.
    let mut held = Vec::with_capacity(2 * PLAIN + HASH_LEN);
    let mut at_end = false;
    loop {
        while !at_end && held.len() <= PLAIN {
            let begin = held.len();
            let more = plain.by_ref().take(PLAIN as u64).read_to_end(&mut held)?;
            hasher.update(&held[begin..]);
            if more == 0 {
                at_end = true;
                held.extend_from_slice(hasher.finalize().as_bytes());
            }
        }
        let is_last = held.len() <= PLAIN;
        let length = held.len().min(PLAIN);
        let bytes = seal(key, &block_place(place, block, is_last), &held[..length]);
        sealed.write_all(&bytes)?;
        written += bytes.len() as u64;
        if is_last {
            return Ok(written);
        }
        held.drain(..length);
        block += 1;
    }
}

/// Opens all of `sealed`, which lay at `place`. What was written until an error is
/// not to be used.
///
/// # Errors
/// It was not sealed like this, or cannot be read or written.
pub fn open_file(
    key: &Key,
    place: &str,
    sealed: &mut impl Read,
    plain: &mut impl Write,
) -> Result<u64, FileError> {
    let mut hasher = blake3::Hasher::new();
    let (mut block, mut written) = (0, 0);
    // The end of what is plain may lie in two blocks.
    let mut held = Vec::with_capacity(PLAIN + HASH_LEN);
    let mut now = next_block(sealed)?;
    loop {
        let next = next_block(sealed)?;
        let is_last = next.is_empty();
        let opened = open(key, &block_place(place, block, is_last), &now);
        held.extend_from_slice(&opened.map_err(|reason| FileError::Block { block, reason })?);
        let sure = held.len().saturating_sub(HASH_LEN);
        hasher.update(&held[..sure]);
        plain.write_all(&held[..sure])?;
        written += sure as u64;
        held.drain(..sure);
        if is_last {
            return match *held == *hasher.finalize().as_bytes() {
                true => Ok(written),
                false => Err(FileError::Mixed),
            };
        }
        now = next;
        block += 1;
    }
}

const HASH_LEN: usize = blake3::OUT_LEN;

fn next_block(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK);
    from.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
    Ok(block)
}

fn block_place(place: &str, block: u64, is_last: bool) -> String {
    let end = if is_last { ".end" } else { "" };
    format!("{place}#{block}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "knowledge/ada/embeddings.db.enc";

    fn key() -> Key {
        Key::of([3; 32])
    }

    fn bytes(length: usize) -> Vec<u8> {
        let at = |at: usize| u8::try_from(at * at % 251).expect("small");
        (0..length).map(at).collect()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let written = seal_file(&key(), PLACE, &mut &*plain, &mut sealed).expect("sealed");
        assert_eq!(written, sealed.len() as u64);
        sealed
    }

    fn opened(sealed: &[u8]) -> Result<Vec<u8>, FileError> {
        let mut plain = Vec::new();
        open_file(&key(), PLACE, &mut &*sealed, &mut plain)?;
        Ok(plain)
    }

    #[test]
    fn files_of_all_lengths_come_back() {
        for length in [
            0,
            1,
            PLAIN - HASH_LEN - 1,
            PLAIN - HASH_LEN,
            PLAIN - HASH_LEN + 1,
            PLAIN - 1,
            PLAIN,
            PLAIN + 1,
            2 * PLAIN - HASH_LEN,
            3 * PLAIN + 17,
        ] {
            let plain = bytes(length);
            let sealed = sealed(&plain);
            let blocks = (length + HASH_LEN).div_ceil(PLAIN);
            assert_eq!(
                sealed.len(),
                length + HASH_LEN + blocks * OVERHEAD,
                "{length}"
            );
            assert_eq!(opened(&sealed).expect("opened"), plain, "{length}");
        }
    }

    #[test]
    fn an_edit_changes_its_block_and_the_last() {
        let mut plain = bytes(5 * PLAIN);
        let before = sealed(&plain);
        plain[2 * PLAIN + 9] ^= 1;
        let after = sealed(&plain);
        let pairs = before.chunks(BLOCK).zip(after.chunks(BLOCK));
        let changed: Vec<usize> = pairs
            .enumerate()
            .filter_map(|(at, (before, after))| (before != after).then_some(at))
            .collect();
        assert_eq!(changed, [2, 5]);
    }

    #[test]
    fn blocks_cannot_be_cut_off_moved_or_mixed() {
        let plain = bytes(3 * PLAIN);
        let before = sealed(&plain);
        for blocks in 0..before.len() / BLOCK {
            assert!(
                opened(&before[..blocks * BLOCK]).is_err(),
                "{blocks} blocks"
            );
        }
        let mut swapped = before.clone();
        swapped[..2 * BLOCK].rotate_left(BLOCK);
        assert!(matches!(
            opened(&swapped),
            Err(FileError::Block {
                block: 0,
                reason: CannotOpen::Forged
            })
        ));
        // A block of an older version, which was sealed for this very place.
        let mut edited = plain.clone();
        edited[PLAIN + 5] ^= 1;
        let mut mixed = sealed(&edited);
        mixed[BLOCK..2 * BLOCK].copy_from_slice(&before[BLOCK..2 * BLOCK]);
        assert!(matches!(opened(&mixed), Err(FileError::Mixed)));
        let other = Key::of([4; 32]);
        let opened = open_file(&other, PLACE, &mut &*before, &mut Vec::new());
        assert!(matches!(
            opened,
            Err(FileError::Block {
                reason: CannotOpen::OtherKey(_),
                ..
            })
        ));
    }
}
