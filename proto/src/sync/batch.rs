//! A batch: changes of one device, one immutable object in its log.
//!
//! ```text
//! "GNLB" · format u8 · schema major u8 · schema minor u8
//! user · device              each a length u8 and bytes
//! epoch u64 · sequence u64   little-endian, as all numbers of fixed size
//! previous 32                BLAKE3 of the batch before; zero for the first
//! first u64 · last u64       the earliest and the latest stamp
//! models · documents · passages · embeddings     how many of each
//! columns                    codec u8 · length · packed length · bytes
//! BLAKE3 of all before, 32
//! ```
//!
//! Counts and lengths are [`varint`]s. Rows are written column by column, which
//! packs better; vectors are taken apart into bytes of equal weight first. A
//! device reads what others wrote, so nothing in here is believed: each length
//! is checked against what is left before anything is allocated.

mod column;
mod document;
mod embedding;
mod model;
mod passage;
#[cfg(test)]
mod tests;

use bytes::{BufMut as _, Bytes};
use ginnel_blob::hash::Hash;

use self::column::{ColumnReader, ColumnWriter};
use super::hlc::Hlc;
use super::row::{Row, Rows};
use super::seal::{self, CannotOpen, Key};
use crate::id::{DeviceName, UserName};
use crate::varint;

/// The most that a batch's columns take before they are packed, in bytes.
pub const COLUMNS_MAX: usize = 8 << 20;

/// The longest batch, in bytes: columns that cannot be packed, and the rest.
pub const BATCH_MAX: usize = COLUMNS_MAX + (64 << 10);

/// The longest object of a log, in bytes: a batch that is sealed.
pub const OBJECT_MAX: usize = BATCH_MAX + seal::OVERHEAD;

/// The most rows of a batch, so that those that take little on the way do not
/// take much in memory: some 20 MB.
pub const ROWS_MAX: usize = 100_000;

/// The schema that this version writes. A higher minor one has fields in
/// [`Extra`](super::row::Extra) that we keep; a higher major one cannot be
/// applied.
pub const SCHEMA: Schema = Schema { major: 1, minor: 0 };

const MAGIC: &[u8; 4] = b"GNLB";
const FORMAT: u8 = 1;

/// What the rows of a batch mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schema {
    /// Another one cannot be applied.
    pub major: u8,
    /// A higher one has more fields.
    pub minor: u8,
}

/// Where a batch lies: nowhere else is it what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// Whose knowledge it is.
    pub user: UserName,
    /// In which epoch.
    pub epoch: u64,
    /// By which device.
    pub device: DeviceName,
    /// Which of its batches, from 1.
    pub sequence: u64,
}

/// What is said of a batch before its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where it lies.
    pub place: BatchPlace,
    /// What its rows mean.
    pub schema: Schema,
    /// BLAKE3 of the batch before; zero for the first.
    pub previous: Hash,
    /// The earliest and the latest stamp.
    pub stamps: (Hlc, Hlc),
}

/// A batch that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What is said of it.
    pub header: Header,
    /// The changes.
    pub rows: Rows,
    /// What the next one's `previous` says.
    pub hash: Hash,
}

/// Why a batch is not applied. None of these is cured by reading it again,
/// unless it was damaged on its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBatch {
    /// Its bytes are not what was written.
    #[error("batch is damaged, {0}")]
    Damaged(&'static str),
    /// It belongs elsewhere.
    #[error("batch belongs elsewhere, {0}")]
    Foreign(String),
    /// It was written by a version whose rows mean something else.
    #[error(
        "batch was written by a newer ginnel; hint: upgrade this device, schema={major}, known={known}",
        known = SCHEMA.major
    )]
    Newer {
        /// Its schema.
        major: u8,
    },
    /// It is not encrypted as it has to be.
    #[error("batch cannot be read, {0}")]
    Sealed(#[from] CannotOpen),
}

impl BatchPlace {
    /// The key of its object in the bucket.
    #[must_use]
    pub fn object(&self) -> String {
        let Self {
            user,
            epoch,
            device,
            sequence,
        } = self;
        format!("knowledge/{user}/.sync/log/e{epoch}/{device}/{sequence:016x}.batch")
    }

