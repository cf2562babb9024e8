//! Models in a batch.

use bytes::BufMut as _;

use super::BadBatch;
use super::column::{Bits, ColumnReader, ColumnWriter, Stamps, Texts, TextsReader, hash};
use crate::sync::hlc::Hlc;
use crate::sync::row::{Model, ModelState};

pub(super) fn write(rows: &[Model], first: Hlc, columns: &mut ColumnWriter) {
    if rows.is_empty() {
        return;
    }
    let (mut ids, mut stamps, mut dimensions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut names, mut metrics, mut extras) =
        (Texts::default(), Texts::default(), Texts::default());
    let mut clock = Stamps::after(first);
    for row in rows {
        ids.put_slice(row.id.as_bytes());
        clock.put(row.hlc, &mut stamps);
        extras.put(&row.extra);
        if let Some(state) = &row.state {
            names.put(state.name.as_bytes());
            dimensions.put_u32_le(state.dimensions);
            metrics.put(state.metric.as_bytes());
        }
    }
    let is_there = Bits::of(rows.iter().map(|row| row.state.is_some()));
    columns.put(&ids);
    columns.put(&stamps);
    columns.put(is_there.as_bytes());
    columns.put(&dimensions);
    names.finish(columns);
    metrics.finish(columns);
    extras.finish(columns);
}

pub(super) fn read(
    count: usize,
    first: Hlc,
    columns: &mut ColumnReader<'_>,
) -> Result<Vec<Model>, BadBatch> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (mut ids, mut stamps) = (columns.take()?, columns.take()?);
    let is_there = Bits::take(count, columns.take()?)?;
    let mut dimensions = columns.take()?;
    let mut names = TextsReader::of(columns)?;
    let mut metrics = TextsReader::of(columns)?;
    let mut extras = TextsReader::of(columns)?;
    let mut clock = Stamps::after(first);
    let mut rows = Vec::new();
    for is_there in is_there {
        let mut row = Model {
            id: hash(&mut ids)?,
            hlc: clock.take(&mut stamps)?,
            extra: extras.bytes()?,
            state: None,
        };
        if is_there {
            row.state = Some(ModelState {
                name: names.text()?,
                dimensions: u32::from_le_bytes(dimensions.array()?),
                metric: metrics.text()?,
            });
        }
        rows.push(row);
    }
    ids.end()?;
    stamps.end()?;
    dimensions.end()?;
    names.end()?;
    metrics.end()?;
    extras.end()?;
    Ok(rows)
}

pub(super) fn size(row: &Model) -> usize {
    let state = row.state.as_ref();
    let state = state.map_or(0, |state| state.name.len() + state.metric.len() + 8);
    32 + 16 + 4 + row.extra.len() + state
}
