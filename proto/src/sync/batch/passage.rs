//! Passages in a batch. Those of one document and revision name it once.

use bytes::BufMut as _;

use super::column::{ColumnReader, ColumnWriter, Numbered, Stamps, Texts, TextsReader, hash};
use super::{BadBatch, ROWS_MAX};
use crate::sync::hlc::Hlc;
use crate::sync::row::{Id, Passage};
use crate::varint;

pub(super) fn write(rows: &[Passage], first: Hlc, columns: &mut ColumnWriter) {
    if rows.is_empty() {
        return;
    }
    let (mut ids, mut stamps, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let (mut texts, mut extras) = (Texts::default(), Texts::default());
    let mut documents = Numbered::new();
    let mut clock = Stamps::after(first);
    for row in rows {
        ids.put_slice(&row.id);
        clock.put(row.hlc, &mut stamps);
        let document = documents.number(
            (row.document, row.revision),
            &[&row.document, row.revision.as_bytes()],
        );
        for number in [
            document,
            u64::from(row.position),
            row.byte_start,
            row.byte_end.saturating_sub(row.byte_start),
        ] {
            varint::write(number, &mut places);
        }
        texts.put(row.text.as_bytes());
        extras.put(&row.extra);
    }
    columns.put(&ids);
    columns.put(&stamps);
    columns.put(documents.values());
    columns.put(&places);
    texts.finish(columns);
    extras.finish(columns);
}

pub(super) fn read(
    count: usize,
    first: Hlc,
    columns: &mut ColumnReader<'_>,
) -> Result<Vec<Passage>, BadBatch> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (mut ids, mut stamps) = (columns.take()?, columns.take()?);
    let documents = read_documents(columns)?;
    let mut places = columns.take()?;
    let mut texts = TextsReader::of(columns)?;
    let mut extras = TextsReader::of(columns)?;
    let mut clock = Stamps::after(first);
    let mut rows = Vec::new();
    for _ in 0..count {
        let document = documents.get(places.length()?);
        let (document, revision) = document.ok_or(BadBatch::Damaged("a document is missing"))?;
        let position = u32::try_from(places.varint()?);
        let byte_start = places.varint()?;
        rows.push(Passage {
            id: ids.array()?,
            hlc: clock.take(&mut stamps)?,
            extra: extras.bytes()?,
            document: *document,
            revision: *revision,
            position: position.map_err(|_| BadBatch::Damaged("a position is too high"))?,
            byte_start,
            // Neither is above 2^62.
            byte_end: byte_start.saturating_add(places.varint()?),
            text: texts.text()?,
        });
    }
    ids.end()?;
    stamps.end()?;
    places.end()?;
    texts.end()?;
    extras.end()?;
    Ok(rows)
}

fn read_documents(
    columns: &mut ColumnReader<'_>,
) -> Result<Vec<(Id, ginnel_blob::hash::Hash)>, BadBatch> {
    let mut column = columns.take()?;
    let mut documents = Vec::new();
    while !column.is_empty() {
        if documents.len() == ROWS_MAX {
            return Err(BadBatch::Damaged("too many documents"));
        }
        documents.push((column.array()?, hash(&mut column)?));
    }
    Ok(documents)
}

pub(super) fn size(row: &Passage) -> usize {
    16 + 16 + 48 + 4 * 8 + 8 + row.text.len() + 8 + row.extra.len()
}
