//! Chunks made shorter for the way, where that pays.
//!
//! Numbers of two and four bytes are taken apart first, all first bytes, all
//! second bytes and so on: exponents are alike, and zstd finds it. Measured
//! on weights with level 1: f32 to 83 %, f16 to 85 %, bf16 to 68 %; higher
//! levels find no more, and quantized numbers leave 4 % at most.
//!
//! On the wire a chunk is a record: codec u8 · length u32 LE · bytes.

use std::fmt;

use zstd::bulk::{Compressor, Decompressor};

use crate::tensor::Grain;

/// How a chunk's bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Raw,
    /// By zstd (RFC 8878).
    Zstd,
    /// Numbers of two bytes taken apart, then by zstd.
    ZstdOfTwo,
    /// Numbers of four bytes taken apart, then by zstd.
    ZstdOfFour,
}

/// Bytes of a record before the chunk's.
pub const RECORD_HEAD: usize = 5;

/// zstd's fastest level but the negative ones.
const LEVEL: i32 = 1;

/// Packing must save one byte in so many to be worth the unpacking.
const SAVES_ONE_IN: usize = 20;

/// Chunks below this are sent as they are, in bytes.
const WORTH_TRYING: usize = 512;

/// How much of a chunk is tried before all of it, in bytes.
const SAMPLE: usize = 64 << 10;

/// Why a packed chunk cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packed chunk is damaged, codec={0:?}")]
pub struct Damaged(Codec);

impl Codec {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::ZstdOfTwo => 2,
            Self::ZstdOfFour => 3,
        }
    }

    /// The codec of a number. `None` for one that came later.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::ZstdOfTwo),
            3 => Some(Self::ZstdOfFour),
            _ => None,
        }
    }
}

/// The first bytes of a record.
#[must_use]
pub fn record_head(codec: Codec, length: u32) -> [u8; RECORD_HEAD] {
    let [a, b, c, d] = length.to_le_bytes();
    [codec.number(), a, b, c, d]
}

