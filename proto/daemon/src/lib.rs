//! What agent and relay do alike as daemons: read settings files, find their
//! state folder, open enough files, log, tell errors, and stop when they are told to.
//!
//! Neither knows the other; what they say to each other is in `ginnel-proto`.

pub mod environment;
pub mod log;
pub mod mistakes;
pub mod open_files;
pub mod output;
pub mod quantity;
pub mod report;
pub mod running;
pub mod shell;
pub mod signal;
pub mod state_dir;
pub mod tally;
pub mod toml_file;
