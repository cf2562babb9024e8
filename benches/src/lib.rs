//! Measures the tunnel, end to end against controls and peers and its hot paths
//! one by one, and vector search against other engines.
//!
//! * [`tunnel`] runs whole processes over loopback, interleaved in rounds, and
//!   prints a table with the targets beside it.
//! * [`instructions`] counts the instructions of [`hot`] paths, which do not
//!   depend on how busy the machine is.
//! * [`vectors`] compares the store's vector engines with others.
//! * [`store`] measures the whole store.
//! * `artifacts` moves models to a bucket, beside rclone.
//! * `knowledge` keeps devices in step, beside Litestream.
//!
//! What runs in its own process is in [`serve`]; who is measured is in
//! [`subjects`]. Nothing here is part of the product.

#![cfg_attr(not(feature = "peers"), forbid(unsafe_code))]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its results and how far it is"
)]

#[cfg(target_os = "linux")]
pub mod artifacts;
pub mod bare;
pub mod cli;
pub mod controls;
pub mod devices;
pub mod ginnel;
pub mod hot;
pub mod http1;
pub mod identity;
pub mod instructions;
#[cfg(target_os = "linux")]
pub mod knowledge;
pub mod load;
pub mod origin;
pub mod peers;
pub mod priority;
pub mod process;
pub mod report;
pub mod samples;
pub mod serve;
pub mod store;
pub mod subjects;
pub mod targets;
pub mod tunnel;
pub mod vectors;
