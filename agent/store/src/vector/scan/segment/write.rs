//! Writes a segment from rows of others.

use super::layout::{ALIGNMENT, HEADER, Header, Identity, SECTIONS};
use crate::error::{Error, Result};
use crate::vector::scan::arrange::{Arranged, Shape};
use crate::vector::scan::bytes8;
use crate::vector::scan::code::{self, BLOCK, Terms, block_bytes};
use crate::vector::scan::disk::{Disk, Output};
use crate::vector::scan::funnel::Place;
use crate::vector::scan::space::{Space, add, dot, square, subtract};
use crate::vector::scan::view::{List, View};

/// Rows, and how they lie in a new segment.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Where the rows come from.
    pub views: &'a [View<'a>],
    /// Where they go.
    pub arranged: &'a Arranged,
    /// Where they lie.
    pub space: &'a Space,
    /// Dimensions there.
    pub padded: usize,
}

/// Writes and syncs a file.
///
/// # Errors
/// It cannot be written, or `stop` says that it is in vain.
pub fn write(
    disk: &Disk,
    name: &str,
    (identity, contents): (&Identity, Contents<'_>),
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let mut writer = Writer {
        output: disk.create(name)?,
        checksums: [0; SECTIONS],
        section: 0,
        hasher: crc32fast::Hasher::new(),
        stop,
    };
    writer.output.write(&[0; HEADER])?;
    let lists = writer.blocks(contents)?;
    writer.slots(contents, |out, row| match row {
        Some((view, row)) => out.extend(view.bytes(row).map_or(&[][..], |(bytes, _)| bytes)),
        None => out.resize(out.len() + contents.padded, 0),
    })?;
    writer.slots(contents, |out, row| {
        let scale = row.and_then(|(view, row)| view.bytes(row));
        out.extend(scale.map_or([0; 8], |(_, scale)| scale.to_bytes()));
    })?;
    writer.slots(contents, |out, row| {
        let passage = row.and_then(|(view, row)| view.passage(row));
        out.extend(passage.unwrap_or(0).to_le_bytes());
    })?;
    writer.slots(contents, |out, row| {
        let embedding = row.and_then(|(view, row)| view.embedding(row));
        out.extend(embedding.unwrap_or(0).to_le_bytes());
    })?;
    let arranged = contents.arranged;
    writer.rows(arranged.order.iter(), |out, (passage, row)| {
        out.extend(passage.to_le_bytes());
        out.extend(row.to_le_bytes());
    })?;
    writer.rows(arranged.heading.iter(), |out, value| {
        out.extend(value.to_le_bytes())
    })?;
    writer.rows(arranged.list_bytes.iter(), |out, byte| out.push(*byte))?;
    writer.rows(lists.iter(), |out, list| {
        let values = [list.step, list.addend, list.addend_spread, list.spread];
        out.extend(list.rows.to_le_bytes());
        out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    })?;
    let header = Header {
        identity: identity.clone(),
        rows: count(arranged.order.len())?,
        blocks: count(arranged.slots.len() / BLOCK)?,
        lists: count(lists.len())?,
        checksums: writer.checksums,
    };
    let mut output = writer.output;
    output.write_first(&header.to_bytes())?;
    output.finish()
}

fn count(length: usize) -> Result<u32> {
    let count = u32::try_from(length);
    count.map_err(|_| Error::invalid("index has too many rows for a segment").with("rows", &length))
}

impl<'a> Contents<'a> {
    /// The row for each number of the new segment.
    fn slots(self) -> impl Iterator<Item = Option<(View<'a>, Place)>> {
        let slots = self.arranged.slots.iter();
        slots.map(move |slot| {
            let place = (*slot)?;
            Some((*self.views.get(place.part as usize)?, place))
        })
    }
}

struct Writer<'a> {
    output: Output<'a>,
    checksums: [u32; SECTIONS],
    section: usize,
    hasher: crc32fast::Hasher,
    stop: &'a dyn Fn() -> bool,
}

/// Rows between two looks at whether to stop, and two writes.
const STRIDE: usize = 1024;

