//! safetensors: a table of names, types and places, then the numbers.
//! <https://github.com/huggingface/safetensors#format>
//!
//! ```text
//! ┌─────────────────┬──────────────┬─────────────────────────┐
//! │ length: u64, LE │ table: JSON  │ numbers, little-endian  │
//! └─────────────────┴──────────────┴─────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::format::{FormatError, Header};
use crate::tensor::{Tensor, count};

/// The longest table, in bytes: what the format's own reader takes.
const TABLE_MAX: u64 = 100_000_000;

/// The length of the table's length, in bytes.
const LENGTH: usize = 8;

/// Whether a file that begins so is one.
pub(crate) fn begins(first: &[u8]) -> bool {
    let Some((length, table)) = first.split_first_chunk::<LENGTH>() else {
        return false;
    };
    let length = u64::from_le_bytes(*length);
    (2..=TABLE_MAX).contains(&length) && table.first() == Some(&b'{')
}

/// Reads and checks the table of a file of `size` bytes.
///
/// # Errors
/// The file cannot be read or is cut short, or the table is not one: not
/// JSON, a name twice, places that do not fit the shapes, gaps or overlaps.
pub fn read(from: &mut impl Read, size: u64) -> Result<Header, FormatError> {
    let wrong = |reason: String| FormatError::Header(reason);
    let mut length = [0; LENGTH];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > TABLE_MAX {
        return Err(wrong(format!("table is too long, length={length}")));
    }
    let start = length + LENGTH as u64;
    if start > size {
        return Err(FormatError::Short {
            what: "table".into(),
            size,
            needed: start,
        });
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    let table: Table =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("table: {error}")))?;
    let mut tensors = Vec::with_capacity(table.entries.len());
    for (name, entry) in table.entries {
        tensors.push(entry.tensor(name, start)?);
    }
    let header = Header::new(start, table.metadata, tensors, size)?;
    check_fill(&header, size)?;
    Ok(header)
}

/// The numbers fill the file without a gap, as the format asks for.
fn check_fill(header: &Header, size: u64) -> Result<(), FormatError> {
    let mut end = header.length;
    for tensor in &header.tensors {
        if tensor.place.start != end {
            let name = tensor.name.escape_debug();
            let reason = format!("gap before a tensor, name={name}");
            return Err(FormatError::Header(reason));
        }
        end = tensor.place.end;
    }
    if end != size {
        let reason = format!("bytes behind the last tensor, size={size}, expected={end}");
        return Err(FormatError::Header(reason));
    }
    Ok(())
}

/// The table as it stands in the file.
#[derive(Debug, Default)]
struct Table {
    metadata: BTreeMap<String, String>,
    entries: Vec<(String, Entry)>,
}

/// What the table says of a tensor.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn tensor(self, name: String, start: u64) -> Result<Tensor, FormatError> {
        let [begin, end] = self.data_offsets;
        let place = begin.checked_add(start).zip(end.checked_add(start));
        let length = end.checked_sub(begin);
        let (Some((begin, end)), Some(length)) = (place, length) else {
            let reason = format!("place of a tensor, name={}", name.escape_debug());
            return Err(FormatError::Header(reason));
        };
        if let Some(bits) = bits(&self.dtype) {
            let bits = count(&self.shape).and_then(|count| count.checked_mul(bits));
            if bits.map(|bits| bits.div_ceil(8)) != Some(length) {
                let name = name.escape_debug();
                let reason = format!(
                    "length of a tensor, name={name}, type={}, shape={:?}, bytes={length}",
                    self.dtype, self.shape
                );
                return Err(FormatError::Header(reason));
            }
        }
        Ok(Tensor {
            name,
            kind: self.dtype,
            shape: self.shape,
            place: begin..end,
        })
    }
}

