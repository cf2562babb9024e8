//! A model that is trained on: a file of safetensors of which some tensors
//! change with each round.

use fastrand::Rng;

use crate::artifacts::safetensors;

const MIB: usize = 1 << 20;

/// Tensors of the model.
const TENSORS: usize = 8;

/// A version of the model.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// Seed and length of each tensor.
    tensors: Vec<(u64, usize)>,
    /// The file.
    pub(super) file: Vec<u8>,
    /// Bytes that the version before did not have.
    pub(super) changed: u64,
}

impl Model {
    /// The first version, 64 to 96 MiB: all of it is new.
    pub(super) fn first(dice: &mut Rng) -> Self {
        let draw = |_| (dice.u64(..), dice.usize(8 * MIB..12 * MIB));
        let tensors: Vec<_> = (0..TENSORS).map(draw).collect();
        let file = safetensors("chaos", &tensors);
        let changed = file.len() as u64;
        Self {
            tensors,
            file,
            changed,
        }
    }

    /// The next version: three to six tensors have other numbers.
    pub(super) fn train(&self, dice: &mut Rng) -> Self {
        let mut tensors = self.tensors.clone();
        let count = dice.usize(3..=6);
        let trained = dice.choose_multiple(0..TENSORS, count);
        let mut changed = 0;
        for number in trained {
            if let Some((seed, length)) = tensors.get_mut(number) {
                *seed = dice.u64(..);
                changed += *length as u64;
            }
        }
        let file = safetensors("chaos", &tensors);
        Self {
            tensors,
            file,
            changed,
        }
    }
}
