//! `ginnel-relay completions` and `man`: for packagers and shells.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Terminal};

/// What `completions` is told.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// What `man` is told.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; made if there is none
    dir: PathBuf,
}

pub(super) fn completions(
    args: &CompletionsArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    // Into memory first: the generator panics when the pipe breaks.
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Ok(terminal.out.write_all(&script)?)
}

pub(super) fn man(args: &ManArgs, terminal: &mut Terminal<'_>) -> anyhow::Result<()> {
    let dir = args.dir.display();
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the folder, dir={dir}"))?;
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("cannot write the manual pages, dir={dir}"))?;
    writeln!(terminal.out, "Wrote the manual pages into {dir}")?;
    Ok(())
}
