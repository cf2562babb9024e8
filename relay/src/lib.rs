//! The Ginnel relay: the end of the tunnel that stands in the cloud.
//!
//! `ginnel-relay serve` is [`daemon::run`]. The parts, outermost first:
//!
//! * [`edge`] is the public side; [`edge::proxy::forward`] is the one function
//!   to read.
//! * [`link`] takes devices in and serves their links; [`links`] knows who is
//!   connected; [`join`] enrols new ones.
//! * [`upstream`] calls cloud APIs for devices; [`dial`] connects devices'
//!   TCP services.
//! * [`sync`] moves artifacts between devices and the bucket, [`objects`].
//! * [`relay`] is what they all share; [`registry`] is who may use it, kept in
//!   [`state`]; [`metrics`] is what it counts, shown by [`admin`].
//! * [`cli`] is the command line, [`config`] what it reads.
//!
//! Deliberately absent: anything that knows what a device's service is. The
//! relay moves heads and bodies; it never reads the latter, except to count
//! what an upstream charges for.

#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dial;
pub mod drain;
pub mod edge;
pub mod join;
pub mod knowledge;
pub(crate) mod ledger;
pub mod link;
pub mod links;
pub mod metrics;
pub mod objects;
pub mod registry;
pub mod relay;
pub(crate) mod room;
pub(crate) mod running;
pub mod shares;
pub mod state;
pub mod sync;
pub mod upstream;
pub mod user;
