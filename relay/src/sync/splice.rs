//! Chunks put together to parts: those that the device sends, and those that
//! the bucket has already.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::TryStreamExt as _;
use ginnel_blob::hash::Hash;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::pack::{Codec, RECORD_HEAD, Unpacker};
use ginnel_blob::parts::{PartHash, Parting};
use ginnel_blob::plan::{Run, Source, runs};
use ginnel_link::error::StreamError;
use ginnel_link::stream::RecvHalf;
use ginnel_proto::code::Code;
use ginnel_proto::frame::Piece;
use object_store::path::Path;
use tokio::sync::mpsc;

use super::declined::Declined;
use super::ended::Ended;
use super::silence::in_time;
use crate::objects::error::{Error, ErrorKind};
use crate::objects::{Bucket, Etag};

/// The most that is read from a base at once, in bytes: as much as a part,
/// so that a broken connection costs no more.
const RUN_MAX: u64 = 8 << 20;

/// Chunks below this are hashed where they are: on another thread the way
/// there would cost more. In bytes.
const HASHED_HERE: usize = 64 << 10;

/// A blob in the bucket that has some of the chunks.
#[derive(Debug)]
pub(super) struct Base {
    /// Its key.
    pub(super) key: Path,
    /// The bucket's tag for it.
    pub(super) etag: Etag,
}

/// A part that is full.
#[derive(Debug)]
pub(super) struct Part {
    /// Counted from zero.
    pub(super) number: u32,
    /// Its bytes.
    pub(super) pieces: Vec<Bytes>,
    /// What it adds to the blob's hash.
    pub(super) hash: PartHash,
}

/// What parts are made of.
#[derive(Debug)]
pub(super) struct Splice<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) index: &'a ChunkIndex,
    pub(super) parting: Parting,
    /// Where each chunk comes from.
    pub(super) sources: &'a [Source],
    pub(super) bases: &'a [Base],
    /// The first part that is lacking.
    pub(super) first: u32,
}

impl Splice<'_> {
    /// The first chunk of which a byte is lacking.
    pub(super) fn first_chunk(&self) -> usize {
        let start = self.parting.place(self.first).start;
        let chunks = self.index.chunks();
        chunks.partition_point(|chunk| chunk.end() <= start)
    }

    /// Makes all parts from the first on, one at a time: a place in `parts` is
    /// waited for before the next is begun.
    pub(super) async fn run(
        &self,
        recv: &mut RecvHalf,
        parts: mpsc::Sender<Part>,
    ) -> Result<(), Ended> {
        let first = self.first_chunk();
        let mut records = Records::new(recv)?;
        let mut filling = Filling::new(self, parts).await?;
        for run in runs(self.index, self.sources, first, RUN_MAX) {
            match run.source {
                Source::Lacking => {
                    for number in run.chunks {
                        let chunk = records.next(self.index, number).await?;
                        filling.take(number, chunk).await?;
                    }
                }
                Source::Stock { blob, offset } => {
                    self.copy(&run, (blob, offset), &mut filling).await?;
                }
            }
        }
        records.end().await?;
        filling.end()
    }

    /// Takes chunks over from a base, each held to its hash: nothing else says
    /// that the object is what its index says.
    async fn copy(
        &self,
        run: &Run,
        (blob, offset): (usize, u64),
        filling: &mut Filling<'_>,
    ) -> Result<(), Ended> {
        let Some(base) = self.bases.get(blob) else {
            return Err(Declined::new(Code::Internal, "a base is not known").into());
        };
        let place: Range<u64> = offset..offset.saturating_add(run.length);
        // What is gone, replaced or refused gives nothing the next time either.
        let bad = |error: Error| match error.kind() {
            ErrorKind::Changed | ErrorKind::Missing | ErrorKind::Invalid => {
                Ended::BadBase(base.etag.clone())
            }
            ErrorKind::Denied | ErrorKind::Unavailable => error.into(),
        };
        let pieces = self.bucket.range(&base.key, &base.etag, place).await;
        let mut pieces = pieces.map_err(bad)?;
        let mut ahead = BytesMut::new();
        for number in run.chunks.clone() {
            let Some(chunk) = self.index.chunks().get(number) else {
                break;
            };
            let length = length_of(chunk.length);
            while ahead.len() < length {
                match pieces.try_next().await.map_err(bad)? {
                    Some(piece) => ahead.extend_from_slice(&piece),
                    None => break,
                }
            }
            let bytes = ahead.split_to(length.min(ahead.len())).freeze();
            let Some(bytes) = verified(bytes, chunk.hash).await? else {
                return Err(Ended::BadBase(base.etag.clone()));
            };
            filling.take(number, bytes).await?;
        }
        Ok(())
    }
}

