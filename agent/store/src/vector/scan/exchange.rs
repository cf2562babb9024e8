//! Puts new segments in the place of what they were made from. What died while
//! they were made dies in them too.

use std::collections::HashSet;
use std::sync::Arc;

use super::bits::Bits;
use super::segment::Segment;
use super::state::{Living, Now, Part};

impl Now {
    /// Puts a segment in the place of a tail. What died since is dead there too.
    pub fn exchange(&mut self, same: impl Fn(&Part) -> bool, mut new: Option<Part>, before: &Bits) {
        let Some(at) = self.parts.iter().position(same) else {
            return;
        };
        let old = self.parts.remove(at);
        if let Some(new) = &mut new {
            bury(&old, before, new);
        }
        if let Some(new) = new {
            self.parts.insert(at, new);
        }
    }

    /// Puts a segment in the place of others.
    pub fn exchange_segments(
        &mut self,
        numbers: &HashSet<u64>,
        mut new: Option<Part>,
        before: &[&(u64, Living<Arc<Segment>>)],
    ) {
        let old = |part: &Part| match part {
            Part::Segment { number, .. } => numbers.contains(number).then_some(*number),
            Part::Frozen { .. } => None,
        };
        for part in &self.parts {
            let known = before.iter().find(|(number, _)| Some(*number) == old(part));
            if let (Some((_, known)), Some(new)) = (known, &mut new) {
                bury(part, &known.dead, new);
            }
        }
        self.parts.retain(|part| old(part).is_none());
        // Larger ones first, and tails that wait last.
        self.parts.splice(0..0, new);
    }
}

/// Marks in `new` what died in `old` since `before`.
fn bury(old: &Part, before: &Bits, new: &mut Part) {
    for row in old.dead().iter().filter(|row| !before.contains(*row)) {
        if let Some(passage) = old.view().passage(row) {
            new.kill(passage);
        }
    }
}
