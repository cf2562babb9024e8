//! What was released stays readable: the bytes of every message, frame and
//! datagram, and the tables of `docs/PROTOCOL.md`.
//!
//! Lines of `golden/bytes.txt` are only ever added, never changed or removed:
//! an agent in the field still sends them.

#![allow(
    clippy::panic,
    reason = "a test fails by panicking and says why, its helpers too"
)]

#[path = "golden/document.rs"]
mod document;
#[path = "golden/grease.rs"]
mod grease;
#[path = "golden/released.rs"]
mod released;
#[path = "golden/wire.rs"]
mod wire;
