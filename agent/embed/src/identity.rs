//! The name that a model has by what it computes.

use crate::config::{Activation, Config};
use crate::recipe::{Pooling, Recipe};

/// BLAKE3 over everything that decides about a vector, each part with its
/// length, in a fixed order: the sizes, the rules of the tokens, the
/// vocabulary, how vectors are pooled, and the weights as `f32`. How the files
/// are laid out does not matter, nor tensors that are not used.
#[derive(Debug)]
pub(crate) struct Identity(blake3::Hasher);

/// Changes when the meaning of the parts does: then every vector is of another
/// model.
const CONTEXT: &str = "ginnel-embed 2026-11 what a model computes";

impl Identity {
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new_derive_key(CONTEXT))
    }

    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    pub(crate) fn numbers(&mut self, values: &[f32]) {
        self.0.update(&(values.len() as u64).to_le_bytes());
        let mut bytes = Vec::new();
        for values in values.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.0.update(&bytes);
        }
    }

    pub(crate) fn config(&mut self, config: &Config) {
        let Config {
            hidden,
            heads,
            layers,
            inner,
            vocabulary,
            positions,
            types,
            ..
        } = *config;
        for size in [hidden, heads, layers, inner, vocabulary, positions, types] {
            self.field("size", &(size as u64).to_le_bytes());
        }
        let activation = match config.activation {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Relu => "relu",
        };
        self.field("activation", activation.as_bytes());
        self.field("epsilon", &config.epsilon.to_le_bytes());
    }

    pub(crate) fn recipe(&mut self, recipe: &Recipe, tokens_max: usize) {
        let pooling = match recipe.pooling {
            Pooling::Mean => "mean",
            Pooling::First => "first",
            Pooling::Max => "max",
        };
        self.field("pooling", pooling.as_bytes());
        self.field("unit length", &[u8::from(recipe.unit_length)]);
        self.field("tokens", &(tokens_max as u64).to_le_bytes());
        self.field("passage prompt", recipe.passage_prompt.as_bytes());
        self.field("query prompt", recipe.query_prompt.as_bytes());
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
