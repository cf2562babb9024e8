//! The scan: from a probe to the rows that can be among the nearest.

use super::bits::Bits;
use super::code::{BLOCK, block_bytes};
use super::funnel::{Funnel, Kept, Place};
use super::kernel::{Bounds, Kernel};
use super::query::Query;
use super::space::Probe;
use super::view::{List, View};
use crate::vector::passages::Passages;

/// Codes of so many bytes do not stay in a processor's cache from one query to
/// the next. Then it helps to ask for a block before it is its turn: where the
/// codes are in the cache, it costs a fifth.
const FAR: usize = 16 << 20;

/// An estimate is raised by so many of its typical errors: of true neighbours
/// at the very threshold one in seventy is then lost, of all far fewer.
const DEVIATIONS: f32 = 2.2;

/// In few dimensions errors are less like the normal distribution, and rows
/// are cheap to look at.
const DEVIATIONS_FEW: f32 = 4.0;

/// Few dimensions.
const FEW: usize = 192;

/// Lists whose mean is further below the threshold than so many times their
/// spread are not read.
const LIST_SPREADS: f32 = 4.5;

/// Which rows may be found.
#[derive(Debug, Clone, Copy)]
pub struct Living<'a> {
    /// Not these.
    pub dead: &'a [&'a Bits],
    /// Only rows of these passages.
    pub filter: Option<&'a Passages>,
}

/// What a scan found and did.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The rows that can be among the wanted ones, in any order.
    pub kept: Vec<Kept>,
    /// Rows whose codes were read.
    pub scanned: usize,
    /// Rows whose bytes were read.
    pub looked_at: usize,
}

/// Scans all rows, or lists of them as long as they promise something.
#[must_use]
pub fn scan(views: &[View<'_>], living: Living<'_>, probe: &Probe, wanted: usize) -> Found {
    let mut scan = Scan {
        views,
        living,
        parts: views.iter().map(|view| Seen::new(*view, probe)).collect(),
        funnel: Funnel::new(views, probe, wanted),
        kernel: Kernel::best(),
        far: views.iter().map(|view| view.blocks.len()).sum::<usize>() > FAR,
        scanned: 0,
    };
    // A block is on its way from memory while the one before it is scored.
    let mut before: Option<Turn<'_>> = None;
    for reading in scan.readings() {
        if !reading.whole && reading.promise < scan.funnel.threshold() {
            continue;
        }
        let Some(view) = views.get(reading.part) else {
            continue;
        };
        scan.scanned += reading.list.rows as usize;
        for turn in turns(*view, living, reading) {
            if scan.far {
                Kernel::prefetch(turn.block);
            }
            if living.filter.is_some() {
                Kernel::prefetch(view.passages_from(turn.first).as_flattened());
            }
            if let Some(turn) = before.replace(turn) {
                scan.score(turn);
            }
        }
    }
    if let Some(turn) = before {
        scan.score(turn);
    }
    Found {
        scanned: scan.scanned,
        looked_at: scan.funnel.looked_at(),
        kept: scan.funnel.finish(),
    }
}

/// Looks at given rows and no others.
#[must_use]
pub fn look_at(views: &[View<'_>], rows: &[Place], probe: &Probe, wanted: usize) -> Found {
    let mut funnel = Funnel::new(views, probe, wanted);
    funnel.look_at_all(rows);
    Found {
        scanned: 0,
        looked_at: funnel.looked_at(),
        kept: funnel.finish(),
    }
}

struct Scan<'a> {
    views: &'a [View<'a>],
    living: Living<'a>,
    parts: Vec<Seen>,
    funnel: Funnel<'a>,
    kernel: Kernel,
    /// Whether the codes must come from memory.
    far: bool,
    scanned: usize,
}

/// A query as a part sees it, without the part's heading.
struct Seen {
    probe: Probe,
    query: Query,
}

impl Seen {
    fn new(view: View<'_>, probe: &Probe) -> Self {
        let (probe, weight) = probe.without(view.heading);
        let mut query = Query::new(&probe.values);
        query.weight = weight;
        let few = view.padded <= FEW;
        let deviations = if few { DEVIATIONS_FEW } else { DEVIATIONS };
        query.raise(deviations, probe.length);
        Self { probe, query }
    }
}

