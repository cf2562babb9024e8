//! Reading objects: whole where they are small, else as streams.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use ginnel_blob::hash::{Hash, Hasher};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore as _};

use super::error::{Error, ErrorKind, Result};
use super::{Bucket, Etag, Listed, Small, tag};

/// How much of a file is read at once, in bytes.
const READ: usize = 256 << 10;

impl Bucket {
    /// An object of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// It is longer, or the bucket's.
    pub async fn read(&self, key: &Path, limit: usize) -> Result<Option<Small>> {
        self.read_by(key, limit, GetOptions::default()).await
    }

    /// As [`Bucket::read`], but only if the object has another tag than `known`.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if it has that tag, or as there.
    pub async fn read_unless(
        &self,
        key: &Path,
        limit: usize,
        known: &Etag,
    ) -> Result<Option<Small>> {
        let options = GetOptions {
            if_none_match: Some(known.as_str().to_owned()),
            ..GetOptions::default()
        };
        self.read_by(key, limit, options).await
    }

    /// As [`Bucket::read`], but only its beginning: how long it is comes before what it
    /// is.
    ///
    /// # Errors
    /// As there.
    pub async fn open(&self, key: &Path, limit: usize) -> Result<Option<Opened>> {
        self.open_by(key, limit, GetOptions::default()).await
    }

    async fn read_by(
        &self,
        key: &Path,
        limit: usize,
        options: GetOptions,
    ) -> Result<Option<Small>> {
        let Some(opened) = self.open_by(key, limit, options).await? else {
            return Ok(None);
        };
        let etag = opened.etag.clone();
        let bytes = opened.all().await?;
        Ok(Some(Small { bytes, etag }))
    }

    async fn open_by(
        &self,
        key: &Path,
        limit: usize,
        options: GetOptions,
    ) -> Result<Option<Opened>> {
        let got = match self.objects.get_opts(key, options).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::of(error, "cannot read object", key)),
        };
        let etag = tag(got.meta.e_tag.clone(), key)?;
        let size = got.meta.size;
        if size > limit as u64 {
            return Err(Error::new(ErrorKind::Invalid, "object is too long", key));
        }
        let pieces = pieces(got.payload, got.range, key);
        let key = key.clone();
        Ok(Some(Opened {
            key,
            etag,
            size,
            pieces,
        }))
    }

    /// Bytes of the object with that tag, in pieces as they come: exactly as
    /// many as asked for, or an error.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if it has another tag by now, or the bucket's.
    pub async fn range(
        &self,
        key: &Path,
        etag: &Etag,
        place: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions {
            if_match: Some(etag.as_str().to_owned()),
            range: Some(GetRange::Bounded(place.clone())),
            ..GetOptions::default()
        };
        let got = self.objects.get_opts(key, options).await;
        let got = got.map_err(|error| Error::of(error, "cannot read object", key))?;
        if got.range != place {
            let what = format_args!("bucket gives other bytes, asked={place:?}");
            return Err(Error::new(ErrorKind::Invalid, what, key));
        }
        let pieces = pieces(got.payload, got.range, key);
        Ok(exactly(pieces, place.end - place.start, key.clone()))
    }
}

impl Bucket {
    /// The hash of an object as it was listed, which is found out by reading all of it.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if it has another tag by now, or the bucket's.
    pub async fn hash(&self, object: &Listed) -> Result<Hash> {
        let Listed { key, etag, size } = object;
        let mut hasher = Hasher::default();
        if *size == 0 {
            return Ok(hasher.finish());
        }
        let mut pieces = self.range(key, etag, 0..*size).await?;
        while let Some(piece) = pieces.try_next().await? {
            let update = move || {
                hasher.update(&piece);
                hasher
            };
            let updated = tokio::task::spawn_blocking(update).await;
            hasher = updated.map_err(|error| Error::new(ErrorKind::Unavailable, error, key))?;
        }
        Ok(hasher.finish())
    }
}

/// An object that is about to be read.
pub struct Opened {
    key: Path,
    etag: Etag,
    size: u64,
    pieces: BoxStream<'static, Result<Bytes>>,
}

impl Opened {
    /// How long it is, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of it.
    ///
    /// # Errors
    /// It is longer than the bucket said, or the bucket's.
    pub async fn all(mut self) -> Result<Bytes> {
        // No more than whoever opened it has room for.
        let mut bytes = BytesMut::with_capacity(usize::try_from(self.size).unwrap_or_default());
        while let Some(piece) = self.pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > self.size {
                let what = "object is longer than the bucket says";
                return Err(Error::new(ErrorKind::Invalid, what, &self.key));
            }
        }
        Ok(bytes.freeze())
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("key", &self.key)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A payload in pieces. Files are read in larger ones than `object_store`
/// would: each costs a trip to another thread.
fn pieces(
    payload: GetResultPayload,
    place: Range<u64>,
    key: &Path,
) -> BoxStream<'static, Result<Bytes>> {
    let key = key.clone();
    match payload {
        GetResultPayload::Stream(stream) => stream
            .map_err(move |error| Error::of(error, "cannot read object", &key))
            .boxed(),
        GetResultPayload::File(file, _) => file_pieces(file, place, key),
    }
}

fn file_pieces(file: File, place: Range<u64>, key: Path) -> BoxStream<'static, Result<Bytes>> {
    let begin = (file, place.start);
    stream::try_unfold(begin, move |(file, at)| {
        let key = key.clone();
        let end = place.end;
        async move {
            if at >= end {
                return Ok(None);
            }
            let length = usize::try_from(end - at).unwrap_or(READ).min(READ);
            let read = tokio::task::spawn_blocking(move || read_at(file, at, length));
            let read = read.await.map_err(io::Error::other).flatten();
            let what = "cannot read object";
            let failed = |error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format_args!("{what}: {error}"),
                    &key,
                )
            };
            let (file, piece) = read.map_err(failed)?;
            let next = at + piece.len() as u64;
            Ok(Some((piece, (file, next))))
        }
    })
    .boxed()
}

fn read_at(mut file: File, at: u64, length: usize) -> io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(at))?;
    let mut piece = vec![0; length];
    file.read_exact(&mut piece)?;
    Ok((file, piece.into()))
}

/// Ends with an error where there are fewer bytes, or more.
fn exactly(
    pieces: BoxStream<'static, Result<Bytes>>,
    length: u64,
    key: Path,
) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((pieces, length), move |(mut pieces, left)| {
        let key = key.clone();
        async move {
            let wrong = |what| Err(Error::new(ErrorKind::Unavailable, what, &key));
            match pieces.try_next().await? {
                Some(piece) => match left.checked_sub(piece.len() as u64) {
                    Some(left) => Ok(Some((piece, (pieces, left)))),
                    None => wrong("bucket sends more than was asked for"),
                },
                None if left == 0 => Ok(None),
                None => wrong("bucket's answer is cut short"),
            }
        }
    })
    .boxed()
}