    /// The object of a batch: sealed, where there is a key.
    #[must_use]
    pub fn cover(&self, key: Option<&Key>, batch: Bytes) -> Bytes {
        match key {
            Some(key) => seal::seal(key, &self.object(), &batch).into(),
            None => batch,
        }
    }

    /// The batch of an object. Where there is a key, nothing is taken that is not
    /// sealed with it: whoever keeps the objects could have made it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn uncover(&self, key: Option<&Key>, object: &Bytes) -> Result<Bytes, BadBatch> {
        match key {
            Some(key) => Ok(seal::open(key, &self.object(), object)?),
            None => match seal::key_of(object) {
                Some(key) => Err(CannotOpen::OtherKey(key).into()),
                None => Ok(object.clone()),
            },
        }
    }

    fn check(&self, found: &Self) -> Result<(), BadBatch> {
        if found == self {
            return Ok(());
        }
        let Self {
            user,
            epoch,
            device,
            sequence,
        } = found;
        Err(BadBatch::Foreign(format!(
            "user={user}, device={device}, epoch={epoch}, sequence={sequence}"
        )))
    }
}

/// Rows for a batch, no more than fit into one.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: Rows,
    size: usize,
}

impl Gathered {
    /// Takes a row, unless there is no room for it: then it is for the next
    /// batch. A batch without rows takes any. Tells whether it was taken.
    #[must_use]
    pub fn add(&mut self, row: Row) -> bool {
        let size = size_of(&row);
        let is_full = self.rows.len() == ROWS_MAX || self.size + size > COLUMNS_MAX;
        if is_full && !self.rows.is_empty() {
            return false;
        }
        self.size += size;
        self.rows.push(row);
        true
    }

    /// The rows.
    #[must_use]
    pub fn into_rows(self) -> Rows {
        self.rows
    }

    /// Bytes that they take at most before they are packed.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn size_of(row: &Row) -> usize {
    match row {
        Row::Model(row) => model::size(row),
        Row::Document(row) => document::size(row),
        Row::Passage(row) => passage::size(row),
        Row::Embedding(row) => embedding::size(row),
    }
}

/// Writes a batch. Gives its bytes and its hash. The caller [gathers](Gathered)
/// no more rows than fit.
///
/// # Errors
/// There is no memory to pack it.
pub fn encode(place: &BatchPlace, previous: Hash, rows: &Rows) -> std::io::Result<(Bytes, Hash)> {
    let mut to = Vec::new();
    to.put_slice(MAGIC);
    to.put_u8(FORMAT);
    to.put_u8(SCHEMA.major);
    to.put_u8(SCHEMA.minor);
    put_name(place.user.as_str(), &mut to);
    put_name(place.device.as_str(), &mut to);
    to.put_u64_le(place.epoch);
    to.put_u64_le(place.sequence);
    to.put_slice(previous.as_bytes());
    let (first, last) = rows.stamps().unwrap_or_default();
    to.put_i64_le(first.to_stored());
    to.put_i64_le(last.to_stored());
    for count in [
        rows.models.len(),
        rows.documents.len(),
        rows.passages.len(),
        rows.embeddings.len(),
    ] {
        varint::write(count as u64, &mut to);
    }
    let mut columns = ColumnWriter::new(to)?;
    model::write(&rows.models, first, &mut columns);
    document::write(&rows.documents, first, &mut columns);
    passage::write(&rows.passages, first, &mut columns);
    embedding::write(&rows.embeddings, first, &mut columns);
    let mut to = columns.finish();
    let hash = Hash::of(&to);
    to.put_slice(hash.as_bytes());
    Ok((to.into(), hash))
}

