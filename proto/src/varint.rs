//! Variable-length integers as in QUIC (RFC 9000 §16).
//!
//! The two high bits of the first byte give the length: 1, 2, 4 or 8 bytes,
//! big endian, for values up to 2^62 − 1.

use bytes::BufMut;

/// The largest value: 2^62 − 1.
pub const MAX: u64 = (1 << 62) - 1;

/// The longest encoding, in bytes.
pub const SIZE_MAX: usize = 8;

/// How many bytes `value` takes. Values above [`MAX`] take [`SIZE_MAX`].
#[must_use]
pub fn size(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Appends `value` in its shortest form. Values above [`MAX`] cannot be
/// written and are cut to it; no length in this crate comes near.
pub fn write(value: u64, to: &mut impl BufMut) {
    match value {
        0..0x40 => to.put_uint(value, 1),
        0x40..0x4000 => to.put_uint(value | 0x4000, 2),
        0x4000..0x4000_0000 => to.put_uint(value | 0x8000_0000, 4),
        _ => to.put_u64(value.min(MAX) | 0xc000_0000_0000_0000),
    }
}

/// Reads one integer from the front of `from`: its value and its size in
/// bytes, or `None` if more bytes are needed. Every encoding is valid, longer
/// than necessary ones too (RFC 9000 §16).
#[must_use]
pub fn read(from: &[u8]) -> Option<(u64, usize)> {
    let first = *from.first()?;
    let size = 1_usize << (first >> 6);
    let bytes = from.get(..size)?;
    let value = bytes
        .iter()
        .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    // Drop the two length bits, wherever the first byte ended up.
    let mask = MAX >> (64 - 8 * size);
    Some((value & mask, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_9000_examples() {
        // RFC 9000 appendix A.1.
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(bytes), Some((value, bytes.len())));
        }
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=MAX) {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            prop_assert_eq!(bytes.len(), size(value));
            prop_assert_eq!(read(&bytes), Some((value, bytes.len())));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut]), None);
            }
        }
    }
}
