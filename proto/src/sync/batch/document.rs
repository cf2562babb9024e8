//! Documents in a batch. One that is deleted takes its id, a stamp and a bit.

use bytes::BufMut as _;

use super::BadBatch;
use super::column::{Bits, ColumnReader, ColumnWriter, Stamps, Texts, TextsReader, hash};
use crate::sync::hlc::Hlc;
use crate::sync::row::{Document, DocumentState};

pub(super) fn write(rows: &[Document], first: Hlc, columns: &mut ColumnWriter) {
    if rows.is_empty() {
        return;
    }
    let (mut ids, mut stamps, mut revisions) = (Vec::new(), Vec::new(), Vec::new());
    let [
        mut collections,
        mut sources,
        mut titles,
        mut mimes,
        mut metadata,
    ] = std::array::from_fn(|_| Texts::default());
    let mut clock = Stamps::after(first);
    for row in rows {
        ids.put_slice(&row.id);
        clock.put(row.hlc, &mut stamps);
        if let Some(state) = &row.state {
            collections.put(state.collection.as_bytes());
            sources.put_option(state.source.as_deref());
            titles.put_option(state.title.as_deref());
            mimes.put_option(state.mime.as_deref());
            revisions.put_slice(state.revision.as_bytes());
            metadata.put(state.metadata.as_bytes());
        }
    }
    columns.put(&ids);
    columns.put(&stamps);
    columns.put(Bits::of(rows.iter().map(|row| row.state.is_some())).as_bytes());
    columns.put(Bits::of(rows.iter().map(|row| !row.extra.is_empty())).as_bytes());
    for texts in [collections, sources, titles, mimes, metadata] {
        texts.finish(columns);
    }
    columns.put(&revisions);
    put_extras(rows.iter().map(|row| &*row.extra), columns);
}

pub(super) fn read(
    count: usize,
    first: Hlc,
    columns: &mut ColumnReader<'_>,
) -> Result<Vec<Document>, BadBatch> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (mut ids, mut stamps) = (columns.take()?, columns.take()?);
    let is_there = Bits::take(count, columns.take()?)?;
    let has_extra = Bits::take(count, columns.take()?)?;
    let mut collections = TextsReader::of(columns)?;
    let mut sources = TextsReader::of(columns)?;
    let mut titles = TextsReader::of(columns)?;
    let mut mimes = TextsReader::of(columns)?;
    let mut metadata = TextsReader::of(columns)?;
    let mut revisions = columns.take()?;
    let mut extras = TextsReader::of(columns)?;
    let mut clock = Stamps::after(first);
    let mut rows = Vec::new();
    for (is_there, has_extra) in is_there.into_iter().zip(has_extra) {
        let mut row = Document {
            id: ids.array()?,
            hlc: clock.take(&mut stamps)?,
            extra: match has_extra {
                true => extras.bytes()?,
                false => bytes::Bytes::new(),
            },
            state: None,
        };
        if is_there {
            row.state = Some(DocumentState {
                collection: collections.text()?,
                source: sources.option()?,
                title: titles.option()?,
                mime: mimes.option()?,
                revision: hash(&mut revisions)?,
                metadata: metadata.text()?,
            });
        }
        rows.push(row);
    }
    ids.end()?;
    stamps.end()?;
    for texts in [collections, sources, titles, mimes, metadata, extras] {
        texts.end()?;
    }
    revisions.end()?;
    Ok(rows)
}

/// What is kept for later versions, of the rows that have any.
fn put_extras<'a>(extras: impl Iterator<Item = &'a [u8]>, columns: &mut ColumnWriter) {
    let mut texts = Texts::default();
    extras
        .filter(|extra| !extra.is_empty())
        .for_each(|extra| texts.put(extra));
    texts.finish(columns);
}

pub(super) fn size(row: &Document) -> usize {
    let state = row.state.as_ref().map_or(0, |state| {
        let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let labels = option(&state.source) + option(&state.title) + option(&state.mime);
        state.collection.len() + labels + state.metadata.len() + 32 + 5 * 8
    });
    16 + 16 + 8 + row.extra.len() + state
}
