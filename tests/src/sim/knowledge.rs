//! Devices of one user, relays and a bucket, of which everything fails that can:
//! what the devices know in the end is held against what was done.
//!
//! What runs on a device is the code that ships, above the HTTP exchange with the
//! relay; [`cloud`] plays relays and bucket. Time is tokio's paused clock, and
//! SQLite's files are real, so that a device that crashes opens what it had.

pub mod cloud;
pub mod device;
pub mod story;
