//! A BERT model with random weights, written as a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder to be, which tests may change before it is written.
pub(crate) struct Tiny {
    pub(crate) config: Value,
    pub(crate) tokenizer: Value,
    /// Other JSON files, by their path.
    pub(crate) files: BTreeMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) dtype: Dtype,
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

#[derive(Clone, Copy)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
}

/// The sizes of a model.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) inner: usize,
    pub(crate) positions: usize,
}

pub(crate) const SMALL: Sizes = Sizes {
    hidden: 32,
    heads: 4,
    layers: 2,
    inner: 64,
    positions: 48,
};

/// The vocabulary; a word's number is its place.
pub(crate) const WORDS: [&str; 24] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sun", "moon", "star", "##s", "##light", "##ing",
    "shin", "a", "the", ".", ",", "!", "e", "##e", "o", "##n", "光", "й", "\u{1112}",
];

impl Tiny {
    pub(crate) fn new(seed: u64, sizes: Sizes) -> Self {
        let config = json!({
            "model_type": "bert",
            "hidden_size": sizes.hidden,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "intermediate_size": sizes.inner,
            "vocab_size": WORDS.len(),
            "max_position_embeddings": sizes.positions,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
        });
        Self {
            config,
            tokenizer: tokenizer(),
            files: BTreeMap::new(),
            tensors: tensors(&mut Rng::with_seed(seed), sizes),
            dtype: Dtype::F32,
        }
    }

    /// Adds `modules.json` with this pooling.
    pub(crate) fn with_modules(mut self, pooling: &str, unit_length: bool) -> Self {
        let module = |path: &str, class: &str| {
            let kind = format!("sentence_transformers.models.{class}");
            json!({"idx": 0, "name": "0", "path": path, "type": kind})
        };
        let mut modules = vec![module("", "Transformer"), module("1_Pooling", "Pooling")];
        if unit_length {
            modules.push(module("2_Normalize", "Normalize"));
        }
        self.add("modules.json", json!(modules));
        let hidden = &self.config["hidden_size"];
        let flag = format!("pooling_mode_{pooling}");
        self.add(
            "1_Pooling/config.json",
            json!({"word_embedding_dimension": hidden, flag: true}),
        );
        self
    }

    pub(crate) fn add(&mut self, path: &str, value: Value) {
        self.files.insert(path.to_owned(), value);
    }

    /// The folder, which is removed with the value.
    pub(crate) fn write(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, bytes).expect("written");
        };
        write("config.json", self.config.to_string().as_bytes());
        write("tokenizer.json", self.tokenizer.to_string().as_bytes());
        for (path, value) in &self.files {
            write(path, value.to_string().as_bytes());
        }
        write("model.safetensors", &self.safetensors());
        folder
    }

    pub(crate) fn safetensors(&self) -> Vec<u8> {
        let mut table = serde_json::Map::new();
        let mut numbers = Vec::new();
        for (name, tensor) in &self.tensors {
            let begin = numbers.len();
            for &value in &tensor.values {
                match self.dtype {
                    Dtype::F32 => numbers.extend(value.to_le_bytes()),
                    Dtype::F16 => numbers.extend(half(value).to_le_bytes()),
                    Dtype::Bf16 => numbers.extend(&value.to_le_bytes()[2..]),
                }
            }
            let dtype = match self.dtype {
                Dtype::F32 => "F32",
                Dtype::F16 => "F16",
                Dtype::Bf16 => "BF16",
            };
            let offsets = [begin, numbers.len()];
            let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets});
            table.insert(name.clone(), entry);
        }
        table.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        file(&Value::Object(table).to_string(), &numbers)
    }
}

/// A file of the format, with this table and these numbers.
pub(crate) fn file(table: &str, numbers: &[u8]) -> Vec<u8> {
    let length = u64::try_from(table.len()).expect("short").to_le_bytes();
    [&length, table.as_bytes(), numbers].concat()
}

/// Replaces a file of a folder.
pub(crate) fn replace(folder: &TempDir, path: &str, bytes: &[u8]) {
    fs::write(Path::new(folder.path()).join(path), bytes).expect("written");
}

fn tensors(rng: &mut Rng, sizes: Sizes) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    let Sizes { hidden, inner, .. } = sizes;
    let mut add = |name: String, shape: &[usize], middle: f32, spread: f32| {
        let count = shape.iter().product();
        let values = (0..count).map(|_| middle + spread * (2.0 * rng.f32() - 1.0));
        let values = values.collect();
        let shape = shape.to_vec();
        tensors.insert(name, Tensor { shape, values });
    };
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    let rows = [
        ("word_embeddings", WORDS.len()),
        ("position_embeddings", sizes.positions),
        ("token_type_embeddings", 2),
    ];
    for (name, rows) in rows {
        add(
            format!("embeddings.{name}.weight"),
            &[rows, hidden],
            0.0,
            1.0,
        );
    }
    for layer in 0..sizes.layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let dense = [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ];
        for (part, width, depth) in dense {
            add(name(&format!("{part}.weight")), &[width, depth], 0.0, 0.4);
            add(name(&format!("{part}.bias")), &[width], 0.0, 0.4);
        }
        norms.extend(["attention.output.LayerNorm", "output.LayerNorm"].map(name));
    }
    for name in norms {
        add(format!("{name}.weight"), &[hidden], 1.0, 0.5);
        add(format!("{name}.bias"), &[hidden], 0.0, 0.5);
    }
    tensors
}

fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> = (0..)
        .zip(WORDS)
        .map(|(id, word): (u32, _)| (word.to_owned(), json!(id)))
        .collect();
    let special = |(id, content): (usize, &str)| {
        json!({
            "id": id, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let special: Vec<Value> = WORDS.into_iter().take(5).enumerate().map(special).collect();
    json!({
        "version": "1.0",
        // For other programs; must not be looked at.
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 128}},
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 20, "vocab": vocabulary,
        },
    })
}

/// The nearest binary16 towards zero, of a value that is in its range.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = bits >> 16 & 0x8000;
    let exponent = bits >> 23 & 0xff;
    let magnitude = if exponent < 127 - 14 {
        // Below the normal numbers: steps of 2^-24.
        let fraction = 0x80_0000 | bits & 0x7f_ffff;
        fraction.checked_shr(126 - exponent).unwrap_or(0)
    } else {
        (exponent + 15 - 127) << 10 | bits >> 13 & 0x3ff
    };
    u16::try_from(sign | magnitude).expect("in range")
}
