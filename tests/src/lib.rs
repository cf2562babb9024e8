//! The test bench: a relay, agents and local services in one process, over
//! real sockets on loopback, on ports the system picks.
//!
//! ```no_run
//! # async fn example() {
//! use ginnel_tests::lab::Lab;
//! let lab = Lab::start().await;
//! lab.agent.share("web", "demo").await;
//! let response = lab.get("web", "/echo").await;
//! assert_eq!(response.status(), 200);
//! # }
//! ```

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test bench fails by panicking and says why"
)]

pub mod artifacts;
pub mod bucket;
#[cfg(unix)]
pub mod by_hand;
pub mod caller;
#[cfg(target_os = "linux")]
pub mod chaos;
pub mod device;
#[cfg(unix)]
pub mod knowledge;
pub mod lab;
pub mod origin;
pub mod pattern;
#[cfg(target_os = "linux")]
pub mod processes;
pub mod sim;
pub mod tls;
pub mod wait;
pub mod wire;
