//! How rows lie in a new segment: around which centre, in which list.

use super::bits::Bits;
use super::bytes8;
use super::cluster::Centres;
use super::code::BLOCK;
use super::funnel::Place;
use super::space::{Space, subtract};
use super::view::View;
use crate::error::{Error, Result};

/// A list is made for so many rows. Shorter ones cost more to choose from,
/// longer ones more to read.
const LIST_ROWS: usize = 512;

/// With so many rows a list, lists are made anew.
const LIST_ROWS_MAX: usize = 4 * LIST_ROWS;

/// Points to train a centre with.
const SAMPLE: usize = 40;

/// Rows to find the middle of all.
const MIDDLE_SAMPLE: usize = 16_384;

/// Rows between two looks at whether to stop.
const STRIDE: usize = 1024;

/// Where every row of a new segment goes.
#[derive(Debug, Clone)]
pub struct Arranged {
    /// What is taken off probes.
    pub heading: Vec<f32>,
    /// The centre of each list.
    pub list_bytes: Vec<u8>,
    /// The lists.
    pub lists: Vec<Shape>,
    /// The row for each number.
    pub slots: Vec<Option<Place>>,
    /// The passages and numbers of all rows, by passage.
    pub order: Vec<(i64, u32)>,
}

/// A list before its rows are there.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many rows.
    pub rows: u32,
    /// What one step of a byte of its centre is worth.
    pub step: f32,
}

/// What to arrange.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// Where rows are.
    pub views: &'a [View<'a>],
    /// The living ones, by passage.
    pub rows: &'a [Row],
    /// Where they lie.
    pub space: &'a Space,
    /// Dimensions there.
    pub padded: usize,
    /// From so many rows on, lists are made.
    pub lists_from: usize,
    /// Says that it is in vain.
    pub stop: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// A living row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its passage.
    pub passage: i64,
    /// Where it is.
    pub place: Place,
}

