//! Documents, passages and vectors in one SQLite file, searched in
//! milliseconds.

pub mod error;
pub mod vector;