/// A list to be read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    part: usize,
    list: List,
    /// The product of the probe and the list's centre.
    centre: f32,
    /// What its best row may reach.
    promise: f32,
    /// It is all of a part.
    whole: bool,
}

impl Scan<'_> {
    /// All lists, the most promising first, those that are all of a part last:
    /// they must be read anyway, and the higher the threshold, the faster.
    fn readings(&self) -> Vec<Reading> {
        let mut readings = Vec::new();
        for (part, (view, seen)) in self.views.iter().zip(&self.parts).enumerate() {
            let whole = view.lists.len() == 1;
            let centres = view.list_bytes.chunks_exact(view.padded);
            for (list, bytes) in view.lists.iter().zip(centres) {
                let sum = self.kernel.dot(seen.probe.bytes.values(), bytes);
                let centre = seen.probe.bytes.product(sum, list.step);
                let reach = f32::hypot(
                    list.spread * seen.probe.length,
                    list.addend_spread * seen.query.weight,
                );
                readings.push(Reading {
                    part,
                    list: *list,
                    centre,
                    promise: centre + seen.query.weight * list.addend + LIST_SPREADS * reach,
                    whole,
                });
            }
        }
        readings.sort_unstable_by(|a, b| {
            let order = a.whole.cmp(&b.whole);
            order.then_with(|| b.promise.total_cmp(&a.promise))
        });
        readings
    }

    fn score(&mut self, turn: Turn<'_>) {
        let (Some(view), Some(seen)) = (self.views.get(turn.part), self.parts.get(turn.part))
        else {
            return;
        };
        let bounds = Bounds {
            centre: turn.centre,
            threshold: self.funnel.threshold(),
        };
        let mut estimates = [0.0; BLOCK];
        let above = self
            .kernel
            .score(turn.block, &seen.query, bounds, &mut estimates);
        let mut above = self.living.passing(*view, turn.first, above & turn.living);
        while above != 0 {
            let lane = above.trailing_zeros();
            above &= above - 1;
            let row = turn.first + lane;
            let Some(estimate) = estimates.get(lane as usize) else {
                break;
            };
            let part = u32::try_from(turn.part).unwrap_or(u32::MAX);
            self.funnel.push(*estimate, Place { part, row });
        }
    }
}

/// A block to be scored.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    part: usize,
    /// See [`Reading::centre`].
    centre: f32,
    block: &'a [u8],
    /// Its first row.
    first: u32,
    /// Which of its rows are not dead.
    living: u32,
}

/// The blocks of a list that have living rows.
fn turns<'a>(
    view: View<'a>,
    living: Living<'a>,
    reading: Reading,
) -> impl Iterator<Item = Turn<'a>> {
    let List { block, rows, .. } = reading.list;
    let blocks = view.list_blocks(reading.list);
    let blocks = blocks.chunks_exact(block_bytes(view.padded));
    let firsts = (block * 32..).step_by(32);
    let left = (0..=rows).rev().step_by(32);
    let turns = blocks
        .zip(firsts)
        .zip(left)
        .map(move |((block, first), left)| Turn {
            part: reading.part,
            centre: reading.centre,
            block,
            first,
            living: living.block(reading.part, first) & lowest(left),
        });
    turns.filter(|turn| turn.living != 0)
}

impl Living<'_> {
    /// Which rows of a block are not dead.
    fn block(&self, part: usize, first: u32) -> u32 {
        self.dead.get(part).map_or(!0, |dead| !dead.block(first))
    }

    /// Which of some rows of a block the filter lets through. Decides nothing
    /// row by row: whether one passes cannot be foreseen by the processor.
    fn passing(&self, view: View<'_>, first: u32, rows: u32) -> u32 {
        let Some(filter) = self.filter else {
            return rows;
        };
        let passages = view.passages_from(first);
        let (mut passing, mut left) = (0, rows);
        while left != 0 {
            let lane = left.trailing_zeros();
            left &= left - 1;
            let passage = passages.get(lane as usize);
            let passage = passage.map_or(-1, |passage| i64::from_le_bytes(*passage));
            passing |= u32::from(filter.contains(passage)) << lane;
        }
        passing
    }
}

/// The lowest bits, so many.
fn lowest(count: u32) -> u32 {
    u32::MAX.checked_shl(count).map_or(u32::MAX, |rest| !rest)
}
