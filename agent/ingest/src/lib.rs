//! Files become documents, and documents passages.
//!
//! The bytes of a file go in; a text with its structure comes out, and the
//! places to cut it at. Pure but for reading files: no database, no network,
//! no runtime. The agent calls it from threads of its own.
#![forbid(unsafe_code)]

pub mod cut;
pub mod document;
pub mod error;
pub mod estimate;
pub mod extract;
pub mod format;
pub mod jsonl;
pub mod limits;
pub mod pdf;
pub mod read_stable;
pub mod walk;

mod code;
mod decode;
mod html;
mod markdown;
mod metadata;
mod sentence;
mod text;
