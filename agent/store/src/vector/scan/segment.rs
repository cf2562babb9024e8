//! Rows in a file that never changes, mapped into memory.

pub mod layout;
pub mod write;

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::view::{List, View};
use crate::error::{Error, Result};
use layout::{Header, Identity, LIST, SECTIONS};

/// A mapped segment.
#[derive(Debug)]
pub struct Segment {
    map: Mmap,
    header: Header,
    padded: usize,
    sections: [Range<usize>; SECTIONS],
    heading: Vec<f32>,
    lists: Vec<List>,
    /// The lowest and the highest passage.
    passages: Option<(i64, i64)>,
}

impl Segment {
    /// Maps a file. Its header and lists are checked, and the length of all
    /// else; [`Segment::verify`] checks the rest.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or belongs to another index.
    pub fn open(path: &Path, identity: &Identity, padded: usize) -> Result<Self> {
        let map = map(path).map_err(|error| Error::file(path, error))?;
        let open = || {
            let header = Header::from_bytes(&map, identity)?;
            let (sections, length) = header.sections(padded)?;
            if map.len() != length {
                return Err(Error::corrupt("segment has another length").with("bytes", &map.len()));
            }
            for at in SMALL {
                check(&map, &header, &sections, at)?;
            }
            let [.., heading, _, lists] = &sections;
            let heading = map.get(heading.clone()).unwrap_or_default();
            let lists = map.get(lists.clone()).unwrap_or_default();
            let lists = read_lists(lists, &header)?;
            let heading = heading.as_chunks().0.iter();
            let heading = heading.map(|value| f32::from_le_bytes(*value)).collect();
            Ok((header, sections, heading, lists))
        };
        let (header, sections, heading, lists) =
            open().map_err(|e| e.with("path", &path.display()))?;
        let mut segment = Self {
            map,
            header,
            padded,
            sections,
            heading,
            lists,
            passages: None,
        };
        let last = segment.order().len().saturating_sub(1);
        segment.passages = segment.passage(0).zip(segment.passage(last));
        Ok(segment)
    }

    /// How many rows, dead ones too.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.header.rows
    }

    /// How many lists.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// How long the file is.
    #[must_use]
    pub fn file_bytes(&self) -> usize {
        self.map.len()
    }

    /// Its rows.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let [
            blocks,
            bytes,
            scales,
            passages,
            embeddings,
            _,
            _,
            list_bytes,
            _,
        ] = &self.sections;
        let section = |range: &Range<usize>| self.map.get(range.clone()).unwrap_or_default();
        View {
            padded: self.padded,
            heading: &self.heading,
            lists: &self.lists,
            list_bytes: section(list_bytes),
            blocks: section(blocks),
            bytes: section(bytes),
            scales: section(scales).as_chunks().0,
            passages: section(passages).as_chunks().0,
            embeddings: section(embeddings).as_chunks().0,
        }
    }

    /// The numbers of all rows, by passage.
    pub fn rows_by_passage(&self) -> impl Iterator<Item = u32> + '_ {
        self.order().iter().map(|row| u32::from_le_bytes(*row))
    }

    /// The row of a passage.
    #[must_use]
    pub fn locate(&self, passage: i64) -> Option<u32> {
        let (lowest, highest) = self.passages?;
        if !(lowest..=highest).contains(&passage) {
            return None;
        }
        let (mut from, mut to) = (0, self.order().len());
        while from < to {
            let middle = from + (to - from) / 2;
            let found = self.passage(middle)?;
            match found.cmp(&passage) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return self.row(middle),
            }
        }
        None
    }

    /// Reads all of the file and compares the checksums.
    ///
    /// # Errors
    /// It is damaged.
    pub fn verify(&self) -> Result<()> {
        (0..SECTIONS).try_for_each(|at| check(&self.map, &self.header, &self.sections, at))
    }

    fn order(&self) -> &[[u8; 4]] {
        let [_, _, _, _, _, order, ..] = &self.sections;
        let order = self.map.get(order.clone()).unwrap_or_default();
        order.as_chunks().0
    }

    fn row(&self, at: usize) -> Option<u32> {
        self.order().get(at).map(|row| u32::from_le_bytes(*row))
    }

    fn passage(&self, at: usize) -> Option<i64> {
        self.view().passage(self.row(at)?)
    }
}

/// The sections that are small, and used before anything else.
const SMALL: [usize; 3] = [6, 7, 8];

fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "a mapping of a file that others could change")]
    // SAFETY: the folder belongs to the index. A segment is written once, under
    // a name that is not used again, and never changed or cut while it is
    // mapped.
    unsafe {
        Mmap::map(&file)
    }
}

fn check(map: &[u8], header: &Header, sections: &[Range<usize>], at: usize) -> Result<()> {
    let section = sections.get(at).and_then(|range| map.get(range.clone()));
    let sum = section.map(crc32fast::hash);
    if sum.is_some() && sum.as_ref() == header.checksums.get(at) {
        return Ok(());
    }
    Err(Error::corrupt("segment is damaged").with("section", &at))
}

fn read_lists(bytes: &[u8], header: &Header) -> Result<Vec<List>> {
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let (mut block, mut rows) = (0_u32, 0_u32);
    let mut lists = Vec::with_capacity(header.lists as usize);
    for list in bytes.as_chunks::<LIST>().0 {
        let [count, step, addend, addend_spread, spread] = list.as_chunks().0 else {
            break;
        };
        let list = List {
            block,
            rows: u32::from_le_bytes(*count),
            step: number(step),
            addend: number(addend),
            addend_spread: number(addend_spread),
            spread: number(spread),
        };
        let sums = block
            .checked_add(list.blocks())
            .zip(rows.checked_add(list.rows));
        (block, rows) = sums.ok_or_else(|| Error::corrupt("lists are too long"))?;
        lists.push(list);
    }
    if (block, rows) != (header.blocks, header.rows) {
        return Err(Error::corrupt("lists do not fit the rows").with("rows", &rows));
    }
    Ok(lists)
}
