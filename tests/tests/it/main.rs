//! The integration tests: real sockets, real daemons, one process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking and say what they measured"
)]

mod abuse;
mod access;
mod agent_log;
mod agent_renewal;
mod answers;
#[cfg(unix)]
mod artifacts;
mod bodies;
mod bucket;
#[cfg(target_os = "linux")]
mod chaos;
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
#[cfg(unix)]
mod knowledge;
mod layers;
mod life;
mod limits;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod processes;
mod streams;
#[cfg(unix)]
mod sync;
mod tcp;
mod tls;
mod trailers;
mod upgrade;
mod upstream;
mod websocket;