fn length_of(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The chunk if it has the hash.
async fn verified(chunk: Bytes, hash: Hash) -> Result<Option<Bytes>, Ended> {
    let check = move || (Hash::of(&chunk) == hash).then_some(chunk);
    Ok(blocking(check).await?)
}

/// Runs on a thread that may be busy for a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Declined> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Declined::new(Code::Internal, error))
}

/// The device's records, one after the other.
struct Records<'a> {
    recv: &'a mut RecvHalf,
    /// Received and not yet read.
    ahead: Bytes,
    unpacker: Option<Unpacker>,
}

impl<'a> Records<'a> {
    fn new(recv: &'a mut RecvHalf) -> Result<Self, Ended> {
        let unpacker = Unpacker::new();
        let unpacker = unpacker.map_err(|error| Declined::new(Code::Internal, error))?;
        Ok(Self {
            recv,
            ahead: Bytes::new(),
            unpacker: Some(unpacker),
        })
    }

    /// The chunk with that number, which the next record must be.
    async fn next(&mut self, index: &ChunkIndex, number: usize) -> Result<Bytes, Ended> {
        let Some(chunk) = index.chunks().get(number) else {
            return Err(Declined::new(Code::Internal, "a chunk is not known").into());
        };
        let head = self.take(RECORD_HEAD).await?;
        let (codec, packed) = read_head(&head, chunk.length)?;
        let packed = self.take(packed).await?;
        let (length, hash) = (length_of(chunk.length), chunk.hash);
        let unpacked = self.unpack(codec, packed, length, hash).await?;
        let corrupt = || {
            let what = format_args!(
                "a chunk has another hash than it should; hint: push the file again, chunk={number}"
            );
            Declined::new(Code::Corrupt, what).into()
        };
        unpacked.ok_or_else(corrupt)
    }

    async fn unpack(
        &mut self,
        codec: Codec,
        packed: Bytes,
        length: usize,
        hash: Hash,
    ) -> Result<Option<Bytes>, Ended> {
        if codec == Codec::Raw {
            let is_whole = packed.len() == length;
            return match (is_whole, length < HASHED_HERE) {
                (false, _) => Ok(None),
                (true, true) => Ok((Hash::of(&packed) == hash).then_some(packed)),
                (true, false) => verified(packed, hash).await,
            };
        }
        let Some(mut unpacker) = self.unpacker.take() else {
            return Err(Declined::new(Code::Internal, "the unpacker is gone").into());
        };
        let work = move || {
            let mut chunk = Vec::with_capacity(length);
            let unpacked = unpacker.unpack(codec, &packed, length, &mut chunk);
            let is_right = unpacked.is_ok() && Hash::of(&chunk) == hash;
            (unpacker, is_right.then(|| Bytes::from(chunk)))
        };
        let (unpacker, chunk) = blocking(work).await?;
        self.unpacker = Some(unpacker);
        Ok(chunk)
    }

    /// The next `length` bytes, in one piece: what is hashed and unpacked has
    /// to be. One copy, unless they came in one slice.
    async fn take(&mut self, length: usize) -> Result<Bytes, Ended> {
        if self.ahead.len() >= length {
            return Ok(self.ahead.split_to(length));
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            if self.ahead.is_empty() {
                self.ahead = next_slice(self.recv).await?.ok_or_else(cut_short)?;
            }
            let missing = length - bytes.len();
            let slice = self.ahead.split_to(missing.min(self.ahead.len()));
            bytes.extend_from_slice(&slice);
        }
        Ok(bytes.freeze())
    }

