//! From the tensors of the file to the [`Encoder`].

use crate::Error;
use crate::config::Config;
use crate::encoder::{Encoder, Layer};
use crate::identity::Identity;
use crate::math::Norm;
use crate::matrix::Matrix;
use crate::weights::Weights;

/// Reads the weights that a configuration asks for, and names them to the
/// identity.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) weights: Weights,
    pub(crate) config: Config,
    pub(crate) identity: &'a mut Identity,
}

/// What a file of a whole model, not of the encoder alone, has before each
/// name.
const PREFIX: &str = "bert.";

const WORDS: &str = "embeddings.word_embeddings.weight";

impl Load<'_> {
    /// Reads everything.
    pub(crate) fn encoder(mut self) -> Result<Encoder, Error> {
        let Config {
            hidden,
            vocabulary,
            positions,
            types,
            ..
        } = self.config;
        let words = self.tensor(WORDS, &[vocabulary, hidden])?;
        let name = "embeddings.position_embeddings.weight";
        let mut places = self.tensor(name, &[positions, hidden])?;
        let name = "embeddings.token_type_embeddings.weight";
        let kinds = self.tensor(name, &[types, hidden])?;
        for row in places.chunks_exact_mut(hidden) {
            for (value, kind) in row.iter_mut().zip(&kinds) {
                *value += kind;
            }
        }
        let norm = self.norm("embeddings.LayerNorm")?;
        let layers = (0..self.config.layers).map(|layer| self.layer(layer));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Encoder {
            config: self.config,
            words,
            positions: places,
            norm,
            layers,
        })
    }

    fn layer(&mut self, layer: usize) -> Result<Layer, Error> {
        let Config { hidden, inner, .. } = self.config;
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let parts = ["query", "key", "value"];
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for part in parts {
            let name = name(&format!("attention.self.{part}"));
            weights.extend(self.tensor(&format!("{name}.weight"), &[hidden, hidden])?);
            biases.extend(self.tensor(&format!("{name}.bias"), &[hidden])?);
        }
        Ok(Layer {
            attention: Matrix::new(&weights, &biases, hidden),
            attention_out: self.dense(&name("attention.output.dense"), hidden, hidden)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            inner: self.dense(&name("intermediate.dense"), hidden, inner)?,
            inner_out: self.dense(&name("output.dense"), inner, hidden)?,
            inner_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    fn dense(&mut self, name: &str, depth: usize, width: usize) -> Result<Matrix, Error> {
        let weights = self.tensor(&format!("{name}.weight"), &[width, depth])?;
        let biases = self.tensor(&format!("{name}.bias"), &[width])?;
        Ok(Matrix::new(&weights, &biases, depth))
    }

    /// Old files say gamma and beta for weight and bias.
    fn norm(&mut self, name: &str) -> Result<Norm, Error> {
        let is_old = self.weights.has(&self.full(&format!("{name}.gamma")));
        let [factors, shifts] = if is_old {
            ["gamma", "beta"]
        } else {
            ["weight", "bias"]
        };
        let size = [self.config.hidden];
        Ok(Norm {
            factors: self.tensor(&format!("{name}.{factors}"), &size)?,
            shifts: self.tensor(&format!("{name}.{shifts}"), &size)?,
            epsilon: self.config.epsilon,
        })
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let values = self.weights.tensor(&self.full(name), shape)?;
        self.identity.numbers(&values);
        Ok(values)
    }

    fn full(&self, name: &str) -> String {
        let prefixed = format!("{PREFIX}{WORDS}");
        let prefix = if self.weights.has(&prefixed) {
            PREFIX
        } else {
            ""
        };
        format!("{prefix}{name}")
    }
}
