//! The fields of one line of JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::limits::{METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX};
use crate::metadata;

/// Longest key, in bytes: a path or address fits.
const KEY_BYTES_MAX: usize = 4 << 10;

/// Most numbers of a vector, as the store has it.
const DIMENSIONS_MAX: usize = 65_536;

/// A line's fields, all valid.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) key: Option<String>,
    pub(super) text: String,
    pub(super) title: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) vector: Option<Vec<f32>>,
}

impl Fields {
    pub(super) fn parse(line: &str) -> Result<Self, Error> {
        serde_json::from_str(line).map_err(|error| {
            let said = error.to_string();
            // It is always the first line of what the parser was given.
            let said = said.split(" at line 1 ").next().unwrap_or_default();
            let reason = format!("{said}, column={}", error.column());
            Error::new(ErrorKind::Invalid, reason)
        })
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with a text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        let mut text = None;
        let mut rest = Map::new();
        while let Some(name) = pairs.next_key::<String>()? {
            match name.as_str() {
                "id" | "key" => fields.key = key(pairs.next_value()?)?,
                "text" => text = Some(pairs.next_value()?),
                "title" => fields.title = pairs.next_value()?,
                "metadata" => fields.metadata = own_metadata(pairs.next_value()?)?,
                "vector" => fields.vector = vector(pairs.next_value()?)?,
                // Too many to be kept: not even read.
                _ if rest.len() >= METADATA_KEYS_MAX => {
                    pairs.next_value::<IgnoredAny>()?;
                }
                _ => {
                    metadata::add(&mut rest, name, pairs.next_value()?);
                }
            }
        }
        fields.text = text.ok_or_else(|| A::Error::missing_field("text"))?;
        for (name, value) in rest {
            if !fields.metadata.contains_key(&name) {
                metadata::add(&mut fields.metadata, name, value);
            }
        }
        Ok(fields)
    }
}

fn key<E: serde::de::Error>(value: Value) -> Result<Option<String>, E> {
    let key = match value {
        Value::Null => return Ok(None),
        Value::String(key) => key,
        Value::Number(number) if !number.is_f64() => number.to_string(),
        Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(E::custom("id is neither a string nor a whole number"));
        }
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(E::custom(format!(
            "id is empty or too long, size={}, limit={KEY_BYTES_MAX}",
            key.len()
        )));
    }
    Ok(Some(key))
}

fn own_metadata<E: serde::de::Error>(
    pairs: Option<Map<String, Value>>,
) -> Result<Map<String, Value>, E> {
    let mut kept = Map::new();
    for (name, value) in pairs.unwrap_or_default() {
        if !metadata::add(&mut kept, name.clone(), value) {
            return Err(E::custom(format!(
                "metadata is too large, key={name:.40}, \
                 limits={METADATA_KEYS_MAX} keys of {METADATA_VALUE_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(kept)
}

fn vector<E: serde::de::Error>(numbers: Option<Vec<f32>>) -> Result<Option<Vec<f32>>, E> {
    let Some(numbers) = numbers else {
        return Ok(None);
    };
    if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
        return Err(E::custom(format!(
            "vector has an infinite number, index={at}"
        )));
    }
    if numbers.is_empty() || numbers.len() > DIMENSIONS_MAX {
        return Err(E::custom(format!(
            "vector is empty or too long, dimensions={}, limit={DIMENSIONS_MAX}",
            numbers.len()
        )));
    }
    Ok(Some(numbers))
}