/// All living rows, by passage.
#[must_use]
pub fn living_rows(sources: &[(View<'_>, &Bits)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (part, (view, dead)) in (0..).zip(sources) {
        for list in view.lists {
            let first = list.block * 32;
            let living = (first..first + list.rows).filter(|row| !dead.contains(*row));
            rows.extend(living.filter_map(|row| {
                let place = Place { part, row };
                let passage = view.passage(row)?;
                Some(Row { passage, place })
            }));
        }
    }
    rows.sort_unstable_by_key(|row| row.passage);
    rows
}

/// Arranges rows.
///
/// # Errors
/// It was stopped, or there are too many rows.
pub fn arrange(task: Task<'_>) -> Result<Arranged> {
    let (centre, centres, lists) = if task.rows.len() < task.lists_from {
        let centre = task.middle();
        let centres = vec![0.0; task.padded];
        (centre, centres, vec![0; task.rows.len()])
    } else if let Some(first) = task.kept() {
        task.extend(first)?
    } else {
        task.cluster()?
    };
    let mut list_bytes = vec![0; centres.len()];
    let mut lists_of = Vec::with_capacity(centres.len() / task.padded);
    let points = centres.chunks_exact(task.padded);
    let mut point = vec![0.0; task.padded];
    for (offset, bytes) in points.zip(list_bytes.chunks_exact_mut(task.padded)) {
        let sum = offset.iter().zip(&centre).map(|(a, b)| a + b);
        point
            .iter_mut()
            .zip(sum)
            .for_each(|(to, value)| *to = value);
        let step = bytes8::encode(&point, bytes);
        lists_of.push(Shape { rows: 0, step });
    }
    let (slots, order) = fill(&mut lists_of, &lists, task.rows)?;
    Ok(Arranged {
        heading: task.space.heading(&centre),
        list_bytes,
        lists: lists_of,
        slots,
        order,
    })
}

/// The middle, centres around it, and the list of each row.
type Lists = (Vec<f32>, Vec<f32>, Vec<u32>);

impl<'a> Task<'a> {
    /// The mean of some rows.
    fn middle(&self) -> Vec<f32> {
        let stride = self.rows.len().div_ceil(MIDDLE_SAMPLE).max(1);
        let mut sum = vec![0.0; self.padded];
        let mut point = vec![0.0; self.padded];
        let mut count = 0.0_f32;
        for row in self.rows.iter().step_by(stride) {
            self.point(row.place, &mut point);
            sum.iter_mut()
                .zip(&point)
                .for_each(|(sum, value)| *sum += value);
            count += 1.0;
        }
        sum.iter_mut().for_each(|sum| *sum /= count.max(1.0));
        sum
    }

    /// The part whose lists can be kept: most rows are in it, and its lists are
    /// not too long.
    fn kept(&self) -> Option<usize> {
        let living = |part: usize| {
            let of_it = |row: &&Row| row.place.part as usize == part;
            self.rows.iter().filter(of_it).count()
        };
        let parts = self.views.iter().enumerate();
        let mut lists = parts.filter(|(_, view)| view.lists.len() > 1);
        let (part, _) = lists.find(|(part, view)| {
            let most = 2 * living(*part) > self.rows.len();
            most && self.rows.len() / view.lists.len() < LIST_ROWS_MAX
        })?;
        Some(part)
    }

    /// Keeps the lists of a part and puts other rows in.
    fn extend(&self, part: usize) -> Result<Lists> {
        let view = self.views.get(part).ok_or_else(Error::closed)?;
        let middle = self.middle();
        let mut points = vec![0.0; view.lists.len() * self.padded];
        let rows = view.list_bytes.chunks_exact(self.padded).zip(view.lists);
        for (point, (bytes, list)) in points.chunks_exact_mut(self.padded).zip(rows) {
            bytes8::decode(bytes, list.step, point);
            subtract(point, &middle);
        }
        let centres = Centres::new(points, self.padded);
        let known = |place: &Place| {
            let block = place.row / 32;
            let after = view.lists.partition_point(|list| list.block <= block);
            (place.part as usize == part).then(|| after.saturating_sub(1))
        };
        let lists = self.lists(&centres, &middle, known)?;
        Ok((middle, centres.points().to_vec(), lists))
    }

    fn cluster(&self) -> Result<Lists> {
        let middle = self.middle();
        let count = self.rows.len().div_ceil(LIST_ROWS);
        let stride = (self.rows.len() / (count * SAMPLE).max(1)).max(1);
        let chosen = self.rows.iter().step_by(stride);
        let mut sample = vec![0.0; chosen.len() * self.padded];
        for (point, row) in sample.chunks_exact_mut(self.padded).zip(chosen) {
            self.point(row.place, point);
            subtract(point, &middle);
        }
        let centres = Centres::train(&sample, self.padded, count, self.stop);
        let lists = self.lists(&centres, &middle, |_| None)?;
        Ok((middle, centres.points().to_vec(), lists))
    }

    /// The list of each row: the known one, or the one of the nearest centre.
    fn lists(
        &self,
        centres: &Centres,
        middle: &[f32],
        known: impl Fn(&Place) -> Option<usize>,
    ) -> Result<Vec<u32>> {
        let mut point = vec![0.0; self.padded];
        let mut lists = Vec::with_capacity(self.rows.len());
        for (at, Row { place, .. }) in self.rows.iter().enumerate() {
            if at % STRIDE == 0 && (self.stop)() {
                return Err(Error::closed());
            }
            let list = known(place).unwrap_or_else(|| {
                self.point(*place, &mut point);
                subtract(&mut point, middle);
                centres.nearest(&point)
            });
            lists.push(u32::try_from(list).unwrap_or(0));
        }
        Ok(lists)
    }

    fn point(&self, place: Place, out: &mut [f32]) {
        let view = self.views.get(place.part as usize);
        if let Some((bytes, scale)) = view.and_then(|view| view.bytes(place.row)) {
            bytes8::decode(bytes, scale.step, out);
        }
    }
}

/// The row for each number, and the passage and number of each row.
type Filled = (Vec<Option<Place>>, Vec<(i64, u32)>);

/// Gives each row a number. Rows of a list follow each other by passage, and
/// each list begins at a block.
fn fill(shapes: &mut [Shape], lists: &[u32], rows: &[Row]) -> Result<Filled> {
    for list in lists {
        if let Some(shape) = shapes.get_mut(*list as usize) {
            shape.rows += 1;
        }
    }
    let mut next = Vec::with_capacity(shapes.len());
    let mut end = 0_usize;
    for shape in &*shapes {
        next.push(end);
        end += (shape.rows as usize).next_multiple_of(BLOCK);
    }
    if u32::try_from(end).is_err() {
        return Err(Error::invalid("too many rows for a segment").with("rows", &rows.len()));
    }
    let mut slots = vec![None; end];
    let mut order = Vec::with_capacity(rows.len());
    for (list, row) in lists.iter().zip(rows) {
        let Some(next) = next.get_mut(*list as usize) else {
            continue;
        };
        if let Some(slot) = slots.get_mut(*next) {
            *slot = Some(row.place);
        }
        let number = u32::try_from(*next).unwrap_or(u32::MAX);
        order.push((row.passage, number));
        *next += 1;
    }
    Ok((slots, order))
}