/// Packs chunks one after another.
pub struct Packer {
    zstd: Compressor<'static>,
    apart: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    /// Ready to pack.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Compressor::new(LEVEL)?,
            apart: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// The chunk as it is to be sent: packed, or itself if that would not pay.
    pub fn pack<'a>(&'a mut self, chunk: &'a [u8], grain: Grain) -> (Codec, &'a [u8]) {
        let codec = match grain {
            Grain::Dense => return (Codec::Raw, chunk),
            Grain::Plain => Codec::Zstd,
            Grain::Two => Codec::ZstdOfTwo,
            Grain::Four => Codec::ZstdOfFour,
        };
        if chunk.len() < WORTH_TRYING {
            return (Codec::Raw, chunk);
        }
        let sample = chunk.get(..SAMPLE).unwrap_or(chunk);
        let pays = self.try_pack(sample, codec)
            && (sample.len() == chunk.len() || self.try_pack(chunk, codec));
        if pays {
            (codec, &self.packed)
        } else {
            (Codec::Raw, chunk)
        }
    }

    /// Packs into `packed`, and tells whether it pays.
    fn try_pack(&mut self, bytes: &[u8], codec: Codec) -> bool {
        let limit = bytes.len() - bytes.len() / SAVES_ONE_IN;
        let bytes = match codec {
            Codec::Raw | Codec::Zstd => bytes,
            Codec::ZstdOfTwo => {
                take_apart::<2>(bytes, &mut self.apart);
                &self.apart
            }
            Codec::ZstdOfFour => {
                take_apart::<4>(bytes, &mut self.apart);
                &self.apart
            }
        };
        self.packed.clear();
        self.packed
            .reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        // Does not fail with room for the worst case; if it did, nothing is lost.
        match self.zstd.compress_to_buffer(bytes, &mut self.packed) {
            Ok(length) => length <= limit,
            Err(_) => false,
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// Unpacks chunks one after another.
pub struct Unpacker {
    zstd: Decompressor<'static>,
    apart: Vec<u8>,
}

impl Unpacker {
    /// Ready to unpack.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Decompressor::new()?,
            apart: Vec::new(),
        })
    }

    /// Appends the chunk to `chunk`, which takes exactly `length` bytes. Never
    /// makes more of it, whatever the packed bytes say.
    ///
    /// # Errors
    /// The bytes are no such chunk.
    pub fn unpack(
        &mut self,
        codec: Codec,
        packed: &[u8],
        length: usize,
        chunk: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        if codec == Codec::Raw {
            if packed.len() != length {
                return Err(Damaged(codec));
            }
            chunk.extend_from_slice(packed);
            return Ok(());
        }
        self.apart.clear();
        self.apart.reserve_exact(length);
        // Writes no more than the capacity, which may be larger.
        let unpacked = self.zstd.decompress_to_buffer(packed, &mut self.apart);
        if unpacked.ok() != Some(length) {
            return Err(Damaged(codec));
        }
        match codec {
            Codec::Raw | Codec::Zstd => chunk.extend_from_slice(&self.apart),
            Codec::ZstdOfTwo => put_together::<2>(&self.apart, chunk),
            Codec::ZstdOfFour => put_together::<4>(&self.apart, chunk),
        }
        Ok(())
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

/// All first bytes of the numbers, all second ones, and so on; bytes that are
/// no whole number stay at the end.
fn take_apart<const WIDTH: usize>(bytes: &[u8], apart: &mut Vec<u8>) {
    let (numbers, rest) = bytes.as_chunks::<WIDTH>();
    apart.clear();
    apart.reserve_exact(bytes.len());
    for place in 0..WIDTH {
        apart.extend(numbers.iter().map(|number| number[place]));
    }
    apart.extend_from_slice(rest);
}

fn put_together<const WIDTH: usize>(apart: &[u8], bytes: &mut Vec<u8>) {
    let count = apart.len() / WIDTH;
    let (planes, rest) = apart.split_at(count * WIDTH);
    let start = bytes.len();
    bytes.resize(start + planes.len(), 0);
    let (numbers, _) = bytes.split_at_mut(start).1.as_chunks_mut::<WIDTH>();
    for (place, plane) in planes.chunks_exact(count.max(1)).enumerate().take(WIDTH) {
        for (number, byte) in numbers.iter_mut().zip(plane) {
            number[place] = *byte;
        }
    }
    bytes.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(chunk: &[u8], grain: Grain) -> (Codec, Vec<u8>) {
        let mut packer = Packer::new().expect("memory");
        let (codec, packed) = packer.pack(chunk, grain);
        (codec, packed.to_vec())
    }

    fn unpacked(codec: Codec, packed: &[u8], length: usize) -> Result<Vec<u8>, Damaged> {
        let mut chunk = Vec::new();
        let mut unpacker = Unpacker::new().expect("memory");
        unpacker.unpack(codec, packed, length, &mut chunk)?;
        Ok(chunk)
    }

    fn weights(count: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        let weight = || (random.f32() - 0.5) * 0.1;
        std::iter::repeat_with(weight)
            .take(count)
            .flat_map(f32::to_le_bytes)
            .collect()
    }

    #[test]
    fn numbers_taken_apart_pack_better() {
        let weights = weights(100_000);
        let (codec, of_four) = packed(&weights, Grain::Four);
        assert_eq!(codec, Codec::ZstdOfFour);
        let share = of_four.len() * 100 / weights.len();
        assert!((70..93).contains(&share), "share={share}");
        let (_, plain) = packed(&weights, Grain::Plain);
        assert!(of_four.len() < plain.len());
        assert_eq!(unpacked(codec, &of_four, weights.len()), Ok(weights));
    }

    #[test]
    fn what_does_not_pay_stays_as_it_is() {
        let mut random = fastrand::Rng::with_seed(2);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(300_000)
            .collect();
        for grain in [Grain::Plain, Grain::Two, Grain::Four, Grain::Dense] {
            assert_eq!(packed(&noise, grain).0, Codec::Raw, "{grain:?}");
        }
        let text = b"all alike ".repeat(40);
        assert_eq!(packed(&text, Grain::Plain).0, Codec::Raw, "too short");
        assert_eq!(packed(&text.repeat(20), Grain::Dense).0, Codec::Raw);
        assert_eq!(packed(&text.repeat(20), Grain::Plain).0, Codec::Zstd);
    }

    #[test]
    fn a_good_beginning_is_not_enough() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut chunk = vec![0; SAMPLE];
        chunk.extend(std::iter::repeat_with(|| random.u8(..)).take(4 << 20));
        assert_eq!(packed(&chunk, Grain::Plain).0, Codec::Raw);
    }

    #[test]
    fn a_chunk_never_grows_over_its_length() {
        let (codec, bomb) = packed(&vec![0; 4 << 20], Grain::Plain);
        assert_eq!(codec, Codec::Zstd);
        assert!(bomb.len() < 1000);
        assert_eq!(unpacked(codec, &bomb, 1000), Err(Damaged(codec)));
        assert_eq!(unpacked(codec, &bomb, 5 << 20), Err(Damaged(codec)));
        assert_eq!(unpacked(codec, b"no zstd", 7), Err(Damaged(codec)));
        assert_eq!(unpacked(Codec::Raw, b"four", 3), Err(Damaged(Codec::Raw)));
    }

    #[test]
    fn numbers_on_the_wire_are_those_of_the_first_release() {
        for number in 0..=255 {
            match Codec::of(number) {
                Some(codec) => assert_eq!(codec.number(), number),
                None => assert!(number > 3),
            }
        }
        assert_eq!(record_head(Codec::ZstdOfTwo, 0x0102_0304), [2, 4, 3, 2, 1]);
    }

    proptest! {
        #[test]
        fn all_that_is_packed_unpacks(
            piece in prop::collection::vec(any::<u8>(), 1..300),
            times in 1_usize..200,
            grain in prop::sample::select(vec![Grain::Plain, Grain::Two, Grain::Four, Grain::Dense]),
        ) {
            let chunk = piece.repeat(times);
            let (codec, packed) = packed(&chunk, grain);
            prop_assert_eq!(unpacked(codec, &packed, chunk.len()), Ok(chunk));
        }

        #[test]
        fn taken_apart_and_put_together(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let (mut apart, mut together) = (Vec::new(), vec![7]);
            take_apart::<2>(&bytes, &mut apart);
            put_together::<2>(&apart, &mut together);
            prop_assert_eq!(&together[1..], &bytes);
            together.truncate(1);
            take_apart::<4>(&bytes, &mut apart);
            put_together::<4>(&apart, &mut together);
            prop_assert_eq!(&together[1..], bytes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            number in 0_u8..4,
            length in 0_usize..10_000,
        ) {
            let codec = Codec::of(number).expect("four of them");
            let _ = unpacked(codec, &bytes, length);
        }
    }
}
