//! Sentence embeddings on the CPU: texts become vectors whose inner products
//! tell how near their meanings are.
//!
//! A [`Model`] is opened from a folder as Hugging Face has them, and computes
//! what the `sentence-transformers` library would: BERT encoders (MiniLM, BGE,
//! E5, GTE and their like) with WordPiece vocabularies. Whatever else a folder
//! asks for is refused, never approximated. No Python, no runtime for graphs,
//! no downloads: finding a folder is the caller's part, as is cutting documents
//! into passages that fit.
//!
//! ```no_run
//! use ginnel_embed::{Model, Options};
//!
//! let model = Model::open("models/all-MiniLM-L6-v2".as_ref())?;
//! let vectors = model.embed(&["a text", "another"], &Options::default())?;
//! assert_eq!(vectors[0].len(), model.dimensions());
//! # Ok::<(), ginnel_embed::Error>(())
//! ```

mod attention;
mod config;
mod encoder;
mod error;
mod folder;
mod identity;
mod kernel;
mod load;
mod math;
mod matrix;
mod model;
mod pool;
mod recipe;
mod tokenizer;
mod weights;
mod work;

pub use error::Error;
pub use model::{Model, Options, Purpose};
pub use tokenizer::{Token, Tokenizer, Tokens};