/// Reads a batch that was found at `place`.
///
/// # Errors
/// [`BadBatch`] says what is wrong with it.
pub fn decode(bytes: &Bytes, place: &BatchPlace) -> Result<Batch, BadBatch> {
    let damaged = BadBatch::Damaged;
    if bytes.len() > BATCH_MAX {
        return Err(damaged("too long"));
    }
    let Some((body, hash)) = bytes.split_last_chunk() else {
        return Err(damaged("too short"));
    };
    let hash = Hash::from_bytes(*hash);
    if Hash::of(body) != hash {
        return Err(damaged("another hash"));
    }
    let mut from = Front(body);
    let (header, counts) = read_header(&mut from)?;
    place.check(&header.place)?;
    let rows = read_rows(from.0, header.stamps.0, counts)?;
    if rows.stamps().unwrap_or_default() != header.stamps {
        return Err(damaged("stamps are not those of its rows"));
    }
    Ok(Batch { header, rows, hash })
}

/// How many rows of each kind.
#[derive(Debug, Clone, Copy)]
struct Counts {
    models: usize,
    documents: usize,
    passages: usize,
    embeddings: usize,
}

fn read_header(from: &mut Front<'_>) -> Result<(Header, Counts), BadBatch> {
    let damaged = BadBatch::Damaged;
    if from.array()? != *MAGIC {
        return Err(damaged("not a batch"));
    }
    let [format, major, minor] = from.array()?;
    if format != FORMAT || major > SCHEMA.major {
        let major = major.max(format);
        return Err(BadBatch::Newer { major });
    }
    let user = from.name()?.parse();
    let device = from.name()?.parse();
    let place = BatchPlace {
        user: user.map_err(|_| damaged("no user"))?,
        device: device.map_err(|_| damaged("no device"))?,
        epoch: u64::from_le_bytes(from.array()?),
        sequence: u64::from_le_bytes(from.array()?),
    };
    let previous = Hash::from_bytes(from.array()?);
    let stamps = (from.stamp()?, from.stamp()?);
    let counts = Counts {
        models: from.count(ROWS_MAX)?,
        documents: from.count(ROWS_MAX)?,
        passages: from.count(ROWS_MAX)?,
        embeddings: from.count(ROWS_MAX)?,
    };
    let header = Header {
        place,
        schema: Schema { major, minor },
        previous,
        stamps,
    };
    Ok((header, counts))
}

fn read_rows(columns: &[u8], first: Hlc, counts: Counts) -> Result<Rows, BadBatch> {
    let mut columns = ColumnReader::new(columns, COLUMNS_MAX)?;
    let rows = Rows {
        models: model::read(counts.models, first, &mut columns)?,
        documents: document::read(counts.documents, first, &mut columns)?,
        passages: passage::read(counts.passages, first, &mut columns)?,
        embeddings: embedding::read(counts.embeddings, first, &mut columns)?,
    };
    columns.end()?;
    Ok(rows)
}

fn put_name(name: &str, to: &mut Vec<u8>) {
    // Names have 63 characters at most.
    to.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    to.put_slice(name.as_bytes());
}

/// Bytes that are read from their front.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BadBatch> {
        let split = self.0.split_at_checked(length);
        let (taken, rest) = split.ok_or(BadBatch::Damaged("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadBatch> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| BadBatch::Damaged("cut short"))
    }

    fn varint(&mut self) -> Result<u64, BadBatch> {
        let read = varint::read(self.0);
        let (value, size) = read.ok_or(BadBatch::Damaged("cut short"))?;
        self.take(size)?;
        Ok(value)
    }

    fn count(&mut self, most: usize) -> Result<usize, BadBatch> {
        let count = usize::try_from(self.varint()?).ok();
        let count = count.filter(|count| *count <= most);
        count.ok_or(BadBatch::Damaged("too many"))
    }

    fn name(&mut self) -> Result<&'a str, BadBatch> {
        let [length] = self.array()?;
        let name = self.take(usize::from(length))?;
        std::str::from_utf8(name).map_err(|_| BadBatch::Damaged("a name is no text"))
    }

    fn stamp(&mut self) -> Result<Hlc, BadBatch> {
        let stored = i64::from_le_bytes(self.array()?);
        Hlc::from_stored(stored).map_err(|_| BadBatch::Damaged("a stamp is negative"))
    }
}
