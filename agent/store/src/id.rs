//! Ids and hashes: what rows of all devices are called.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

macro_rules! bytes {
    ($(#[$doc:meta])* $type:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type([u8; $length]);

        impl $type {
            /// Of these bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $type {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                let mut bytes = [0; $length];
                from_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?;
                let expected_size = $length;
                let wrong = FromSqlError::InvalidBlobSize {
                    expected_size,
                    blob_size: bytes.len(),
                };
                bytes.try_into().map(Self).map_err(|_| wrong)
            }
        }
    };
}

bytes! {
    /// A document: of its collection and source, so that two devices that add
    /// the same folder mean the same documents; random without a source.
    DocumentId, 16
}
bytes! {
    /// A passage: of its document, text and the how many'th of that text it is,
    /// so that nothing is renamed by what is inserted elsewhere.
    PassageId, 16
}
bytes! {
    /// BLAKE3 of a text.
    TextHash, 32
}
bytes! {
    /// A model: BLAKE3 of all that decides its vectors.
    ModelId, 32
}

impl DocumentId {
    /// Of a document that comes from `source`.
    #[must_use]
    pub fn of_source(collection: &str, source: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ginnel document v1");
        hash_field(&mut hasher, collection.as_bytes());
        hash_field(&mut hasher, source.as_bytes());
        Self(first_half(&hasher))
    }

    /// A new one, for a document without a source: version 7 of RFC 9562, the
    /// milliseconds since 1970 and then `random` bits.
    #[must_use]
    pub fn random(now_ms: u64, random: u128) -> Self {
        let time = u128::from(now_ms) << 80;
        let version_and_variant = (0x7 << 76) | (0b10 << 62);
        let free = ((1 << 80) - 1) & !(0xf << 76) & !(0b11_u128 << 62);
        Self((time | version_and_variant | random & free).to_be_bytes())
    }
}

impl PassageId {
    /// Of the `occurrence`th passage of `document` with this text, from 0.
    #[must_use]
    pub fn of(document: DocumentId, text: TextHash, occurrence: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ginnel passage v1");
        hasher.update(&document.0);
        hasher.update(&text.0);
        hasher.update(&occurrence.to_le_bytes());
        Self(first_half(&hasher))
    }
}

impl TextHash {
    /// Of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(*blake3::hash(text.as_bytes()).as_bytes())
    }
}

impl ModelId {
    /// Of a model outside, of which only the name is known. The same vectors
    /// are expected of the same name.
    #[must_use]
    pub fn of_name(kind: &str, name: &str, dimensions: usize) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ginnel named model v1");
        hash_field(&mut hasher, kind.as_bytes());
        hash_field(&mut hasher, name.as_bytes());
        hasher.update(&(dimensions as u64).to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

/// With its length before it, so that two fields cannot be taken for two
/// others.
fn hash_field(hasher: &mut blake3::Hasher, field: &[u8]) {
    hasher.update(&(field.len() as u64).to_le_bytes());
    hasher.update(field);
}

fn first_half(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}

/// A text that is not so many bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("id is not {digits} hexadecimal digits, found={found:?}")]
pub struct NotHex {
    digits: usize,
    found: String,
}

fn from_hex(text: &str, bytes: &mut [u8]) -> Result<(), NotHex> {
    let digits = 2 * bytes.len();
    let wrong = || NotHex {
        digits,
        found: text.chars().take(80).collect(),
    };
    if text.len() != digits {
        return Err(wrong());
    }
    let read = HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), bytes);
    read.map(|_| ()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids are in files and on other devices: these never change.
    #[test]
    fn ids_are_what_they_always_were() {
        let document = DocumentId::of_source("notes", "notes/a.md");
        let text = TextHash::of("hello");
        assert_eq!(
            text.to_string(),
            "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"
        );
        let passage = PassageId::of(document, text, 0);
        let model = ModelId::of_name("endpoint", "small", 384);
        let found = format!("{document} {passage} {model}");
        assert_eq!(
            found,
            "a98059565e7ed077fddef600274ddaee 58aa57c291882a17346851ceed1620ad \
             34c3785084bf04b35151061eb1b4ca0f495ca0aac4d84954ff0796940ab34b27"
        );
    }

    #[test]
    fn fields_are_not_confused() {
        assert_ne!(
            DocumentId::of_source("ab", "c"),
            DocumentId::of_source("a", "bc")
        );
    }

    #[test]
    fn random_ids_have_time_version_and_variant() {
        let id = DocumentId::random(0x0123_4567_89ab, u128::MAX);
        assert_eq!(id.to_string(), "0123456789ab7fffbfffffffffffffff");
        let id = DocumentId::random(0x0123_4567_89ab, 0);
        assert_eq!(id.to_string(), "0123456789ab70008000000000000000");
    }

    #[test]
    fn hexadecimal_is_read_back() {
        let id = DocumentId::of_source("a", "b");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "00",
            "zz",
            &"0".repeat(31),
            &"0".repeat(33),
            &"é".repeat(16),
        ] {
            assert!(bad.parse::<DocumentId>().is_err(), "{bad}");
        }
    }
}
