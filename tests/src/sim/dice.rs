//! Random numbers from a seed (splitmix64), for everything that the
//! simulation decides.

use std::time::Duration;

/// Throws that depend on the seed and on the throws before, and on nothing
/// else.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Dice for another purpose: what they throw does not depend on how often
    /// these are thrown later.
    pub fn fork(&mut self) -> Self {
        Self::new(self.any())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any().checked_rem(end).unwrap_or(0)
    }

    /// True with probability `chance`.
    pub fn chance(&mut self, chance: f64) -> bool {
        self.fraction() < chance
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.any() >> 11) as f64 / STEPS
    }

    /// A time from `from` to `to`.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from);
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// A length from 0 to `most`, short ones as often as long ones of a
    /// thousand times the length.
    pub fn length(&mut self, most: u64) -> u64 {
        let shift = self.below(u64::from(most.max(1).ilog2()) + 1);
        self.below((most >> shift) + 1)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).expect("small")]
    }

    /// 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&self.any().to_le_bytes());
        }
        bytes
    }
}
