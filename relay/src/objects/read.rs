//! Reading objects: whole where they are small, else as streams.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore as _};

use super::error::{Error, ErrorKind, Result};
use super::{Bucket, Etag, Small, tag};

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

    async fn read_by(
        &self,
        key: &Path,
        limit: usize,
        options: GetOptions,
    ) -> Result<Option<Small>> {
        let got = match self.objects.get_opts(key, options).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::of(error, "cannot read object", key)),
        };
        let etag = tag(got.meta.e_tag.clone(), key)?;
        let too_long = || Error::new(ErrorKind::Invalid, "object is too long", key);
        if got.meta.size > limit as u64 {
            return Err(too_long());
        }
        let mut bytes = BytesMut::new();
        let mut pieces = pieces(got.payload, got.range, key);
        while let Some(piece) = pieces.try_next().await? {
            if bytes.len() + piece.len() > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        let bytes = bytes.freeze();
        Ok(Some(Small { bytes, etag }))
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
