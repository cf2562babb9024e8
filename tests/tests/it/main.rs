//! The integration tests: real sockets, real daemons, one process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod access;
mod answers;
mod bodies;
mod cloud_tunnel;
mod failures;
mod forwarding;
mod hops;
mod http;
mod join;
mod layers;
mod streams;
mod tcp;
mod trailers;
mod upstream;
mod websocket;