impl Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if (self.stop)() {
            return Err(Error::closed());
        }
        self.hasher.update(bytes);
        self.output.write(bytes)
    }

    fn begin(&mut self) -> Result<()> {
        let gap = self.output.length().next_multiple_of(ALIGNMENT) - self.output.length();
        self.output
            .write([0; ALIGNMENT].get(..gap).unwrap_or_default())
    }

    fn end(&mut self) {
        let hasher = std::mem::take(&mut self.hasher);
        if let Some(checksum) = self.checksums.get_mut(self.section) {
            *checksum = hasher.finalize();
        }
        self.section += 1;
    }

    /// A section with something for each number of the new segment.
    fn slots(
        &mut self,
        contents: Contents<'_>,
        put: impl FnMut(&mut Vec<u8>, Option<(View<'_>, u32)>),
    ) -> Result<()> {
        let slots = contents.slots();
        self.rows(
            slots.map(|slot| slot.map(|(view, place)| (view, place.row))),
            put,
        )
    }

    /// A section with something for each row.
    fn rows<T>(
        &mut self,
        rows: impl Iterator<Item = T>,
        mut put: impl FnMut(&mut Vec<u8>, T),
    ) -> Result<()> {
        self.begin()?;
        let mut buffer = Vec::new();
        for (at, row) in rows.enumerate() {
            put(&mut buffer, row);
            if at % STRIDE == STRIDE - 1 {
                self.write(&buffer)?;
                buffer.clear();
            }
        }
        self.write(&buffer)?;
        self.end();
        Ok(())
    }

    /// The section of codes. Returns the lists.
    fn blocks(&mut self, contents: Contents<'_>) -> Result<Vec<List>> {
        self.begin()?;
        let mut encoder = Encoder::new(contents);
        let mut lists = Vec::with_capacity(contents.arranged.lists.len());
        let mut slots = contents.slots();
        for (at, list) in contents.arranged.lists.iter().enumerate() {
            encoder.begin(at);
            for _ in 0..list.rows.div_ceil(32) {
                encoder.block.fill(0);
                for (lane, slot) in slots.by_ref().take(BLOCK).enumerate() {
                    if let Some((view, place)) = slot {
                        encoder.put((lane, list.rows), view, place);
                    }
                }
                self.write(&encoder.block)?;
            }
            lists.push(encoder.end(*list));
        }
        self.end();
        Ok(spread(lists))
    }
}

/// A list whose rows were encoded, with its radius for a spread.
struct Ended {
    list: List,
    /// Its spread by a few rows, and its radius.
    ratio: Option<(f32, f32)>,
}

/// The spread of each list, as a share of its radius that is the same for all:
/// what the few rows of one list say is too uncertain to choose lists by.
fn spread(ended: Vec<Ended>) -> Vec<List> {
    let known = || ended.iter().filter_map(|ended| ended.ratio);
    let squares: f32 = known().map(|(spread, _)| spread * spread).sum();
    let radii: f32 = known().map(|(_, radius)| radius * radius).sum();
    let share = if radii > 0.0 {
        (squares / radii).sqrt().min(1.0)
    } else {
        1.0
    };
    let lists = ended.into_iter().map(|Ended { list, .. }| List {
        spread: share * list.spread,
        ..list
    });
    lists.collect()
}

/// Encodes rows around the centre of their list.
struct Encoder<'a> {
    contents: Contents<'a>,
    block: Vec<u8>,
    bits: Vec<u8>,
    point: Vec<f32>,
    list_centre: Vec<f32>,
    /// Of the list: how many rows so far, and sums over them.
    rows: usize,
    addends: f64,
    addend_squares: f64,
    squares: f64,
    /// Some rows, the centre taken off.
    sample: Vec<f32>,
}

/// Rows of a list that are compared with each other.
const SAMPLE: usize = 16;

impl<'a> Encoder<'a> {
    fn new(contents: Contents<'a>) -> Self {
        let padded = contents.padded;
        Self {
            contents,
            block: vec![0; block_bytes(padded)],
            bits: vec![0; padded / 8],
            point: vec![0.0; padded],
            list_centre: vec![0.0; padded],
            rows: 0,
            addends: 0.0,
            addend_squares: 0.0,
            squares: 0.0,
            sample: Vec::with_capacity(SAMPLE * padded),
        }
    }

    fn begin(&mut self, list: usize) {
        let (arranged, padded) = (self.contents.arranged, self.contents.padded);
        let bytes = arranged.list_bytes.chunks_exact(padded).nth(list);
        let step = arranged.lists.get(list).map_or(0.0, |list| list.step);
        bytes8::decode(bytes.unwrap_or_default(), step, &mut self.list_centre);
        (self.rows, self.squares) = (0, 0.0);
        (self.addends, self.addend_squares) = (0.0, 0.0);
        self.sample.clear();
    }

    fn put(&mut self, (lane, of): (usize, u32), view: View<'_>, place: Place) {
        let Some((bytes, scale)) = view.bytes(place.row) else {
            return;
        };
        bytes8::decode(bytes, scale.step, &mut self.point);
        let addend = dot(&self.point, &self.contents.arranged.heading) + scale.bias;
        subtract(&mut self.point, &self.list_centre);
        let factor = code::encode(&self.point, &mut self.bits);
        code::place(&mut self.block, lane, &self.bits, Terms { factor, addend });
        self.addends += f64::from(addend);
        self.addend_squares += f64::from(addend) * f64::from(addend);
        self.squares += f64::from(square(&self.point));
        if self
            .rows
            .is_multiple_of((of as usize).div_ceil(SAMPLE).max(1))
        {
            self.sample.extend(&self.point);
        }
        self.rows += 1;
    }

    #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 is one")]
    fn end(&mut self, shape: Shape) -> Ended {
        let count = f64::from(shape.rows.max(1));
        let mean = self.addends / count;
        let radius = (self.squares / count).sqrt() as f32;
        Ended {
            list: List {
                block: 0,
                rows: shape.rows,
                step: shape.step,
                addend: mean as f32,
                addend_spread: (self.addend_squares / count - mean * mean).max(0.0).sqrt() as f32,
                spread: radius,
            },
            ratio: self.spread().map(|spread| (spread, radius)),
        }
    }

    /// How far rows are from the centre of their list as other rows of it see
    /// it: the root of the mean square of the product with one of length 1.
    /// `None` if there are too few.
    fn spread(&self) -> Option<f32> {
        let padded = self.contents.padded;
        let rows = || self.sample.chunks_exact(padded);
        if rows().len() < SAMPLE / 2 {
            return None;
        }
        let (mut sum, mut pairs) = (0.0, 0.0_f32);
        for (at, row) in rows().enumerate() {
            let mut point = row.to_vec();
            add(&mut point, &self.list_centre);
            let probe = self.contents.space.probe_at(&point);
            let (probe, _) = probe.without(&self.contents.arranged.heading);
            let length = probe.length * probe.length;
            let others = rows().enumerate().filter(|(other, _)| *other != at);
            for (_, row) in others {
                let product = dot(row, &probe.values);
                sum += if length > 0.0 {
                    product * product / length
                } else {
                    0.0
                };
                pairs += 1.0;
            }
        }
        Some((sum / pairs).sqrt())
    }
}
