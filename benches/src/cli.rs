//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::tunnel::{Group, Plan};
use crate::{hot, instructions, serve, tunnel};

/// Measures Ginnel against controls and peers
#[derive(Debug, Parser)]
#[command(name = "ginnel-benches")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the whole tunnel, in rounds
    Tunnel(TunnelArgs),
    /// Count the instructions of the hot paths
    Instructions {
        /// Store the counts, to compare later ones with
        #[arg(long)]
        save: bool,
    },
    /// Run a hot path so many times
    #[command(hide = true)]
    Hot { path: hot::HotPath, times: u32 },
    /// Run a part of a tunnel run
    #[command(hide = true, subcommand)]
    Part(serve::Part),
}

#[derive(Debug, Args)]
struct TunnelArgs {
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Use small sizes, only to see that all works
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    only: Vec<Group>,
    /// Write everything measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure without other tunnels to compare with
    #[arg(long)]
    without_peers: bool,
}

/// Does what the command line says.
///
/// # Errors
/// It failed.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Tunnel(TunnelArgs {
            rounds,
            quick,
            only,
            json,
            without_peers,
        }) => {
            let plan = Plan {
                rounds,
                quick,
                only,
                json,
                without_peers,
            };
            Box::pin(tunnel::run(plan)).await
        }
        Command::Instructions { save } => instructions::run(save),
        Command::Hot { path, times } => {
            path.run(times);
            Ok(())
        }
        Command::Part(part) => Box::pin(serve::run(part)).await,
    }
}
