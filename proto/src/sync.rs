//! What devices need in order to agree on rows that each of them changes, pure:
//! no clock, disk or network of its own.

pub mod hlc;
