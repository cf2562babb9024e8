//! The Ginnel agent: the end of the tunnel that runs on a desktop.
//!
//! `ginnel up` is [`daemon::run`]. The parts, outermost first:
//!
//! * [`link`] keeps one live link to the relay, and [`link_report`] tells how
//!   it goes; [`clock`] and [`platform`] notice sleep and moves.
//! * [`serve`] serves what the relay asks for, through [`local`], from the
//!   allow list in [`services`]. [`demo`] is a service of our own; `failures`
//!   tells the owner which service fails.
//! * [`api`] is what local programs ask, guarded by [`local_token`];
//!   [`gateway`] is their way out.
//! * [`knowledge`] is what this device knows, and [`models`] what it keeps of
//!   models; both are in one store. [`sync`] moves artifacts between this
//!   device and the relay.
//! * [`join`] gives the device its identity; `renewal` says when it ends.
//! * [`cli`] is the command line; [`local_client`] is how it asks the daemon
//!   that [`running`] finds; [`tcp`] is one of its commands.
//!
//! Deliberately absent: anything that lets the relay name a host, a path or a
//! program of this machine. It names services on the allow list.

#![forbid(unsafe_code)]

mod accept;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod embed;
mod failures;
pub mod gateway;
pub mod heard;
pub mod join;
pub mod knowledge;
pub mod link;
pub mod link_report;
pub mod local;
pub mod local_client;
pub mod local_token;
pub mod models;
pub mod platform;
mod renewal;
pub mod running;
pub mod serve;
pub mod services;
pub mod status;
pub mod sync;
pub mod tcp;
mod web;
