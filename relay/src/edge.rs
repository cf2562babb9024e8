//! The public side: callers' HTTP in, devices' answers out.
//!
//! [`listen`] takes connections, [`guard`] and [`scanner`] refuse bad
//! framing, [`route`] finds the device and service, [`access`] decides who
//! may, and [`proxy::forward`] is the one function to read.

pub mod accept;
pub mod access;
pub mod answer;
mod chunks;
pub mod guard;
mod head;
pub mod listen;
pub mod patient;
pub mod proxy;
pub mod route;
pub mod scanner;
