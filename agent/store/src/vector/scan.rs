//! The default engine: a scan over codes of one bit a dimension, so small that
//! reading all of them is faster than walking a graph, and so good that a few
//! hundred candidates hold the nearest ten.
//!
//! ```text
//! vector ──▶ rotation ──▶ minus the centre ──▶ sign of each dimension, 1 bit
//!                                          └─▶ one f32 that scales the estimate
//! query  ──▶ rotation ──▶ sums of each 4 dimensions, 16 entries of u8
//! scan: 32 vectors a block, one table look-up for 4 dimensions of 32 vectors
//! ```
//!
//! The query keeps its precision while the data has one bit: the estimate of
//! RaBitQ (Gao and Long, "RaBitQ", SIGMOD 2024), which is unbiased and needs
//! far fewer candidates than comparing bits with bits.

pub mod bytes8;
pub mod candidates;
pub mod code;
pub mod kernel;
pub mod query;
pub mod rotation;
