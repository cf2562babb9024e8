//! Rows in a file that never changes, mapped into memory.

pub mod layout;
pub mod write;

use std::fs::{File, Metadata};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

#[cfg(unix)]
use memmap2::Advice;
use memmap2::Mmap;

use super::bits::Bits;
use super::view::{List, View};
use crate::error::{Error, Result};
use layout::{Header, Identity, LIST, ORDERED, SECTIONS};

/// A mapped segment.
#[derive(Debug)]
pub struct Segment {
    map: Mmap,
    file: File,
    /// When the file was last written, where the system knows.
    written: Option<SystemTime>,
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
        let unreadable = |error| Error::file(path, error);
        let file = File::open(path).map_err(unreadable)?;
        let map = map(&file).map_err(unreadable)?;
        let written = file.metadata().map_err(unreadable)?.modified().ok();
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
            file,
            written,
            header,
            padded,
            sections,
            heading,
            lists,
            passages: None,
        };
        let ends = segment.order().first().zip(segment.order().last());
        segment.passages = ends.map(|(first, last)| (passage_of(first), passage_of(last)));
        segment.expect_queries();
        Ok(segment)
    }

    /// Tells the system what queries read: all codes, and single rows of the
    /// rest. It would else read megabytes around each of those from the disk.
    fn expect_queries(&self) {
        let [blocks, bytes, scales, passages, embeddings, order, ..] = &self.sections;
        self.advise(Advice::WillNeed, blocks);
        for rows in [bytes, scales, passages, embeddings, order] {
            self.advise(Advice::Random, rows);
        }
    }

    /// Tells the system that the file will be read from its beginning to its
    /// end.
    pub fn expect_reading(&self) {
        self.advise(Advice::Sequential, &(0..self.map.len()));
    }

    #[cfg(unix)]
    fn advise(&self, advice: Advice, section: &Range<usize>) {
        // It is only advice: what cannot be taken costs time and nothing else.
        let _ = self.map.advise_range(advice, section.start, section.len());
    }

    #[cfg(not(unix))]
    fn advise(&self, _: Advice, _: &Range<usize>) {}

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

    /// The row of a passage.
    #[must_use]
    pub fn locate(&self, passage: i64) -> Option<u32> {
        let (lowest, highest) = self.passages?;
        if !(lowest..=highest).contains(&passage) {
            return None;
        }
        let order = self.order();
        let at = order.binary_search_by_key(&passage, passage_of).ok()?;
        order.get(at).map(row_of)
    }

    /// The rows of passages that are given in their order. Costs little more
    /// than reading the passages that lie between them.
    #[must_use]
    pub fn locate_all(&self, passages: impl Iterator<Item = i64>) -> Bits {
        let mut rows = Bits::default();
        let mut left = self.order();
        // That of the first one left. It is known without reading it, so that
        // the next ones can be read at the same time.
        let mut first = left.first().map_or(0, passage_of);
        for passage in passages {
            let is_before = |ordered: &Ordered| passage_of(ordered) < passage;
            // No two are of one passage, so it is at most as many places on as
            // its number is greater; where numbers follow each other, just there.
            let on = usize::try_from(passage.saturating_sub(first)).unwrap_or(0);
            if let Some(there) = left.get(on).filter(|there| passage_of(there) == passage) {
                rows.insert(row_of(there));
                left = left.get(on..).unwrap_or_default();
                first = passage;
                continue;
            }
            // Steps that double, until one is too far.
            let mut step = 1;
            while left.get(step).is_some_and(is_before) {
                step *= 2;
            }
            let near = left.get(..step.min(left.len())).unwrap_or_default();
            let before = near.partition_point(is_before);
            left = left.get(before..).unwrap_or_default();
            let Some(there) = left.first() else {
                break;
            };
            first = passage_of(there);
            if first == passage {
                rows.insert(row_of(there));
            }
        }
        rows
    }

    /// Whether nobody else wrote into the file or cut it since it was mapped:
    /// to read behind its end would end the process. Costs a microsecond.
    ///
    /// # Errors
    /// Somebody did, or the system does not say.
    pub fn expect_untouched(&self) -> Result<()> {
        let found = self.file.metadata();
        let found = found.map_err(|error| Error::corrupt("segment is lost").with("reason", &error));
        let found = found?;
        let (bytes, expected) = (found.len(), self.map.len() as u64);
        if (bytes, found.modified().ok()) == (expected, self.written) {
            return Ok(());
        }
        let error = Error::corrupt("segment was changed by another program");
        Err(error.with("bytes", &bytes).with("expected", &expected))
    }

    /// Whether this path still leads to it, and not to a file that was put in
    /// its place.
    ///
    /// # Errors
    /// It does not, or the system does not tell.
    pub fn expect_at(&self, path: &Path) -> Result<()> {
        let found = std::fs::metadata(path).and_then(|found| Ok((found, self.file.metadata()?)));
        let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let (found, own) = found.map_err(|error| match is_gone(&error) {
            true => Error::corrupt("segment is gone"),
            false => Error::file(path, error),
        })?;
        match is_same_file(&found, &own) {
            true => Ok(()),
            false => Err(Error::corrupt("segment was replaced by another program")),
        }
    }

    /// Reads all of the file and compares the checksums.
    ///
    /// # Errors
    /// It is damaged.
    pub fn verify(&self) -> Result<()> {
        self.expect_untouched()?;
        self.expect_reading();
        let whole =
            (0..SECTIONS).try_for_each(|at| check(&self.map, &self.header, &self.sections, at));
        self.expect_queries();
        whole
    }

    fn order(&self) -> &[Ordered] {
        let [_, _, _, _, _, order, ..] = &self.sections;
        let order = self.map.get(order.clone()).unwrap_or_default();
        order.as_chunks().0
    }
}

#[cfg(unix)]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a file that is mapped cannot be replaced.
#[cfg(not(unix))]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.len() == other.len()
}

/// How a part of a file will be read. Only Unix wants to know.
#[cfg(not(unix))]
#[derive(Debug, Clone, Copy)]
enum Advice {
    WillNeed,
    Random,
    Sequential,
}

/// A passage and its row.
type Ordered = [u8; ORDERED];

fn passage_of([a, b, c, d, e, f, g, h, ..]: &Ordered) -> i64 {
    i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
}

fn row_of([.., a, b, c, d]: &Ordered) -> u32 {
    u32::from_le_bytes([*a, *b, *c, *d])
}

/// The sections that are small, and used before anything else.
const SMALL: [usize; 3] = [6, 7, 8];

fn map(file: &File) -> std::io::Result<Mmap> {
    #[expect(unsafe_code, reason = "a mapping of a file that others could change")]
    // SAFETY: the folder belongs to the index. A segment is written once, under
    // a name that is not used again, and never changed or cut while it is
    // mapped. Another program could do so all the same: whoever reads asks
    // `Segment::expect_untouched` before.
    unsafe {
        Mmap::map(file)
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
