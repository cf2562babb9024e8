//! Parts of an upload to a bucket, and how their hashes make the blob's.
//!
//! R2 asks that all parts but the last have one size
//! (<https://developers.cloudflare.com/r2/objects/multipart-objects/>). Ours
//! are powers of two besides, so that each part is a whole subtree of BLAKE3's
//! tree (BLAKE3 paper, §2.1): a part is hashed by whoever has it, and the
//! blob's hash follows from 32 bytes a part.

use std::ops::Range;

use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::hash::Hash;

/// The smallest part but the last, in bytes. Buckets take 5 MiB; the next
/// power of two. Nothing larger is used where it suffices: what was not
/// acknowledged has to be sent again.
pub const PART_MIN: u64 = 8 << 20;

/// Most parts of an object, as R2 and S3 have it.
pub const PARTS_MAX: u64 = 10_000;

/// How a blob is parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    size: u64,
    part_size: u64,
}

impl Parting {
    /// The parts of a blob of `size` bytes. A blob without bytes has one part,
    /// which is empty.
    #[must_use]
    pub fn of(size: u64) -> Self {
        let least = size.div_ceil(PARTS_MAX).max(PART_MIN);
        // Above 2^63 there is no next power of two, and no such blob.
        let part_size = least.checked_next_power_of_two().unwrap_or(1 << 63);
        Self { size, part_size }
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of every part but the last.
    #[must_use]
    pub fn part_size(&self) -> u64 {
        self.part_size
    }

    /// How many parts there are, one or more.
    #[must_use]
    pub fn count(&self) -> u32 {
        let count = self.size.div_ceil(self.part_size).max(1);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Where a part lies in the blob, in bytes. Empty behind the last.
    #[must_use]
    pub fn place(&self, number: u32) -> Range<u64> {
        let start = u64::from(number).saturating_mul(self.part_size);
        let start = start.min(self.size);
        start..start.saturating_add(self.part_size).min(self.size)
    }

    /// In which part a byte of the blob lies.
    #[must_use]
    pub fn part_at(&self, offset: u64) -> u32 {
        u32::try_from(offset / self.part_size).unwrap_or(u32::MAX)
    }

    /// What hashes a part.
    #[must_use]
    pub fn hasher(&self, number: u32) -> PartHasher {
        let mut hasher = blake3::Hasher::new();
        let alone = self.count() == 1;
        if !alone {
            hasher.set_input_offset(self.place(number).start);
        }
        PartHasher { hasher, alone }
    }

    /// The blob's hash from those of all its parts. `None` if they are not as
    /// many as there are parts.
    #[must_use]
    pub fn join(&self, parts: &[PartHash]) -> Option<Hash> {
        if parts.len() != usize::try_from(self.count()).ok()? {
            return None;
        }
        if let [PartHash(root)] = parts {
            return Some(Hash::from_bytes(*root));
        }
        let (left, right) = split(parts)?;
        let (left, right) = (merge(left)?, merge(right)?);
        let root = merge_subtrees_root(&left, &right, Mode::Hash);
        Some(Hash::from_bytes(*root.as_bytes()))
    }
}

/// What a part adds to the blob's hash: the chaining value of its subtree, or
/// the blob's hash itself where the part is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHash([u8; Hash::LENGTH]);

impl PartHash {
    /// One that was made elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Hash::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Hash::LENGTH] {
        &self.0
    }
}

/// Hashes one part, which comes in pieces. It must be given no more bytes than
/// the part has.
#[derive(Debug, Clone)]
pub struct PartHasher {
    hasher: blake3::Hasher,
    /// Whether the part is the whole blob.
    alone: bool,
}

impl PartHasher {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The hash of all pieces so far.
    #[must_use]
    pub fn finish(&self) -> PartHash {
        if self.alone {
            PartHash(*self.hasher.finalize().as_bytes())
        } else {
            PartHash(self.hasher.finalize_non_root())
        }
    }
}

/// The left subtree of a node is the largest that is full and leaves something
/// for the right one.
fn split(parts: &[PartHash]) -> Option<(&[PartHash], &[PartHash])> {
    let left = parts.len().div_ceil(2).checked_next_power_of_two()?;
    parts.split_at_checked(left)
}

fn merge(parts: &[PartHash]) -> Option<[u8; Hash::LENGTH]> {
    if let [PartHash(value)] = parts {
        return Some(*value);
    }
    let (left, right) = split(parts)?;
    Some(merge_subtrees_non_root(
        &merge(left)?,
        &merge(right)?,
        Mode::Hash,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small parts, so that trees of many shapes are tried.
    fn parting(size: usize) -> Parting {
        Parting {
            size: size as u64,
            part_size: 4096,
        }
    }

    fn bytes(size: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        std::iter::repeat_with(|| random.u8(..))
            .take(size)
            .collect()
    }

    fn hashes(parting: Parting, bytes: &[u8]) -> Vec<PartHash> {
        let part = |number| {
            let place = parting.place(number);
            let mut hasher = parting.hasher(number);
            let at = |offset| usize::try_from(offset).expect("small");
            let part = &bytes[at(place.start)..at(place.end)];
            let (first, second) = part.split_at(part.len() / 3);
            hasher.update(first);
            hasher.update(second);
            hasher.finish()
        };
        (0..parting.count()).map(part).collect()
    }

    #[test]
    fn hashes_of_parts_make_the_hash_of_the_blob() {
        let sizes = [0, 1, 1024, 1025, 4095, 4096, 4097, 8192, 8193, 12_288];
        let more = [12_289, 16_384, 20_480, 28_673, 32_768, 36_865, 77_777];
        for size in sizes.into_iter().chain(more) {
            let bytes = bytes(size);
            let parting = parting(size);
            let parts = hashes(parting, &bytes);
            assert_eq!(parting.join(&parts), Some(Hash::of(&bytes)), "{size}");
        }
    }

    #[test]
    fn parts_that_are_lacking_exchanged_or_too_many_are_noticed() {
        let bytes = bytes(20_000);
        let parting = parting(20_000);
        let mut parts = hashes(parting, &bytes);
        assert_eq!(parting.join(&parts[..4]), None);
        parts.swap(1, 2);
        assert_ne!(parting.join(&parts), Some(Hash::of(&bytes)));
        parts.push(parts[0]);
        assert_eq!(parting.join(&parts), None);
        assert_eq!(parting.join(&[]), None);
    }

    #[test]
    fn parts_keep_to_what_buckets_take() {
        assert_eq!(Parting::of(1).part_size(), PART_MIN);
        assert_eq!(Parting::of(PART_MIN * PARTS_MAX).part_size(), PART_MIN);
        let more = PART_MIN * PARTS_MAX + 1;
        assert_eq!(Parting::of(more).part_size(), 2 * PART_MIN);
        for size in [0, 1, PART_MIN, more, 5 << 40] {
            let parting = Parting::of(size);
            assert!(u64::from(parting.count()) <= PARTS_MAX);
            assert!(parting.part_size().is_power_of_two());
            let last = parting.place(parting.count() - 1);
            assert_eq!(last.end, size);
            assert!(size == 0 || !last.is_empty());
            assert_eq!(parting.place(parting.count()), size..size);
            assert_eq!(parting.place(u32::MAX), size..size);
        }
        let two = Parting::of(PART_MIN + 1);
        assert_eq!(two.place(0), 0..PART_MIN);
        assert_eq!(two.place(1), PART_MIN..PART_MIN + 1);
        assert_eq!(two.part_at(PART_MIN - 1), 0);
        assert_eq!(two.part_at(PART_MIN), 1);
        assert_eq!(Parting::of(u64::MAX).part_size(), 1 << 51);
    }
}
