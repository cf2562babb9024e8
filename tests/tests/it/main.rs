//! The integration tests: real sockets, real daemons, one process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod abuse;
mod access;
mod agent_log;
mod agent_renewal;
mod answers;
mod bodies;
mod cloud_tunnel;
mod expect;
mod failures;
mod forwarding;
mod grpc;
mod grpc_service;
mod hops;
mod hostile;
mod http;
mod join;
mod layers;
mod life;
mod streams;
mod tcp;
mod tls;
mod trailers;
mod upgrade;
mod upstream;
mod websocket;
