//! A set of passages: what a filter lets through.

/// The most that a set can reach: 4 Gi passages, 512 MiB of bits.
const ROWID_MAX: i64 = (1 << 32) - 1;

/// Rowids of passages, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passages {
    words: Vec<u64>,
    length: usize,
}

impl Passages {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds one. Rowids below 0 or from 2³² on cannot be in a set; the store
    /// never gives such.
    pub fn insert(&mut self, passage: i64) {
        let Some((word, bit)) = place(passage) else {
            return;
        };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            self.length += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, passage: i64) {
        let word = place(passage).and_then(|(word, bit)| Some((self.words.get_mut(word)?, bit)));
        if let Some((word, bit)) = word {
            self.length -= usize::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    /// Whether it has this one.
    #[must_use]
    pub fn contains(&self, passage: i64) -> bool {
        place(passage).is_some_and(|(word, bit)| {
            let word = self.words.get(word);
            word.is_some_and(|word| word & bit != 0)
        })
    }

    /// All, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0_i64..)
            .step_by(64)
            .zip(&self.words)
            .flat_map(|(base, word)| {
                let mut left = *word;
                std::iter::from_fn(move || {
                    let bit = left.trailing_zeros();
                    left &= left.checked_sub(1)?;
                    Some(base + i64::from(bit))
                })
            })
    }
}

impl FromIterator<i64> for Passages {
    fn from_iter<T: IntoIterator<Item = i64>>(passages: T) -> Self {
        let mut set = Self::new();
        passages.into_iter().for_each(|passage| set.insert(passage));
        set
    }
}

fn place(passage: i64) -> Option<(usize, u64)> {
    let known = (0..=ROWID_MAX).contains(&passage);
    let at = known.then(|| usize::try_from(passage).ok())??;
    Some((at / 64, 1 << (at % 64)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..300_i64), 0..200)) {
            let (mut set, mut model) = (Passages::new(), BTreeSet::new());
            for (insert, passage) in steps {
                if insert {
                    set.insert(passage);
                    model.insert(passage);
                } else {
                    set.remove(passage);
                    model.remove(&passage);
                }
                prop_assert_eq!(set.contains(passage), insert);
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert!(set.iter().eq(model.iter().copied()));
        }
    }

    #[test]
    fn what_cannot_be_in_it_is_not() {
        let mut set = Passages::new();
        for passage in [-1, i64::MIN, ROWID_MAX + 1, i64::MAX] {
            set.insert(passage);
            assert!(!set.contains(passage));
        }
        assert!(set.is_empty());
    }
}
