//! The state machines of a link: pure, with `now` as an argument.
//!
//! Each has the same four kinds of method: `handle_*` takes what the network
//! or the clock brings, commands take what the program wants, `poll_*` hands
//! out what is to be sent, reported or waited for, and the rest looks.
//! After any `handle_*` or command, drain every `poll_*`.

pub mod backoff;
pub mod heartbeat;
pub mod session;
