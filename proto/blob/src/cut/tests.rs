use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::tensor::Tensor;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

fn lengths(header: Option<&Header>, bytes: &[u8]) -> Vec<usize> {
    let mut cutter = Cutter::new(header);
    let mut lengths = Vec::new();
    let mut ahead = bytes;
    while !ahead.is_empty() {
        let length = cutter.next_length(ahead);
        lengths.push(length);
        ahead = &ahead[length..];
    }
    lengths
}

fn header(length: u64, sizes: &[u64]) -> Header {
    let mut start = length;
    let mut tensors = Vec::new();
    for size in sizes {
        tensors.push(Tensor {
            name: format!("at {start}"),
            kind: "U8".into(),
            shape: vec![*size],
            place: start..start + size,
        });
        start += size;
    }
    Header {
        length,
        metadata: BTreeMap::new(),
        tensors,
    }
}

/// A page that is written again costs its block, and none behind it.
#[test]
fn databases_are_cut_into_blocks() {
    let mut database = b"SQLite format 3\0".to_vec();
    database.extend(noise(1, 3 * (64 << 10) + 100));
    let before = lengths(None, &database);
    assert_eq!(before, [65_536, 65_536, 65_536, 116]);
    let first = hashes(&database, &before);
    database[70_000] ^= 1;
    let second = hashes(&database, &lengths(None, &database));
    assert_eq!(first.intersection(&second).count(), 3);
    let mut sealed = SEALED.to_vec();
    sealed.extend(noise(2, 65_536));
    assert_eq!(lengths(None, &sealed), [65_536, 8]);
    // What only has such bytes within is cut as ever.
    let model = header(2_000, &[100_000]);
    assert_eq!(lengths(Some(&model), &database)[0], 2_000);
}

fn hashes(bytes: &[u8], lengths: &[usize]) -> BTreeSet<Hash> {
    let mut rest = bytes;
    let mut hashes = BTreeSet::new();
    for &length in lengths {
        let (chunk, left) = rest.split_at(length);
        hashes.insert(Hash::of(chunk));
        rest = left;
    }
    hashes
}

/// What is cut once is cut so for ever: other cuts would send everything again.
#[test]
fn cuts_are_those_of_the_first_release() {
    let bytes = noise(1, 8 << 20);
    let found = lengths(None, &bytes);
    assert_eq!(found, GOLDEN);
    let with_borders = lengths(Some(&header(5000, &[3 << 20, 100, 2000])), &bytes);
    assert_eq!(with_borders, GOLDEN_WITH_BORDERS);
}

const GOLDEN: &[usize] = &[
    445_879, 559_080, 621_270, 806_908, 788_923, 2_436_811, 1_537_181, 958_472, 234_084,
];
const GOLDEN_WITH_BORDERS: &[usize] = &[
    5000, 440_879, 559_080, 621_270, 806_908, 717_591, 2100, 2_506_043, 1_537_181, 958_472, 234_084,
];

#[test]
fn chunks_have_a_mebibyte_in_the_mean() {
    let bytes = noise(2, 200 << 20);
    let found = lengths(None, &bytes);
    let mean = bytes.len() / found.len();
    // Two hundred draws: 1 MiB, give or take 5 %, and three times that.
    assert!((870 << 10..1180 << 10).contains(&mean), "mean={mean}");
    let inner = &found[..found.len() - 1];
    assert!(
        inner
            .iter()
            .all(|length| (CONTENT_MIN + 1..=CHUNK_MAX).contains(length))
    );
}

#[test]
fn looking_at_four_places_finds_what_looking_at_each_byte_finds() {
    for seed in 0..40 {
        let bytes = noise(seed, 3 << 20);
        let plain =
            first_cut(Gear(&NUMBERS), &bytes, CONTENT_MIN, bytes.len()).unwrap_or(bytes.len());
        assert_eq!(content_cut(&bytes), plain, "seed={seed}");
    }
}

#[test]
fn an_insertion_changes_only_the_chunk_it_is_in() {
    let old = noise(3, 20 << 20);
    let mut new = old.clone();
    new.splice(7_000_000..7_000_000, *b"a few bytes more");
    let before = hashes(&old, &lengths(None, &old));
    let after = hashes(&new, &lengths(None, &new));
    let lacking = after.difference(&before).count();
    assert!(lacking <= 2, "lacking={lacking} of {}", after.len());
}

#[test]
fn a_longer_header_changes_only_its_own_chunk() {
    let numbers = noise(4, 9 << 20);
    let sizes = [5 << 20, 3 << 20, 1 << 20];
    let old = [&noise(5, 4000)[..], &numbers].concat();
    let new = [&noise(6, 4112)[..], &numbers].concat();
    let before = hashes(&old, &lengths(Some(&header(4000, &sizes)), &old));
    let lengths = lengths(Some(&header(4112, &sizes)), &new);
    assert_eq!(lengths[0], 4112);
    let after = hashes(&new, &lengths);
    assert_eq!(after.difference(&before).count(), 1);
}

#[test]
fn small_tensors_go_together() {
    let sizes = [300; 1000];
    let bytes = noise(7, 2000 + 300_000);
    let found = lengths(Some(&header(2000, &sizes)), &bytes);
    assert_eq!(found[0], 2000);
    // Four of 300 are the first that reach 1024.
    assert!(found[1..].iter().all(|&length| length == 1200), "{found:?}");
}

#[test]
fn bytes_all_alike_are_cut_at_the_limit() {
    let zeros = vec![0; (9 << 20) + 5];
    assert_eq!(lengths(None, &zeros), [CHUNK_MAX, CHUNK_MAX, (1 << 20) + 5]);
    // A border far behind does not lift it.
    let far = header(4096, &[9 << 20]);
    let last = (1 << 20) + 5 - 4096;
    let found = lengths(Some(&far), &zeros);
    assert_eq!(found, [4096, CHUNK_MAX, CHUNK_MAX, last]);
    assert!(lengths(None, &[]).is_empty());
    assert_eq!(lengths(None, &[1]), [1]);
}

#[test]
fn a_lying_header_makes_no_more_borders_than_allowed() {
    let many = header(1024, &vec![1024; BORDERS_MAX + 1]);
    assert!(borders(&many).is_empty());
    // Borders behind the end cut nothing.
    let bytes = noise(8, 10_000);
    assert_eq!(
        lengths(Some(&header(1 << 40, &[1 << 30])), &bytes),
        [10_000]
    );
}

proptest! {
    #[test]
    fn chunks_add_up(
        seed in any::<u64>(),
        length in 0_usize..6_000_000,
        start in 0_u64..100_000,
        sizes in prop::collection::vec(0_u64..2_000_000, 0..8),
    ) {
        let bytes = noise(seed, length);
        let found = lengths(Some(&header(start, &sizes)), &bytes);
        prop_assert_eq!(found.iter().sum::<usize>(), length);
        prop_assert!(found.iter().all(|&length| length <= CHUNK_MAX));
    }
}