    /// Nothing follows the last record.
    async fn end(self) -> Result<(), Ended> {
        if self.ahead.is_empty() && next_slice(self.recv).await?.is_none() {
            return Ok(());
        }
        let what = "the device sent more than was wanted";
        Err(Declined::new(Code::Violation, what).into())
    }
}

fn cut_short() -> Ended {
    StreamError::Ended("the rest of the records").into()
}

fn read_head(head: &[u8], chunk: u32) -> Result<(Codec, usize), Declined> {
    let wrong = |what: &str| Declined::new(Code::Malformed, what);
    let &[codec, a, b, c, d] = head else {
        return Err(wrong("a record is cut short"));
    };
    let Some(codec) = Codec::of(codec) else {
        return Err(wrong("a record is packed in an unknown way"));
    };
    let packed = u32::from_le_bytes([a, b, c, d]);
    if packed > chunk {
        return Err(wrong("a record is longer than its chunk"));
    }
    Ok((codec, length_of(packed)))
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next_slice(recv: &mut RecvHalf) -> Result<Option<Bytes>, Ended> {
    match in_time(recv.next()).await? {
        Some(Piece::Body(slice)) => Ok(Some(slice)),
        Some(_) => Err(StreamError::OutOfPlace("DATA").into()),
        None => Ok(None),
    }
}

/// The part that is being filled.
struct Filling<'a> {
    splice: &'a Splice<'a>,
    parts: mpsc::Sender<Part>,
    number: u32,
    pieces: Vec<Bytes>,
    /// Bytes in `pieces`.
    length: u64,
    /// Where the next one will be put; `None` after the last part.
    place: Option<mpsc::OwnedPermit<Part>>,
}

impl<'a> Filling<'a> {
    async fn new(splice: &'a Splice<'a>, parts: mpsc::Sender<Part>) -> Result<Self, Ended> {
        let mut filling = Self {
            splice,
            parts,
            number: splice.first,
            pieces: Vec::new(),
            length: 0,
            place: None,
        };
        filling.reserve().await?;
        Ok(filling)
    }

    /// Appends a chunk, which may begin before the first part and go over the
    /// end of a part.
    async fn take(&mut self, number: usize, mut chunk: Bytes) -> Result<(), Ended> {
        let Some(known) = self.splice.index.chunks().get(number) else {
            return Ok(());
        };
        let start = self.splice.parting.place(self.number).start + self.length;
        let before = start.saturating_sub(known.offset);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        drop(chunk.split_to(before.min(chunk.len())));
        while !chunk.is_empty() {
            let place = self.splice.parting.place(self.number);
            let room = (place.end - place.start).saturating_sub(self.length);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let piece = chunk.split_to(room.min(chunk.len()));
            self.length += piece.len() as u64;
            self.pieces.push(piece);
            if self.length >= place.end - place.start {
                self.finish().await?;
            }
        }
        Ok(())
    }

    /// Hands the full part over.
    async fn finish(&mut self) -> Result<(), Ended> {
        let pieces = std::mem::take(&mut self.pieces);
        let mut hasher = self.splice.parting.hasher(self.number);
        let work = move || {
            for piece in &pieces {
                hasher.update(piece);
            }
            (pieces, hasher.finish())
        };
        let (pieces, hash) = blocking(work).await?;
        let number = self.number;
        let part = Part {
            number,
            pieces,
            hash,
        };
        if let Some(place) = self.place.take() {
            place.send(part);
        }
        self.number += 1;
        self.length = 0;
        if self.number < self.splice.parting.count() {
            self.reserve().await?;
        }
        Ok(())
    }

    async fn reserve(&mut self) -> Result<(), Ended> {
        // Whoever takes parts has an error of its own if it is gone.
        let place = self.parts.clone().reserve_owned().await;
        self.place = Some(place.map_err(|_| Ended::Elsewhere)?);
        Ok(())
    }

    fn end(self) -> Result<(), Ended> {
        if self.number == self.splice.parting.count() {
            return Ok(());
        }
        Err(Declined::new(Code::Internal, "a part is not full").into())
    }
}
