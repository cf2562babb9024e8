//! Headers of real models, read as the Python packages `safetensors` and
//! `gguf` read them. `tests/models` makes the models and the list of what
//! those read; `GINNEL_REQUIRE_MODELS` makes their absence a failure.

#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ginnel_blob::format::{Format, Header};
use serde::Deserialize;
use serde_json::Value;

/// What a package has read: a text beside the tensors, or a tensor.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Text {
        file: String,
        text: String,
        value: Value,
    },
    Tensor {
        file: String,
        tensor: String,
        kind: String,
        shape: Vec<u64>,
        /// Only `gguf` tells it.
        start: Option<u64>,
        length: u64,
        /// Of the numbers' bytes.
        crc32: u32,
    },
}

impl Line {
    fn file(&self) -> &str {
        match self {
            Self::Text { file, .. } | Self::Tensor { file, .. } => file,
        }
    }
}

#[test]
fn headers_say_what_the_python_packages_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models");
    let Ok(list) = fs::read_to_string(folder.join("python.jsonl")) else {
        let message = format!("no models in {}", folder.display());
        let required = env::var_os("GINNEL_REQUIRE_MODELS").is_some();
        assert!(!required, "{message}; hint: run tests/models");
        eprintln!("skipped: {message}; hint: run tests/models");
        return;
    };
    let lines = list.lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("a line"));
    let lines: Vec<Line> = lines.collect();
    let files: BTreeSet<&str> = lines.iter().map(Line::file).collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in files {
        let of_file = lines.iter().filter(|line| line.file() == file);
        compare(&folder, file, &of_file.collect::<Vec<_>>());
    }
}

/// Compares what is read here with what a package has read from a file.
fn compare(folder: &Path, name: &str, lines: &[&Line]) {
    let file = File::open(folder.join(name)).expect("a model");
    let size = file.metadata().expect("a size").len();
    let mut first = [0; ginnel_blob::format::PROBE];
    file.read_exact_at(&mut first, 0).expect("a beginning");
    let format = Format::detect(name, &first).expect("a format");
    let header = format.header(&mut &file, size).expect("a header");
    let Header {
        metadata, tensors, ..
    } = header.expect("a model");
    let mut tensors: BTreeMap<_, _> = tensors
        .into_iter()
        .map(|tensor| (tensor.name.clone(), tensor))
        .collect();
    let mut texts = 0;
    for line in lines {
        match line {
            Line::Text { text, value, .. } => {
                texts += 1;
                let ours = metadata.get(text).expect("the text");
                assert!(is_same(ours, value), "{name}: {text}: {ours}, not {value}");
            }
            Line::Tensor {
                tensor,
                kind,
                shape,
                start,
                length,
                crc32,
                ..
            } => {
                let ours = tensors.remove(tensor).expect("the tensor");
                assert_eq!((&ours.kind, &ours.shape), (kind, shape), "{name}: {tensor}");
                let start = start.unwrap_or(ours.place.start);
                assert_eq!(ours.place, start..start + length, "{name}: {tensor}");
                let mut numbers = vec![0; usize::try_from(*length).expect("it fits")];
                file.read_exact_at(&mut numbers, start).expect("numbers");
                assert_eq!(crc32_of(&numbers), *crc32, "{name}: {tensor}");
            }
        }
    }
    assert_eq!(metadata.len(), texts, "{name}");
    assert!(tensors.is_empty(), "{name}: {tensors:?}");
    assert!(lines.len() > 30, "{name}: too few to be a model");
}

/// Whether our text is the package's value, where numbers of 32 bits are
/// written with fewer digits.
fn is_same(ours: &str, value: &Value) -> bool {
    if let Some(number) = value.as_f64() {
        return ours.parse::<f32>().ok().map(f64::from) == Some(number);
    }
    value.as_str() == Some(ours)
}

/// As zlib computes it (RFC 1952, section 8).
fn crc32_of(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        let byte = u32::try_from(byte).expect("below 256");
        (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    let next = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ table[usize::from(low ^ byte)]
    };
    !bytes.iter().fold(u32::MAX, next)
}
