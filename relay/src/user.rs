//! All that a relay and its bucket have of a user: given away as an archive, or
//! erased.
//!
//! * [`belongings`] finds the objects.
//! * [`export`] writes them into an archive, [`erase`] deletes them.

pub mod belongings;
pub mod erase;
pub mod export;
