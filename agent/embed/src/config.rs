//! `config.json`: which network this is, and how large.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::folder::{self, Json, SETTINGS_MAX};

/// The sizes and constants of a BERT encoder, all checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Config {
    /// Values of a token between the layers; a multiple of `heads`.
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    /// Values of a token inside a layer's second half.
    pub(crate) inner: usize,
    pub(crate) vocabulary: usize,
    pub(crate) positions: usize,
    pub(crate) types: usize,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f32,
}

/// The function between the two products of a layer's second half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x Φ(x)`, with the error function.
    Gelu,
    /// The same by a hyperbolic tangent, a little different.
    GeluTanh,
    Relu,
}

impl Config {
    /// Reads and checks the file.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let Json { file, value } = folder::json::<File>(folder, "config.json", SETTINGS_MAX)?;
        value.check(&file)
    }
}

#[derive(Deserialize)]
struct File {
    model_type: String,
    hidden_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
    intermediate_size: u64,
    vocab_size: u64,
    max_position_embeddings: u64,
    #[serde(default = "two")]
    type_vocab_size: u64,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    quantization_config: Option<Value>,
}

/// Fields and their largest values. The largest encoder published so far has
/// 1,024 values a token, 24 layers and a vocabulary of 501,153; the limits only
/// keep every product of sizes far from overflow, the file with the weights
/// must have the bytes anyway.
const LIMITS: [(&str, u64); 7] = [
    ("hidden_size", 1 << 14),
    ("num_hidden_layers", 1 << 10),
    ("num_attention_heads", 1 << 10),
    ("intermediate_size", 1 << 15),
    ("vocab_size", 1 << 22),
    ("max_position_embeddings", 1 << 16),
    ("type_vocab_size", 1 << 10),
];

impl File {
    fn check(self, file: &Path) -> Result<Config, Error> {
        let unfit = |what: &str, expected: &str, found: &str| {
            Err(Error::unfit(file, what.to_owned(), expected, found))
        };
        if self.model_type != "bert" {
            return unfit("model_type not supported", "bert", &self.model_type);
        }
        let [hidden, layers, heads, inner, vocabulary, positions, types] = self.sizes(file)?;
        if !hidden.is_multiple_of(heads) {
            let what = "hidden_size is no multiple of num_attention_heads";
            return unfit(what, &format!("{heads} × n"), &hidden.to_string());
        }
        let kind = self
            .position_embedding_type
            .as_deref()
            .unwrap_or("absolute");
        if kind != "absolute" {
            return unfit("position_embedding_type not supported", "absolute", kind);
        }
        if self.is_decoder {
            return unfit("is_decoder not supported", "false", "true");
        }
        if self
            .quantization_config
            .is_some_and(|value| !value.is_null())
        {
            return unfit(
                "quantised weights not supported",
                "none",
                "quantization_config",
            );
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            let found = self.layer_norm_eps.to_string();
            return unfit("layer_norm_eps out of range", "0 to 1", &found);
        }
        let activation = match &*self.hidden_act {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => return unfit("hidden_act not supported", "gelu, gelu_new or relu", other),
        };
        let epsilon = self.layer_norm_eps;
        Ok(Config {
            hidden,
            heads,
            layers,
            inner,
            vocabulary,
            positions,
            types,
            activation,
            epsilon,
        })
    }

    /// In the order of [`LIMITS`].
    fn sizes(&self, file: &Path) -> Result<[usize; LIMITS.len()], Error> {
        let values = [
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.vocab_size,
            self.max_position_embeddings,
            self.type_vocab_size,
        ];
        let mut sizes = [0; LIMITS.len()];
        for ((size, value), (field, limit)) in sizes.iter_mut().zip(values).zip(LIMITS) {
            let Some(fits) = usize::try_from(value)
                .ok()
                .filter(|_| (1..=limit).contains(&value))
            else {
                let what = format!("{field} out of range");
                return Err(Error::unfit(file, what, format!("1 to {limit}"), value));
            };
            *size = fits;
        }
        Ok(sizes)
    }
}

// What `transformers` takes where the file says nothing.
fn two() -> u64 {
    2
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn epsilon() -> f32 {
    1e-12
}
