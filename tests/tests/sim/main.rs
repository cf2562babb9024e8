//! The simulation's stories.
//!
//! `days` draws whatever can go wrong from seeds; the others tell one thing
//! each. To run other days:
//!
//! ```text
//! GINNEL_SIM_FIRST=1000 GINNEL_SIM_SEEDS=500 GINNEL_SIM_HOURS=24 cargo test -p ginnel-tests --test sim days
//! ```

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they measured"
)]

mod congestion;
mod crowd;
mod days;
mod dead_peer;
mod determinism;
mod fairness;
mod knowledge;
mod load;
mod manners;
mod moves;
mod quiet;
mod restart;
mod silence;
