//! `ginnel`: the agent's command line and daemon.

use std::process::ExitCode;

use clap::Parser as _;
use ginnel_agent::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: the work is moving bytes, and handing them between threads
    // costs more than it gains. The disk has threads of its own.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(_) => ExitCode::FAILURE,
    }
}
