//! What came of it.

use std::collections::BTreeMap;
use std::fmt;

use super::fault::Fault;

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the bucket.
    Push,
    /// From the bucket.
    Pull,
}

/// A fault that found a transfer at work.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// What broke.
    pub fault: Fault,
    /// The transfer's way.
    pub direction: Direction,
    /// Bytes of chunks that travelled more often than once.
    pub twice: u64,
    /// How often the transfer was begun.
    pub attempts: u32,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Report {
    /// In their order.
    pub hits: Vec<Hit>,
    /// How often a version was pulled while the next was being pushed.
    pub read_meanwhile: u32,
    /// What must not be.
    pub wrong: Vec<String>,
}

impl Report {
    /// The most bytes that travelled twice for one fault.
    #[must_use]
    pub fn twice_at_most(&self, direction: Direction) -> u64 {
        let of_it = self.hits.iter().filter(|hit| hit.direction == direction);
        of_it.map(|hit| hit.twice).max().unwrap_or(0)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Push => "push",
            Self::Pull => "pull",
        })
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fault,
            direction,
            twice,
            attempts,
        } = self;
        let twice = in_mib(*twice);
        write!(
            f,
            "{direction} {fault:<15} twice={twice:>6} MiB attempts={attempts}"
        )
    }
}

/// A table: a line for each fault and way.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<(Direction, Fault), Vec<u64>> = BTreeMap::new();
        for hit in &self.hits {
            let kind = kinds.entry((hit.direction, hit.fault)).or_default();
            kind.push(hit.twice);
        }
        writeln!(f, "| | times | travelled twice, MiB: median | most |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for ((direction, fault), mut twice) in kinds {
            twice.sort_unstable();
            let median = twice.get(twice.len() / 2).copied().unwrap_or(0);
            let most = twice.last().copied().unwrap_or(0);
            let (median, most) = (in_mib(median), in_mib(most));
            let times = twice.len();
            writeln!(f, "| {direction}, {fault} | {times} | {median} | {most} |")?;
        }
        let (up, down) = (Direction::Push, Direction::Pull);
        writeln!(
            f,
            "hits: {}; pulls during a push: {}; wrong: {}; \
             twice at most: {} MiB up, {} MiB down",
            self.hits.len(),
            self.read_meanwhile,
            self.wrong.len(),
            in_mib(self.twice_at_most(up)),
            in_mib(self.twice_at_most(down)),
        )
    }
}

/// With two places.
fn in_mib(bytes: u64) -> String {
    let hundredths = bytes.saturating_mul(100) >> 20;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
