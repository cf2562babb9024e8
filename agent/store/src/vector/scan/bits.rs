//! A growing row of bits: which rows of a part are dead.

/// Bits, all unset until they are set. None is ever unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    count: usize,
}

impl Bits {
    /// How many are set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether this one is set.
    #[must_use]
    pub fn contains(&self, at: u32) -> bool {
        let word = self.words.get(at as usize / 64);
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// The 32 from a multiple of 32 on, the first of them in the lowest bit.
    #[must_use]
    pub fn block(&self, first: u32) -> u32 {
        let word = self.words.get(first as usize / 64).copied();
        let [low, high] = halves(word.unwrap_or_default());
        if first % 64 < 32 { low } else { high }
    }

    /// Sets one. Returns whether it was not set before.
    pub fn insert(&mut self, at: u32) -> bool {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Those that are set, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).step_by(64).zip(&self.words).flat_map(|(base, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(base + bit)
            })
        })
    }
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec(0..300_u32, 0..200)) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for at in steps {
                prop_assert_eq!(bits.contains(at), model.contains(&at));
                prop_assert_eq!(bits.insert(at), model.insert(at));
            }
            prop_assert_eq!(bits.count(), model.len());
            prop_assert!(bits.iter().eq(model.iter().copied()));
            for first in (0..400).step_by(32) {
                let set = (0..32).filter(|at| model.contains(&(first + at)));
                prop_assert_eq!(bits.block(first), set.map(|at| 1 << at).sum::<u32>());
            }
        }
    }
}
