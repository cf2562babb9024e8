//! Columns: the same field of all rows, packed together.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes};
use ginnel_blob::hash::Hash;
use ginnel_blob::pack::{Codec, Packer, Unpacker};
use ginnel_blob::tensor::Grain;

use super::{BadBatch, Front};
use crate::sync::hlc::Hlc;
use crate::varint;

/// Writes columns one after another.
pub(super) struct ColumnWriter {
    to: Vec<u8>,
    packer: Packer,
}

impl ColumnWriter {
    pub(super) fn new(to: Vec<u8>) -> std::io::Result<Self> {
        let packer = Packer::new()?;
        Ok(Self { to, packer })
    }

    /// A column of anything.
    pub(super) fn put(&mut self, column: &[u8]) {
        self.put_grained(column, Grain::Plain);
    }

    /// A column of 32-bit floats.
    pub(super) fn put_floats(&mut self, column: &[u8]) {
        self.put_grained(column, Grain::Four);
    }

    fn put_grained(&mut self, column: &[u8], grain: Grain) {
        let (codec, packed) = self.packer.pack(column, grain);
        self.to.put_u8(codec.number());
        varint::write(column.len() as u64, &mut self.to);
        varint::write(packed.len() as u64, &mut self.to);
        self.to.put_slice(packed);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.to
    }
}

/// Reads columns in the order in which they were written.
pub(super) struct ColumnReader<'a> {
    from: Front<'a>,
    unpacker: Unpacker,
    /// Bytes that columns may still take, unpacked.
    left: usize,
}

impl<'a> ColumnReader<'a> {
    pub(super) fn new(from: &'a [u8], left: usize) -> Result<Self, BadBatch> {
        let unpacker = Unpacker::new();
        Ok(Self {
            from: Front(from),
            unpacker: unpacker.map_err(|_| BadBatch::Damaged("no memory to unpack it"))?,
            left,
        })
    }

    /// The next column.
    pub(super) fn take(&mut self) -> Result<Column, BadBatch> {
        let [codec] = self.from.array()?;
        let codec = Codec::of(codec).ok_or(BadBatch::Damaged("packed in an unknown way"))?;
        let length = self.from.count(self.left)?;
        self.left -= length;
        let packed = self.from.varint()?;
        let packed = usize::try_from(packed).map_err(|_| BadBatch::Damaged("cut short"))?;
        let packed = self.from.take(packed)?;
        let mut column = Vec::new();
        let unpacked = self.unpacker.unpack(codec, packed, length, &mut column);
        unpacked.map_err(|_| BadBatch::Damaged("a column cannot be unpacked"))?;
        Ok(Column(column.into()))
    }

    /// Nothing may follow the last column.
    pub(super) fn end(self) -> Result<(), BadBatch> {
        match self.from.0 {
            [] => Ok(()),
            _ => Err(BadBatch::Damaged("more than its columns")),
        }
    }
}

/// One column, read value by value.
pub(super) struct Column(Bytes);

