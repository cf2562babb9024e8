//! `ginnel-benches`: see `benches/README.md`.

use clap::Parser as _;
use ginnel_benches::cli::{Cli, run};

/// One thread, as in the relay and the agent: the machine has two cores, and
/// the other one belongs to the other side.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    run(Cli::parse()).await
}
