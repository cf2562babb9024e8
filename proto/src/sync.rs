//! What devices need in order to agree on rows that each of them changes, pure:
//! no clock, disk or network of its own.
//!
//! ```text
//! row ── changed on a device, stamped ──▶ batch ──▶ log of that device ──▶ merge
//! hlc     stamp = (hlc, device)           an object        seen: read up to where
//! ```
//!
//! * [`hlc`] makes stamps; [`row`] says which of two states of a row stays.
//! * [`batch`] is the bytes in which changes travel; [`extra`] what a row has
//!   beyond its columns.

pub mod batch;
pub mod extra;
pub mod hlc;
pub mod row;
