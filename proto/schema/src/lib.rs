//! The protobuf schema of Ginnel's messages, and the test that holds the
//! generated code in `ginnel-proto` to it.
//!
//! A package of its own, so that the code can be generated anew when it no
//! longer fits the rest of `ginnel-proto`.

#![forbid(unsafe_code)]

/// The schema, as text.
pub const SCHEMA: &str = include_str!("../ginnel.proto");
