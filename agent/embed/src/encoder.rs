//! The network: BERT's encoder (Devlin et al., 2019), from the numbers of
//! tokens to one vector a token.

use crate::attention::{Heads, Scratch};
use crate::config::{Activation, Config};
use crate::kernel::{Job, Kernel};
use crate::math::{self, Norm};
use crate::matrix::{Matrix, Rows};

/// The weights, ready to be multiplied.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) config: Config,
    /// A row for each token of the vocabulary.
    pub(crate) words: Vec<f32>,
    /// A row for each position, with that of the first token type added: texts
    /// are never pairs here.
    pub(crate) positions: Vec<f32>,
    pub(crate) norm: Norm,
    pub(crate) layers: Vec<Layer>,
}

/// One of the layers.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values in one.
    pub(crate) attention: Matrix,
    pub(crate) attention_out: Matrix,
    pub(crate) attention_norm: Norm,
    pub(crate) inner: Matrix,
    pub(crate) inner_out: Matrix,
    pub(crate) inner_norm: Norm,
}

/// Texts to go through the network together, one after the other without
/// padding. Each has a token, and none more than there are positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) tokens: &'a [u32],
    /// Tokens of each text.
    pub(crate) lengths: &'a [usize],
}

/// Room for a batch, kept to be used again.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// A row a token: what goes from layer to layer, and comes out.
    pub(crate) states: Vec<f32>,
    /// What a part of the layer makes of it.
    results: Vec<f32>,
    /// The wide rows within a layer's parts.
    wide: Vec<f32>,
    rows: Rows,
    scratch: Scratch,
}

/// Sends a batch through the network; the output says whether it came to its
/// end, which it does unless `is_cancelled`.
pub(crate) struct Encode<'a> {
    pub(crate) encoder: &'a Encoder,
    pub(crate) batch: Batch<'a>,
    pub(crate) workspace: &'a mut Workspace,
    pub(crate) is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Job for Encode<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> bool {
        self.encoder.look_up(kernel, self.batch, self.workspace);
        for layer in &self.encoder.layers {
            if (self.is_cancelled)() {
                return false;
            }
            let config = &self.encoder.config;
            layer.attend(kernel, config, self.batch, self.workspace);
            layer.think(kernel, config.activation, self.workspace);
        }
        true
    }
}

impl Encoder {
    /// Fills the states with the embeddings of the tokens at their positions.
    #[inline(always)]
    fn look_up<K: Kernel>(&self, kernel: K, batch: Batch<'_>, workspace: &mut Workspace) {
        let hidden = self.config.hidden;
        let states = &mut workspace.states;
        states.clear();
        let positions = batch.lengths.iter().flat_map(|&length| 0..length);
        for (&token, position) in batch.tokens.iter().zip(positions) {
            let word = &self.words[token as usize * hidden..][..hidden];
            let position = &self.positions[position * hidden..][..hidden];
            let begin = states.len();
            states.extend(
                word.iter()
                    .zip(position)
                    .map(|(word, position)| word + position),
            );
            math::normalise(kernel, &self.norm, &mut states[begin..]);
        }
    }
}

impl Layer {
    /// The first half: tokens take from each other.
    #[inline(always)]
    fn attend<K: Kernel>(
        &self,
        kernel: K,
        config: &Config,
        batch: Batch<'_>,
        workspace: &mut Workspace,
    ) {
        let hidden = config.hidden;
        let heads = Heads {
            count: config.heads,
            size: hidden / config.heads,
        };
        let Workspace {
            states,
            results,
            wide,
            rows,
            scratch,
        } = workspace;
        rows.fill(kernel, states, hidden);
        wide.resize(batch.tokens.len() * self.attention.width(), 0.0);
        self.attention.multiply(kernel, rows, wide);

        results.resize(batch.tokens.len() * hidden, 0.0);
        let (mut inputs, mut outputs) = (&wide[..], &mut results[..]);
        for length in batch.lengths {
            let (input, rest) = inputs.split_at(length * self.attention.width());
            inputs = rest;
            let (output, rest) = outputs.split_at_mut(length * hidden);
            outputs = rest;
            heads.attend(kernel, input, output, scratch);
        }
        rows.fill(kernel, results, hidden);
        self.attention_out.multiply(kernel, rows, results);
        add_and_normalise(kernel, &self.attention_norm, states, results);
    }

    /// The second half: each token by itself.
    #[inline(always)]
    fn think<K: Kernel>(&self, kernel: K, activation: Activation, workspace: &mut Workspace) {
        let Workspace {
            states,
            results,
            wide,
            rows,
            ..
        } = workspace;
        let hidden = self.inner_out.width();
        let inner = self.inner.width();
        rows.fill(kernel, states, hidden);
        wide.resize(states.len() / hidden * inner, 0.0);
        self.inner.multiply(kernel, rows, wide);
        rows.clear(inner);
        for row in wide.chunks_exact_mut(inner) {
            math::activate(kernel, activation, row);
            rows.push(kernel, row);
        }
        self.inner_out.multiply(kernel, rows, results);
        add_and_normalise(kernel, &self.inner_norm, states, results);
    }
}

/// Puts the norm of the sums in place of the states.
#[inline(always)]
fn add_and_normalise<K: Kernel>(kernel: K, norm: &Norm, states: &mut [f32], results: &[f32]) {
    let hidden = norm.factors.len();
    let rows = states.chunks_exact_mut(hidden);
    for (state, result) in rows.zip(results.chunks_exact(hidden)) {
        for (state, result) in state.iter_mut().zip(result) {
            *state += result;
        }
        math::normalise(kernel, norm, state);
    }
}
