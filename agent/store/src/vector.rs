//! Vector indexes: which rows are nearest to a query.

pub mod scan;
