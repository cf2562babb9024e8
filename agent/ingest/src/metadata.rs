//! What a document says about itself in pairs of key and value.

use serde_json::{Map, Value};

use crate::limits::{METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX};

/// Adds a pair. False if a limit forbids it; nothing is added then. Null is no
/// value and always goes unsaid.
pub(crate) fn add(metadata: &mut Map<String, Value>, key: String, value: Value) -> bool {
    if value.is_null() {
        return true;
    }
    let is_room = metadata.len() < METADATA_KEYS_MAX || metadata.contains_key(&key);
    let fits = key.len().saturating_add(size(&value)) <= METADATA_VALUE_BYTES_MAX;
    if is_room && fits {
        metadata.insert(key, value);
    }
    is_room && fits
}

/// About as many bytes as it is long. Parsers limit how deep it goes.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| key.len() + size(value))
            .sum(),
    }
}
