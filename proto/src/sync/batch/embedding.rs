//! Embeddings in a batch. All that are of one model name it once, with how many
//! values its vectors have.

use bytes::BufMut as _;

use super::BadBatch;
use super::column::{ColumnReader, ColumnWriter, Numbered, Stamps, Texts, TextsReader, hash};
use crate::sync::hlc::Hlc;
use crate::sync::row::Embedding;
use crate::varint;

pub(super) fn write(rows: &[Embedding], first: Hlc, columns: &mut ColumnWriter) {
    if rows.is_empty() {
        return;
    }
    let (mut texts, mut stamps, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut vectors, mut extras) = (Vec::new(), Texts::default());
    let mut models = Numbered::new();
    let mut clock = Stamps::after(first);
    for row in rows {
        texts.put_slice(row.text.as_bytes());
        clock.put(row.hlc, &mut stamps);
        let length = row.vector.len() as u64;
        let key = (row.model, length);
        let number = models.number(key, &[row.model.as_bytes(), &length.to_le_bytes()]);
        varint::write(number, &mut numbers);
        vectors.extend_from_slice(&row.vector);
        extras.put(&row.extra);
    }
    columns.put(&texts);
    columns.put(&stamps);
    columns.put(models.values());
    columns.put(&numbers);
    columns.put_floats(&vectors);
    extras.finish(columns);
}

pub(super) fn read(
    count: usize,
    first: Hlc,
    columns: &mut ColumnReader<'_>,
) -> Result<Vec<Embedding>, BadBatch> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (mut texts, mut stamps) = (columns.take()?, columns.take()?);
    let mut column = columns.take()?;
    let mut models = Vec::new();
    while !column.is_empty() {
        let (model, length) = (hash(&mut column)?, u64::from_le_bytes(column.array()?));
        let length = usize::try_from(length).ok().filter(|it| it % 4 == 0);
        models.push((model, length.ok_or(BadBatch::Damaged("a vector is none"))?));
    }
    let (mut numbers, mut vectors) = (columns.take()?, columns.take()?);
    let mut extras = TextsReader::of(columns)?;
    let mut clock = Stamps::after(first);
    let mut rows = Vec::new();
    for _ in 0..count {
        let model = models.get(numbers.length()?);
        let (model, length) = model.ok_or(BadBatch::Damaged("a model is missing"))?;
        rows.push(Embedding {
            text: hash(&mut texts)?,
            model: *model,
            hlc: clock.take(&mut stamps)?,
            extra: extras.bytes()?,
            vector: vectors.bytes(*length)?,
        });
    }
    texts.end()?;
    stamps.end()?;
    numbers.end()?;
    vectors.end()?;
    extras.end()?;
    Ok(rows)
}

pub(super) fn size(row: &Embedding) -> usize {
    32 + 16 + 40 + 8 + row.vector.len() + 8 + row.extra.len()
}
