//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::tunnel::{Group, Plan};
use crate::{hot, instructions, serve, store, tunnel, vectors};

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
    /// Compare vector engines on real vectors
    Vectors(VectorsArgs),
    /// Measure the whole store: adding and searching
    Store {
        /// The folder of the data set and its texts
        #[arg(long, value_name = "FOLDER", default_value = vectors::FOLDER)]
        folder: PathBuf,
        /// How often everything is measured
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
    },
    /// Keep devices in step over a real bucket, beside Litestream
    #[cfg(target_os = "linux")]
    Knowledge {
        /// The folder of the data set and its texts
        #[arg(long, value_name = "FOLDER", default_value = vectors::FOLDER)]
        folder: PathBuf,
        /// How often everything is measured
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// Passages that are there before
        #[arg(long, default_value_t = 70_000, value_name = "COUNT")]
        passages: usize,
        /// Measure only these
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        only: Vec<crate::knowledge::Part>,
        /// Where ginnel and ginnel-relay are [default: they are built]
        #[arg(long, value_name = "FOLDER")]
        programs: Option<PathBuf>,
    },
    /// Move models to a real bucket, beside rclone
    #[cfg(target_os = "linux")]
    Artifacts {
        /// How often the large one is moved
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// Its size
        #[arg(long, default_value_t = 1024, value_name = "MIB")]
        size: u64,
        /// Where ginnel and ginnel-relay are [default: they are built]
        #[arg(long, value_name = "FOLDER")]
        programs: Option<PathBuf>,
    },
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

#[derive(Debug, Args)]
struct VectorsArgs {
    /// The data set
    #[arg(long, default_value = "100k-384")]
    set: String,
    /// The folder of the data sets; indexes are kept in it
    #[arg(long, value_name = "FOLDER", default_value = vectors::FOLDER)]
    folder: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Three rounds of little work
    #[arg(long, conflicts_with = "rounds")]
    short: bool,
    /// Measure only these
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',')]
    only: Vec<vectors::subject::Kind>,
    /// Make the others' indexes again, too
    #[arg(long)]
    rebuild: bool,
    /// Write everything measured to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl VectorsArgs {
    fn plan(self) -> vectors::Plan {
        let subjects = if self.only.is_empty() {
            vectors::subject::Kind::all().to_vec()
        } else {
            self.only
        };
        let (rounds, seconds) = if self.short {
            (3, 0.5)
        } else {
            (self.rounds, 3.0)
        };
        vectors::Plan {
            folder: self.folder,
            set: self.set,
            rounds,
            seconds,
            subjects,
            rebuild: self.rebuild,
            json: self.json,
        }
    }
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
        Command::Vectors(arguments) => vectors::run(&arguments.plan()),
        Command::Store { folder, rounds } => {
            Box::pin(store::run(&store::Plan { folder, rounds })).await
        }
        #[cfg(target_os = "linux")]
        Command::Knowledge {
            folder,
            rounds,
            passages,
            only,
            programs,
        } => {
            let plan = crate::knowledge::Plan {
                folder,
                rounds,
                passages,
                only,
                programs,
            };
            Box::pin(crate::knowledge::run(plan)).await
        }
        #[cfg(target_os = "linux")]
        Command::Artifacts {
            rounds,
            size,
            programs,
        } => {
            let plan = crate::artifacts::Plan {
                rounds,
                mib: size,
                programs,
            };
            Box::pin(crate::artifacts::run(plan)).await
        }
        Command::Instructions { save } => instructions::run(save),
        Command::Hot { path, times } => {
            path.run(times);
            Ok(())
        }
        Command::Part(part) => Box::pin(serve::run(part)).await,
    }
}
