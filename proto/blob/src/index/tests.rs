use proptest::prelude::*;

use super::*;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

fn build(bytes: &[u8]) -> ChunkIndex {
    let size = bytes.len() as u64;
    ChunkIndex::build(&mut &*bytes, size, None, |_| ControlFlow::Continue(())).expect("built")
}

/// Gives its bytes in small pieces, as pipes do.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = buffer.len().min(self.1);
        self.0.read(&mut buffer[..step])
    }
}

#[test]
fn an_index_tells_the_chunks_of_its_blob() {
    let bytes = noise(1, 11 << 20);
    let index = build(&bytes);
    assert_eq!(index.blob(), Hash::of(&bytes));
    assert_eq!(index.size(), bytes.len() as u64);
    assert!(index.chunks().len() > 4);
    let mut offset = 0;
    for chunk in index.chunks() {
        assert_eq!(chunk.offset, offset);
        let place = usize::try_from(chunk.offset).expect("small");
        let end = usize::try_from(chunk.end()).expect("small");
        assert_eq!(chunk.hash, Hash::of(&bytes[place..end]));
        offset = chunk.end();
    }
    assert_eq!(offset, index.size());
    let size = bytes.len() as u64;
    let dripping = &mut Dripping(&bytes, 4099);
    let again = ChunkIndex::build(dripping, size, None, |_| ControlFlow::Continue(()));
    assert_eq!(again.expect("built"), index);
}

#[test]
fn a_blob_of_another_length_than_told_has_changed() {
    let bytes = noise(2, 600_000);
    for size in [0, 599_999, 600_001] {
        let built = ChunkIndex::build(&mut &*bytes, size, None, |_| ControlFlow::Continue(()));
        assert!(matches!(built, Err(BuildError::Changed)), "size={size}");
    }
    // A file that grows without an end is not read to it.
    let mut endless = io::repeat(7).take(64 << 20);
    let built = ChunkIndex::build(&mut endless, 600_000, None, |_| ControlFlow::Continue(()));
    assert!(matches!(built, Err(BuildError::Changed)));
    assert!(endless.limit() >= 48 << 20, "left={}", endless.limit());
    let stopped = ChunkIndex::build(&mut &*bytes, 600_000, None, |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(BuildError::Stopped)));
}

/// The bytes of an index as the first release wrote them.
#[test]
fn the_format_is_that_of_the_first_release() {
    let index = build(b"hello");
    let hash = Hash::of(b"hello");
    let mut golden = b"GNLI\x01\0\0\0\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    golden.extend_from_slice(hash.as_bytes());
    golden.extend_from_slice(hash.as_bytes());
    golden.extend_from_slice(&[5, 0, 0, 0]);
    let root = Hash::of(&golden);
    golden.extend_from_slice(root.as_bytes());
    assert_eq!(index.encode(), golden);
    assert_eq!(index.root(), root);
    assert_eq!(ChunkIndex::decode(&golden), Ok(index));
}

/// Encodes with a right checksum whatever is wrong with the rest.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - Hash::LENGTH);
    let root = Hash::of(&bytes);
    bytes.extend_from_slice(root.as_bytes());
    bytes
}

#[test]
fn what_lies_is_refused() {
    let right = build(&noise(3, 3 << 20)).encode().to_vec();
    let refused = |bytes: &[u8], expected: &str| {
        let error = ChunkIndex::decode(bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
    };
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = right.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        resealed(bytes)
    };
    refused(&[], "cut short");
    refused(&right[..60], "cut short");
    refused(&right[..right.len() - 1], "length is not that");
    refused(&changed(0, b"GNLX"), "magic");
    refused(&changed(4, &[2]), "version=2");
    refused(&changed(5, &[1]), "version");
    refused(&changed(8, &[1, 2, 3]), "do not add up");
    refused(&changed(16, &[255, 255, 255, 255]), "too many chunks");
    refused(&changed(16, &[1]), "length is not that");
    refused(&changed(20, &[1]), "reserved");
    refused(
        &changed(HEAD + 32, &[0, 0, 0, 0]),
        "length of a chunk, length=0",
    );
    refused(&changed(HEAD + 32, &[0, 0, 0x41, 0]), "length of a chunk");
    let mut flipped = right.clone();
    flipped[HEAD] ^= 1;
    refused(&flipped, "checksum");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ChunkIndex::decode(&bytes);
    }

    #[test]
    fn indexes_round_trip(seed in any::<u64>(), length in 0_usize..3_000_000) {
        let index = build(&noise(seed, length));
        prop_assert_eq!(ChunkIndex::decode(&index.encode()), Ok(index));
    }
}
