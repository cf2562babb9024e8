//! What one device may not write, another may not send.

use ginnel_proto::sync::extra::EXTRA_MAX;
use ginnel_proto::sync::row::{Document, Embedding, Model, Passage, Rows};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::id::{DocumentId, ModelId};
use crate::limits::{LABEL_MAX, METADATA_MAX, PASSAGE_MAX};
use crate::model;
use crate::vector::DIMENSIONS_MAX;
use crate::vector::metric::Metric;

/// Whether all rows can be stored.
pub(super) fn validate(rows: &Rows) -> Result<()> {
    rows.models.iter().try_for_each(validate_model)?;
    rows.documents.iter().try_for_each(validate_document)?;
    rows.passages.iter().try_for_each(validate_passage)?;
    rows.embeddings.iter().try_for_each(validate_embedding)
}

fn validate_model(row: &Model) -> Result<()> {
    let wrong = |what: &str| {
        let model = ModelId::from_bytes(*row.id.as_bytes());
        Err(Error::invalid(format!("model {what}, model={model}")))
    };
    if let Some(state) = &row.state {
        let dimensions = usize::try_from(state.dimensions).unwrap_or(usize::MAX);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return wrong("has too few or too many dimensions");
        }
        if state.name.is_empty() || state.name.len() > LABEL_MAX {
            return wrong("has no name, or too long a one");
        }
        if state.metric.parse::<Metric>().is_err() {
            return wrong("has an unknown metric");
        }
    }
    if row.extra.len() > EXTRA_MAX {
        return wrong("has too much that is not known here");
    }
    Ok(())
}

fn validate_document(row: &Document) -> Result<()> {
    let wrong = |what: &str| {
        let id = DocumentId::from_bytes(row.id);
        Err(Error::invalid(format!("document {what}, document={id}")))
    };
    if let Some(state) = &row.state {
        let labels = [&state.source, &state.title, &state.mime];
        let mut labels = labels.into_iter().flatten().map(String::len);
        if labels.any(|length| length > LABEL_MAX) || state.collection.len() > LABEL_MAX {
            return wrong("has too long a label");
        }
        let is_object = serde_json::from_str::<Map<String, Value>>(&state.metadata).is_ok();
        if state.metadata.len() > METADATA_MAX || !is_object {
            return wrong("has metadata that is too long or no JSON object");
        }
    }
    if row.extra.len() > EXTRA_MAX {
        return wrong("has too much that is not known here");
    }
    Ok(())
}

fn validate_passage(row: &Passage) -> Result<()> {
    let fits = row.text.len() <= PASSAGE_MAX
        && row.extra.len() <= EXTRA_MAX
        && i64::try_from(row.byte_end).is_ok();
    if fits {
        return Ok(());
    }
    let id = DocumentId::from_bytes(row.document);
    Err(Error::invalid(format!(
        "passage is too long, document={id}, position={}",
        row.position
    )))
}

fn validate_embedding(row: &Embedding) -> Result<()> {
    let (values, rest) = row.vector.as_chunks::<4>();
    let values = values.iter().map(|value| f32::from_le_bytes(*value));
    let count = values.len();
    let square: f64 = values.map(|value| f64::from(value).powi(2)).sum();
    // Neither is true of what is no number.
    let is_finite = square <= model::LENGTH_MAX * model::LENGTH_MAX;
    let fits = (1..=DIMENSIONS_MAX).contains(&count) && row.extra.len() <= EXTRA_MAX;
    if is_finite && fits && rest.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "embedding is no vector of finite numbers, or too long a one, text={}",
        row.text
    )))
}
