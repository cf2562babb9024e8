//! A link: one QUIC connection between a device and its relay.
//!
//! This crate runs `ginnel-proto`'s state machines over quinn, and is the only
//! one that names quinn. What it offers, from the bottom up:
//!
//! * [`network`]: the socket underneath. UDP here; anything that moves
//!   datagrams in its place, such as the simulator's.
//! * [`transport`]: every limit and timer of QUIC, set on purpose.
//! * [`endpoint`]: the relay's [`Listener`](endpoint::Listener) and the
//!   device's [`Dialer`](endpoint::Dialer).
//! * [`link`]: [`Link`](link::Link), which opens and accepts streams.
//! * [`stream`]: frames on a stream; [`body`]: the one body pump, without a
//!   copy; [`splice`]: raw bytes for TCP and upgrades.
//! * `pace`: how fast bulk streams send, so that requests do not wait for them.
//! * [`driver`]: the control stream and the heartbeat of a link.
//!
//! It does not decide who may connect (the relay does), never retries (the
//! agent does), and knows nothing of HTTP beyond heads, bodies and trailers.

#![forbid(unsafe_code)]

pub mod body;
pub mod chunks;
pub mod cut;
pub mod driver;
pub mod endpoint;
pub mod error;
pub mod link;
pub mod network;
mod pace;
pub mod splice;
pub mod stream;
pub mod transport;
#[cfg(target_os = "linux")]
mod udp;
