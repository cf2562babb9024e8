//! What is known of the tensors of a model's file, whatever its format.

use std::ops::Range;

/// A tensor: its name, its shape, and where its numbers lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// The type of its numbers, as the format calls it: `F16`, `Q4_K`.
    pub kind: String,
    /// Its dimensions, outermost first. Empty for a single number.
    pub shape: Vec<u64>,
    /// Where its numbers lie, in bytes from the beginning of the file.
    pub place: Range<u64>,
}

impl Tensor {
    /// How many numbers it has. `None` if more than can be counted.
    #[must_use]
    pub fn parameters(&self) -> Option<u64> {
        count(&self.shape)
    }

    /// How its numbers are best packed.
    #[must_use]
    pub fn grain(&self) -> Grain {
        match self.kind.as_str() {
            "F32" | "I32" | "U32" => Grain::Four,
            "F16" | "BF16" | "I16" | "U16" => Grain::Two,
            "F64" | "I64" | "U64" | "BOOL" | "U8" | "I8" => Grain::Plain,
            // Quantized numbers leave 4 % at most, and cost the time of all.
            _ => Grain::Dense,
        }
    }
}

/// What packing can hope for in a piece of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Nothing known: text, headers, whole numbers.
    Plain,
    /// Numbers of two bytes.
    Two,
    /// Numbers of four bytes.
    Four,
    /// Quantized numbers: packing finds nothing.
    Dense,
}

/// The product of the dimensions.
pub(crate) fn count(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1_u64, |count, &size| count.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_packed_by_their_width() {
        let grain = |kind: &str| {
            let tensor = Tensor {
                name: "t".into(),
                kind: kind.into(),
                shape: vec![2, 3],
                place: 0..12,
            };
            assert_eq!(tensor.parameters(), Some(6));
            tensor.grain()
        };
        for kind in ["F32", "I32", "U32"] {
            assert_eq!(grain(kind), Grain::Four, "{kind}");
        }
        for kind in ["F16", "BF16", "I16", "U16"] {
            assert_eq!(grain(kind), Grain::Two, "{kind}");
        }
        for kind in ["F64", "I64", "U64", "BOOL", "U8", "I8"] {
            assert_eq!(grain(kind), Grain::Plain, "{kind}");
        }
        for kind in ["Q4_K", "Q8_0", "IQ4_XS", "MXFP4", "F8_E4M3", "type 77"] {
            assert_eq!(grain(kind), Grain::Dense, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_counted_is_not() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[u64::MAX, 2]), None);
        assert_eq!(count(&[u64::MAX, 0]), Some(0));
    }
}
