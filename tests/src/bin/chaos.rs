//! Breaks transfers of models at random moments, with real processes: see
//! [`ginnel_tests::chaos`].

#[cfg(target_os = "linux")]
use {
    clap::Parser,
    ginnel_tests::chaos::world::Programs,
    ginnel_tests::chaos::{Direction, Plan, run},
    std::path::PathBuf,
    std::process::ExitCode,
};

/// What may travel twice for one fault, in bytes.
#[cfg(target_os = "linux")]
const TWICE_UP: u64 = 16 << 20;
#[cfg(target_os = "linux")]
const TWICE_DOWN: u64 = 64 << 20;

/// Pushes and pulls a model, over and over, and kills something each time
///
/// Relay, two devices and the bucket are processes of their own. Ends with 1 as
/// soon as a file is another than it should be, progress goes backwards or a
/// transfer is not done, and if more than 16 MiB up or 64 MiB down travelled
/// twice for one fault. Needs what tests/bucket installs; 200 faults take about
/// half an hour.
///
///     tests/bucket
///     cargo build --release -p ginnel-agent -p ginnel-relay
///     cargo run --release -p ginnel-tests --bin chaos -- --hits 200
#[cfg(target_os = "linux")]
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Cli {
    /// How many faults must find a transfer at work
    #[arg(long, default_value_t = 200)]
    hits: u32,

    /// What faults, moments and files are drawn from [default: a new one]
    #[arg(long)]
    seed: Option<u64>,

    /// Where ginnel and ginnel-relay are [default: beside this program]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a program that is read by people")]
async fn main() -> std::io::Result<ExitCode> {
    let cli = Cli::parse();
    let own = std::env::current_exe()?;
    let beside = own.parent().map(PathBuf::from).unwrap_or_default();
    let plan = Plan {
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        hits: cli.hits,
        programs: Programs::Folder(cli.programs.unwrap_or(beside)),
    };
    let Some(report) = run(plan).await else {
        return Ok(ExitCode::FAILURE);
    };
    print!("{report}");
    for wrong in &report.wrong {
        println!("wrong: {wrong}");
    }
    let within = report.twice_at_most(Direction::Push) <= TWICE_UP
        && report.twice_at_most(Direction::Pull) <= TWICE_DOWN;
    Ok(match report.wrong.is_empty() && within {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {}
