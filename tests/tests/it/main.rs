//! The integration tests: real sockets, real daemons, one process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod forwarding;
