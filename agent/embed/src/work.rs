//! Texts shared out as batches among threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Error;
use crate::encoder::{Batch, Encode, Workspace};
use crate::kernel;
use crate::model::{Model, Options, Purpose};
use crate::pool;

/// The tokens of some texts, cut into batches.
pub(crate) struct Work<'a> {
    model: &'a Model,
    options: &'a Options<'a>,
    tokens: Vec<u32>,
    /// Tokens of each text.
    lengths: Vec<usize>,
    batches: Vec<Span>,
}

/// Which texts and tokens a batch has.
#[derive(Debug, Clone, Copy)]
struct Span {
    first_text: usize,
    texts: usize,
    first_token: usize,
    tokens: usize,
}

/// A batch's number, and the vectors of its texts.
type Done = (usize, Vec<Vec<f32>>);

/// Tokens of a batch, if its first text has no more. Enough that reading the
/// weights costs nothing beside multiplying with them, and few enough that a
/// batch stays in the cache and cancelling is quick.
const BATCH_TOKENS: usize = 512;

impl<'a> Work<'a> {
    /// Cuts the texts into tokens.
    pub(crate) fn new<'t>(
        model: &'a Model,
        texts: impl Iterator<Item = &'t &'t str>,
        options: &'a Options<'a>,
    ) -> Result<Self, Error> {
        let prompt = match options.purpose {
            Purpose::Passage => &*model.recipe.passage_prompt,
            Purpose::Query => &*model.recipe.query_prompt,
        };
        let (mut tokens, mut lengths) = (Vec::new(), Vec::new());
        for text in texts {
            if (options.is_cancelled)() {
                return Err(Error::Cancelled);
            }
            let begin = tokens.len();
            let tokenizer = &model.tokenizer;
            if prompt.is_empty() {
                tokens.extend(tokenizer.sequence(text, model.tokens_max()));
            } else {
                let text = format!("{prompt}{text}");
                tokens.extend(tokenizer.sequence(&text, model.tokens_max()));
            }
            lengths.push(tokens.len() - begin);
        }
        let share = tokens.len().div_ceil(options.threads.get());
        Ok(Self {
            batches: spans(&lengths, share.min(BATCH_TOKENS)),
            model,
            options,
            tokens,
            lengths,
        })
    }

    /// Computes the vectors, on this thread and on others. `first` is the
    /// number of the first text, for errors.
    pub(crate) fn run(&self, first: usize) -> Result<Vec<Vec<f32>>, Error> {
        let next = AtomicUsize::new(0);
        let take = || self.take_batches(&next, first);
        let others = self.options.threads.get().min(self.batches.len()) - 1;
        let parts = thread::scope(|scope| {
            let spawn = || {
                thread::Builder::new()
                    .name("embed".to_owned())
                    .spawn_scoped(scope, take)
            };
            // Where the system has no more threads, those that are there do it.
            let others: Vec<_> = (0..others).map_while(|_| spawn().ok()).collect();
            let mut parts = vec![take()];
            for thread in others {
                parts.push(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            parts
        });
        let mut done = Vec::new();
        for part in parts {
            done.extend(part?);
        }
        done.sort_unstable_by_key(|(batch, _)| *batch);
        Ok(done.into_iter().flat_map(|(_, vectors)| vectors).collect())
    }

    /// Takes batch after batch until none is left, and gives the vectors of
    /// each with its number.
    fn take_batches(&self, next: &AtomicUsize, first: usize) -> Result<Vec<Done>, Error> {
        let mut workspace = Workspace::default();
        let mut done = Vec::new();
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            let Some(span) = self.batches.get(batch) else {
                return Ok(done);
            };
            match self.embed(*span, &mut workspace, first) {
                Ok(vectors) => done.push((batch, vectors)),
                Err(error) => {
                    // The other threads need not go on.
                    next.store(self.batches.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    fn embed(
        &self,
        span: Span,
        workspace: &mut Workspace,
        first: usize,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let encoder = &self.model.encoder;
        let lengths = &self.lengths[span.first_text..][..span.texts];
        let batch = Batch {
            tokens: &self.tokens[span.first_token..][..span.tokens],
            lengths,
        };
        let is_cancelled = self.options.is_cancelled;
        if !kernel::run(Encode {
            encoder,
            batch,
            workspace,
            is_cancelled,
        }) {
            return Err(Error::Cancelled);
        }
        let mut rows = &workspace.states[..];
        let mut vectors = Vec::with_capacity(span.texts);
        for (at, length) in lengths.iter().enumerate() {
            let hidden = self.model.dimensions();
            let (own, rest) = rows.split_at(length * hidden);
            rows = rest;
            let mut vector = pool::pool(self.model.recipe.pooling, own, hidden);
            if self.model.recipe.unit_length {
                pool::to_unit_length(&mut vector);
            }
            if !vector.iter().all(|value| value.is_finite()) {
                let text = first + span.first_text + at;
                return Err(Error::NotFinite { text });
            }
            vectors.push(vector);
        }
        Ok(vectors)
    }
}

/// Cuts texts of some lengths into batches of at most so many tokens, or of one
/// text.
fn spans(lengths: &[usize], tokens_max: usize) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut first_token = 0;
    for (first_text, &tokens) in lengths.iter().enumerate() {
        match spans.last_mut() {
            Some(last) if last.tokens + tokens <= tokens_max => {
                last.texts += 1;
                last.tokens += tokens;
            }
            _ => spans.push(Span {
                first_text,
                texts: 1,
                first_token,
                tokens,
            }),
        }
        first_token += tokens;
    }
    spans
}
