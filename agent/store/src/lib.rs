//! Documents, passages and vectors in one SQLite file, searched in
//! milliseconds.

pub mod vector;
