//! A real bucket for tests: SeaweedFS, which `tests/bucket` installs, and a
//! small client that signs as S3 wants.
//!
//! ```no_run
//! # async fn example() {
//! use ginnel_tests::bucket::{Ask, Weed};
//! let Some(weed) = Weed::start().await else { return };
//! let bucket = weed.bucket("models").await;
//! let answer = bucket.ask(Ask::put("phi.gguf", "GGUF")).await;
//! assert_eq!(answer.status, 200);
//! # }
//! ```

mod client;
mod sign;
pub mod strict;
mod weed;

pub use client::{Answer, Ask, Bucket};
pub use sign::Keys;
pub use strict::Strict;
pub use weed::Weed;
