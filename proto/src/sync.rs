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
//! * [`sending`] says when a batch is written, [`reading`] which are fetched, and
//!   [`beginning`] what comes before them.
//! * [`publishing`] says when a device publishes all as one database, which it
//!   may while it has the [`lease`]; a [`manifest`] says what is published.
//! * [`horizon`] says what all devices know, so that what is kept for them can go.
//! * [`keep`] says which snapshots are kept, for a restore.
//! * [`seal`] hides batches and what is published from whoever keeps them.
//! * [`head`] hints at how long the logs are, and [`listing`] says which batches they have.

pub mod batch;
pub mod beginning;
pub mod extra;
pub mod head;
pub mod hlc;
pub mod horizon;
pub mod keep;
pub mod lease;
pub mod listing;
pub mod manifest;
pub mod publishing;
pub mod reading;
pub mod row;
pub mod seal;
pub mod sending;
