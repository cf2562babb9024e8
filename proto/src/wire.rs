//! The generated protobuf messages. Private: the rest of the crate turns them
//! into types that cannot be invalid.

#![allow(
    missing_docs,
    unnameable_types,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    reason = "generated from schema/ginnel.proto; the test in schema/ keeps it in step"
)]

include!("wire/ginnel.v1.rs");
