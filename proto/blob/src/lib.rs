//! Blobs cut into chunks, so that only what changed has to travel.
//!
//! ```text
//! bytes ─ format ─▶ borders of tensors ─▶ cut ─▶ chunks ─ hash ─▶ index
//!                                                  │               │ plan: what is lacking, and
//!                                                  └─ pack ─▶ wire ┘       where the rest comes from
//! ```
//!
//! Device and relay both use it. Pure: bytes in, values out; whoever calls
//! owns files, threads and streams.
#![forbid(unsafe_code)]

pub mod cut;
pub mod format;
pub mod gguf;
pub mod hash;
pub mod index;
pub mod pack;
pub mod parts;
pub mod plan;
pub mod safetensors;
pub mod tensor;
