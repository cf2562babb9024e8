//! `ginnel-relay`: the relay's command line and daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    ginnel_relay::cli::main()
}