/// Bits of a number of the type. `None` for a type that came later: only its
/// place can be checked.
fn bits(dtype: &str) -> Option<u64> {
    match dtype {
        "F4" => Some(4),
        "F6_E2M3" | "F6_E3M2" => Some(6),
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => Some(8),
        "I16" | "U16" | "F16" | "BF16" => Some(16),
        "I32" | "U32" | "F32" => Some(32),
        "I64" | "U64" | "F64" | "C64" => Some(64),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names of tensors with their types, shapes and places")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
        let mut table = Table::default();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                // Two readers would see two models.
                let name = name.escape_debug();
                return Err(A::Error::custom(format!("a name twice, name={name}")));
            }
            if name == "__metadata__" {
                table.metadata = map.next_value()?;
            } else {
                let entry = map.next_value()?;
                table.entries.push((name, entry));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(table: &str, numbers: usize) -> Vec<u8> {
        let length = table.len() as u64;
        let mut file = length.to_le_bytes().to_vec();
        file.extend_from_slice(table.as_bytes());
        file.resize(file.len() + numbers, 0);
        file
    }

    fn read_all(file: &[u8]) -> Result<Header, FormatError> {
        read(&mut &*file, file.len() as u64)
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},
        "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "none":{"dtype":"F32","shape":[0],"data_offsets":[20,20]}}"#;

    #[test]
    fn a_table_gives_places_in_the_file() {
        let file = file(TWO, 20);
        let header = read_all(&file).expect("right");
        let start = TWO.len() as u64 + 8;
        assert_eq!(header.length, start);
        assert_eq!(header.metadata["format"], "pt");
        let places: Vec<_> = header
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.place.clone()))
            .collect();
        assert_eq!(
            places,
            [
                ("a", start..start + 8),
                ("b", start + 8..start + 20),
                ("none", start + 20..start + 20)
            ]
        );
        assert_eq!(header.parameters(), 8);
    }

    #[test]
    fn what_lies_is_refused() {
        let refused = |table: &str, numbers: usize, expected: &str| {
            let error = read_all(&file(table, numbers))
                .expect_err(table)
                .to_string();
            assert!(error.contains(expected), "{error} for {table}");
        };
        refused(TWO, 19, "cut short");
        refused(TWO, 21, "bytes behind the last tensor");
        refused(
            &TWO.replace("[8,20]", "[9,21]")
                .replace("[20,20]", "[21,21]"),
            21,
            "gap before a tensor, name=b",
        );
        refused(&TWO.replace("[8,20]", "[4,16]"), 20, "overlap");
        refused(
            &TWO.replace("[2,3]", "[2,4]"),
            20,
            "length of a tensor, name=b",
        );
        refused(
            &TWO.replace("[8,20]", "[20,8]"),
            20,
            "place of a tensor, name=b",
        );
        let huge = "[18446744073709551615,2]";
        refused(&TWO.replace("[2,3]", huge), 20, "length of a tensor");
        let far = "[18446744073709551600,18446744073709551615]";
        refused(&TWO.replace("[8,20]", far), 20, "place of a tensor");
        refused(&TWO.replace("\"b\":", "\"a\":"), 20, "a name twice, name=a");
        refused("{\"a\":", 0, "table: EOF");
        refused("[]", 0, "table: invalid type");
        let mut long = file(TWO, 20);
        long[..8].copy_from_slice(&200_000_000_u64.to_le_bytes());
        assert!(
            read_all(&long)
                .expect_err("long")
                .to_string()
                .contains("too long")
        );
        long[..8].copy_from_slice(&5000_u64.to_le_bytes());
        assert!(
            read_all(&long)
                .expect_err("short")
                .to_string()
                .contains("cut short, table")
        );
    }

    #[test]
    fn a_type_of_tomorrow_is_held_to_its_place_alone() {
        let table = r#"{"a":{"dtype":"F5","shape":[3],"data_offsets":[0,2]}}"#;
        assert!(read_all(&file(table, 2)).is_ok());
        assert!(read_all(&file(table, 3)).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn spoiled_tables_never_panic(at in 0_usize..300, byte in any::<u8>()) {
            let mut file = file(TWO, 20);
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            let _ = read_all(&file);
        }
    }
}
