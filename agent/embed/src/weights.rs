//! `model.safetensors`: a table of names, types and places, then the numbers.
//! <https://github.com/huggingface/safetensors#format>
//!
//! ```text
//! ┌──────────────┬──────────────────┬─────────────────────────┐
//! │ length: u64  │ table: JSON      │ numbers, little-endian  │
//! └──────────────┴──────────────────┴─────────────────────────┘
//! ```
//!
//! Nothing is allocated on the word of the table alone: each tensor lies in
//! the file, and the file is as long as the table says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// The weights of a model, read tensor by tensor.
#[derive(Debug)]
pub(crate) struct Weights {
    file: PathBuf,
    opened: File,
    /// Where the numbers begin.
    start: u64,
    tensors: BTreeMap<String, Place>,
}

/// The longest table, in bytes. A tensor takes about 130, and the largest
/// encoders have a few hundred.
const TABLE_MAX: u64 = 16 << 20;

/// What the table says of a tensor.
#[derive(Debug, Deserialize)]
struct Place {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Weights {
    /// Reads and checks the table.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let file = folder.join("model.safetensors");
        let unread = |error| Error::read(&file, error);
        let mut opened = File::open(&file).map_err(unread)?;
        let length = opened.metadata().map_err(unread)?.len();
        let mut size = [0; 8];
        opened.read_exact(&mut size).map_err(unread)?;
        let size = u64::from_le_bytes(size);
        let rest = length.saturating_sub(8);
        if size > rest.min(TABLE_MAX) {
            let expected = format!("at most {}", rest.min(TABLE_MAX));
            return Err(Error::unfit(&file, "length of the table", expected, size));
        }
        let mut table = Vec::new();
        (&opened)
            .take(size)
            .read_to_end(&mut table)
            .map_err(unread)?;
        let table = serde_json::from_slice::<BTreeMap<String, Value>>(&table);
        let table = table.map_err(|error| Error::unfit(&file, "table", "its JSON", error))?;
        let tensors = places(&file, table)?;
        check_order(&file, &tensors, rest - size)?;
        Ok(Self {
            start: 8 + size,
            file,
            opened,
            tensors,
        })
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads a tensor as `f32`, in rows.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let Some(place) = self.tensors.get(name) else {
            let what = format!("tensor missing, name={name}");
            return Err(Error::unfit(&self.file, what, shape_text(shape), "none"));
        };
        let found: Option<Vec<usize>> = place
            .shape
            .iter()
            .map(|&size| size.try_into().ok())
            .collect();
        if found.as_deref() != Some(shape) {
            let what = format!("tensor of another shape, name={name}");
            let found = shape_text(&place.shape);
            return Err(Error::unfit(&self.file, what, shape_text(shape), found));
        }
        let decode = match &*place.dtype {
            "F32" => decode_f32,
            "F16" => decode_f16,
            "BF16" => decode_bf16,
            other => {
                let what = format!("tensor of a type not supported, name={name}");
                return Err(Error::unfit(&self.file, what, "F32, F16 or BF16", other));
            }
        };
        let [begin, end] = place.data_offsets;
        let bytes = self.bytes(begin, end - begin);
        let values = decode(&bytes.map_err(|error| Error::read(&self.file, error))?);
        if !values.iter().all(|value| value.is_finite()) {
            let what = format!("tensor with values that are not finite, name={name}");
            return Err(Error::unfit(
                &self.file,
                what,
                "numbers",
                "infinity or none",
            ));
        }
        Ok(values)
    }

    /// `open` has seen that the file is as long.
    fn bytes(&mut self, begin: u64, length: u64) -> io::Result<Vec<u8>> {
        self.opened.seek(SeekFrom::Start(self.start + begin))?;
        let mut bytes = Vec::new();
        let capacity = usize::try_from(length).map_err(io::Error::other)?;
        bytes.try_reserve_exact(capacity)?;
        let read = (&self.opened).take(length).read_to_end(&mut bytes)?;
        if read < capacity {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// The entries of the table, each with as many bytes as its shape takes.
fn places(file: &Path, table: BTreeMap<String, Value>) -> Result<BTreeMap<String, Place>, Error> {
    let mut places = BTreeMap::new();
    for (name, entry) in table {
        // Free text for people, in place of a tensor.
        if name == "__metadata__" {
            continue;
        }
        let place: Place = serde_json::from_value(entry).map_err(|error| {
            let what = format!("table, name={}", name.escape_debug());
            Error::unfit(file, what, "dtype, shape and data_offsets", error)
        })?;
        let [begin, end] = place.data_offsets;
        if let Some(width) = width(&place.dtype) {
            let sizes = &mut place.shape.iter();
            let bytes = sizes.try_fold(width, |bytes: u64, &size| bytes.checked_mul(size));
            if bytes.is_none() || end.checked_sub(begin) != bytes {
                let what = format!("length of a tensor, name={}", name.escape_debug());
                let expected = format!("{} × {width} bytes", shape_text(&place.shape));
                return Err(Error::unfit(
                    file,
                    what,
                    expected,
                    format!("{begin} to {end}"),
                ));
            }
        }
        places.insert(name, place);
    }
    Ok(places)
}

/// The tensors must fill the file without gap and without overlap, as the
/// format asks for; so a file cut short is noticed before it is read.
fn check_order(file: &Path, tensors: &BTreeMap<String, Place>, length: u64) -> Result<(), Error> {
    let mut ordered: Vec<(&String, &Place)> = tensors.iter().collect();
    ordered.sort_by_key(|(_, place)| place.data_offsets);
    let mut at = 0;
    for (name, place) in ordered {
        let [begin, end] = place.data_offsets;
        if begin != at || end < begin || end > length {
            let what = format!("place of a tensor, name={}", name.escape_debug());
            let expected = format!("from {at}, at most to {length}");
            return Err(Error::unfit(
                file,
                what,
                expected,
                format!("{begin} to {end}"),
            ));
        }
        at = end;
    }
    if at != length {
        let expected = format!("{at} bytes of numbers");
        return Err(Error::unfit(file, "length of the file", expected, length));
    }
    Ok(())
}

/// Bytes of a value, of the types that are ever read.
fn width(dtype: &str) -> Option<u64> {
    match dtype {
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

fn shape_text(shape: &[impl ToString]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

fn decode_f32(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks().0.iter();
    values.map(|&value| f32::from_le_bytes(value)).collect()
}

fn decode_bf16(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks().0.iter();
    values
        .map(|&value| f32::from_bits(u32::from(u16::from_le_bytes(value)) << 16))
        .collect()
}

fn decode_f16(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks().0.iter();
    values
        .map(|&value| half(u16::from_le_bytes(value)))
        .collect()
}

/// IEEE 754 binary16: a sign, five bits of exponent and ten of fraction.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        // Below the normal numbers: the fraction in steps of 2^-24.
        0 => f32::from(bits & 0x3ff) * f32::from_bits((127 - 24) << 23),
        0x1f => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 127 - 15) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}