impl Column {
    pub(super) fn bytes(&mut self, length: usize) -> Result<Bytes, BadBatch> {
        if length > self.0.len() {
            return Err(BadBatch::Damaged("a column is too short"));
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadBatch> {
        let bytes = self.bytes(N)?;
        let array = (&*bytes).try_into();
        array.map_err(|_| BadBatch::Damaged("a column is too short"))
    }

    pub(super) fn varint(&mut self) -> Result<u64, BadBatch> {
        let read = varint::read(&self.0);
        let (value, size) = read.ok_or(BadBatch::Damaged("a column is too short"))?;
        self.bytes(size)?;
        Ok(value)
    }

    pub(super) fn length(&mut self) -> Result<usize, BadBatch> {
        let length = usize::try_from(self.varint()?);
        length.map_err(|_| BadBatch::Damaged("a column is too short"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it must have been read.
    pub(super) fn end(self) -> Result<(), BadBatch> {
        match &*self.0 {
            [] => Ok(()),
            _ => Err(BadBatch::Damaged("a column is too long")),
        }
    }
}

/// Stamps: each as the way from the one before, in milliseconds and, where
/// those are equal, counts. Rows come in the order of their stamps mostly; the
/// way back is written as a way forward from the first.
#[derive(Debug)]
pub(super) struct Stamps {
    first: Hlc,
    last: Hlc,
}

/// Before a stamp that is earlier than the one before it.
const BACK: u64 = 0;

impl Stamps {
    pub(super) fn after(first: Hlc) -> Self {
        Self { first, last: first }
    }

    pub(super) fn put(&mut self, hlc: Hlc, to: &mut Vec<u8>) {
        if hlc < self.last {
            varint::write(BACK, to);
            self.last = self.first;
        }
        let forward = hlc.millis().saturating_sub(self.last.millis());
        varint::write(forward + 1, to);
        let base = if forward == 0 { self.last.count() } else { 0 };
        varint::write(hlc.count().saturating_sub(base), to);
        self.last = hlc;
    }

    pub(super) fn take(&mut self, from: &mut Column) -> Result<Hlc, BadBatch> {
        let mut step = from.varint()?;
        if step == BACK {
            self.last = self.first;
            step = from.varint()?;
        }
        let wrong = BadBatch::Damaged("a stamp is none");
        let forward = step.checked_sub(1).ok_or_else(|| wrong.clone())?;
        let base = if forward == 0 { self.last.count() } else { 0 };
        let millis = self.last.millis().checked_add(forward);
        let count = from.varint()?.checked_add(base);
        let hlc = millis.zip(count).and_then(|(ms, n)| Hlc::of_parts(ms, n));
        self.last = hlc.ok_or(wrong)?;
        Ok(self.last)
    }
}

/// Values that come again and again, written once, and then as their number.
#[derive(Debug)]
pub(super) struct Numbered<K> {
    numbers: BTreeMap<K, u64>,
    /// The values, in the order of their numbers.
    values: Vec<u8>,
}

impl<K: Ord + Copy> Numbered<K> {
    pub(super) fn new() -> Self {
        Self {
            numbers: BTreeMap::new(),
            values: Vec::new(),
        }
    }

    /// The number of a value, which `bytes` stand for.
    pub(super) fn number(&mut self, key: K, bytes: &[&[u8]]) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(key).or_insert_with(|| {
            bytes
                .iter()
                .for_each(|it| self.values.extend_from_slice(it));
            next
        })
    }

    pub(super) fn values(&self) -> &[u8] {
        &self.values
    }
}

/// One text after another, their lengths in another column.
#[derive(Debug, Default)]
pub(super) struct Texts {
    lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl Texts {
    pub(super) fn put(&mut self, text: &[u8]) {
        varint::write(text.len() as u64, &mut self.lengths);
        self.bytes.extend_from_slice(text);
    }

    /// A text that may be missing: lengths are one higher.
    pub(super) fn put_option(&mut self, text: Option<&str>) {
        let length = text.map_or(0, |text| text.len() as u64 + 1);
        varint::write(length, &mut self.lengths);
        self.bytes
            .extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn finish(self, columns: &mut ColumnWriter) {
        columns.put(&self.lengths);
        columns.put(&self.bytes);
    }
}

/// As [`Texts`], read.
pub(super) struct TextsReader {
    lengths: Column,
    bytes: Column,
}

impl TextsReader {
    pub(super) fn of(columns: &mut ColumnReader<'_>) -> Result<Self, BadBatch> {
        Ok(Self {
            lengths: columns.take()?,
            bytes: columns.take()?,
        })
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, BadBatch> {
        let length = self.lengths.length()?;
        self.bytes.bytes(length)
    }

    pub(super) fn text(&mut self) -> Result<String, BadBatch> {
        text(self.bytes()?)
    }

    pub(super) fn option(&mut self) -> Result<Option<String>, BadBatch> {
        match self.lengths.length()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => text(self.bytes.bytes(length)?).map(Some),
        }
    }

    pub(super) fn end(self) -> Result<(), BadBatch> {
        self.lengths.end()?;
        self.bytes.end()
    }
}

fn text(bytes: Bytes) -> Result<String, BadBatch> {
    String::from_utf8(bytes.into()).map_err(|_| BadBatch::Damaged("a text is none"))
}

/// One bit a row, the first in the lowest.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    pub(super) fn of(bits: impl Iterator<Item = bool>) -> Self {
        let mut bytes = Vec::new();
        for (at, bit) in bits.enumerate() {
            if at % 8 == 0 {
                bytes.push(0);
            }
            if let (Some(byte), true) = (bytes.last_mut(), bit) {
                *byte |= 1 << (at % 8);
            }
        }
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn take(count: usize, mut from: Column) -> Result<Vec<bool>, BadBatch> {
        let bytes = from.bytes(count.div_ceil(8))?;
        from.end()?;
        let bit = |at: usize| bytes.get(at / 8).is_some_and(|it| it >> (at % 8) & 1 == 1);
        Ok((0..count).map(bit).collect())
    }
}

/// A hash out of a column.
pub(super) fn hash(from: &mut Column) -> Result<Hash, BadBatch> {
    from.array().map(Hash::from_bytes)
}
