//! A model: opened once, then asked for vectors by any number of threads.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use crate::Error;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::identity::Identity;
use crate::load::Load;
use crate::recipe::Recipe;
use crate::tokenizer::{SPECIAL, Tokenizer};
use crate::weights::Weights;
use crate::work::Work;

/// A sentence embedding model. Share it behind an `Arc`: nothing in it changes.
///
/// It takes the memory of the word and position embeddings as `f32` and two
/// bytes for each of the other weights: 69 MB for all-MiniLM-L6-v2.
#[derive(Debug)]
pub struct Model {
    name: String,
    id: [u8; 32],
    tokens_max: usize,
    passage_tokens_max: usize,
    pub(crate) recipe: Recipe,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) encoder: Encoder,
}

/// What texts are for. Some models put another prompt before each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To be found.
    #[default]
    Passage,
    /// To find with.
    Query,
}

/// How to embed.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What the texts are for.
    pub purpose: Purpose,
    /// The most threads to compute with, the caller's among them. By default
    /// one less than there are cores.
    pub threads: NonZeroUsize,
    /// Asked between the layers of each batch, about every 10 ms, whether to
    /// stop; it must be quick.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Default for Options<'_> {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            purpose: Purpose::default(),
            threads: NonZeroUsize::new(cores - 1).unwrap_or(NonZeroUsize::MIN),
            is_cancelled: &|| false,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("purpose", &self.purpose)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads a model from a folder with `config.json`, `tokenizer.json` and
    /// `model.safetensors`, and what else `sentence-transformers` puts there:
    /// `modules.json`, the pooling's `config.json`, `sentence_bert_config.json`,
    /// `config_sentence_transformers.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or asks for what is not supported.
    /// The error names the file, and what was expected and found in it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let config = Config::read(folder)?;
        let recipe = Recipe::read(folder, config.hidden)?;
        let (tokenizer, defaults) = Tokenizer::read(folder, config.vocabulary)?;
        let said = recipe.tokens_max.or(defaults.tokens_max);
        let said = said.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        let tokens_max = said.unwrap_or(usize::MAX).min(config.positions);
        let prompt = tokenizer.count(&recipe.passage_prompt);
        let prompt = prompt.max(tokenizer.count(&recipe.query_prompt));
        let Some(passage_tokens_max @ 1..) = tokens_max.checked_sub(SPECIAL + prompt) else {
            let what = "no room for a text between special tokens and prompt";
            let expected = format!("more than {} tokens", SPECIAL + prompt);
            return Err(Error::unfit(folder, what, expected, tokens_max));
        };

        let mut identity = Identity::new();
        identity.config(&config);
        identity.recipe(&recipe, tokens_max);
        tokenizer.describe(|name, value| identity.field(name, value));
        let load = Load {
            weights: Weights::open(folder)?,
            config,
            identity: &mut identity,
        };
        let encoder = load.encoder()?;
        let name = folder.file_name().unwrap_or(folder.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            id: identity.finish(),
            tokens_max,
            passage_tokens_max,
            recipe,
            tokenizer,
            encoder,
        })
    }

    /// What tells this model from others: BLAKE3 over all that decides about a
    /// vector (sizes, vocabulary and its rules, prompts, longest text, pooling,
    /// weights), whatever the files look like. Vectors of two ids must not be
    /// compared.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// The folder's name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Values of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.encoder.config.hidden
    }

    /// The most tokens of a text that count, with the two special ones and the
    /// prompt; what is beyond does not change the vector.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The most tokens, as [`Tokenizer::count`] counts them, of a passage that
    /// counts as a whole.
    #[must_use]
    pub fn passage_tokens_max(&self) -> usize {
        self.passage_tokens_max
    }

    /// How text becomes tokens.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A vector for each text, in their order. A text that is too long is cut
    /// after the last token that counts, and one without tokens has the vector
    /// of the special tokens alone, as in `sentence-transformers`.
    ///
    /// Beside the vectors it takes about 10 MB a thread for MiniLM: at most
    /// 512 tokens at once (or one text), 4 bytes × (5 × hidden + 1.5 × the
    /// larger of 3 × hidden and intermediate) each. Texts are never copied,
    /// but for a model with prompts.
    ///
    /// # Errors
    /// `is_cancelled` said so, or the weights give a vector that is not finite.
    pub fn embed(&self, texts: &[&str], options: &Options<'_>) -> Result<Vec<Vec<f32>>, Error> {
        let mut vectors = Vec::with_capacity(texts.len());
        while vectors.len() < texts.len() {
            let texts = texts.iter().skip(vectors.len()).take(TEXTS_MAX);
            let work = Work::new(self, texts, options)?;
            let first = vectors.len();
            vectors.extend(work.run(first)?);
        }
        Ok(vectors)
    }
}

/// Texts whose tokens are held at once: with 512 tokens each it is 8 MB, and
/// 4,096 short ones are still seconds of work.
const TEXTS_MAX: usize = 4096;
