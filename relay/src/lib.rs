//! The Ginnel relay: the end of the tunnel that stands in the cloud.
#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod daemon;
pub mod dial;
pub mod edge;
pub mod join;
pub mod link;
pub mod links;
pub mod metrics;
pub mod registry;
pub mod relay;
pub mod state;
pub mod upstream;
