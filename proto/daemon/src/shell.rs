//! What a program offers to shells and packagers: completions and manual
//! pages, made from its own command line.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

/// Writes the script that completes `command` in a shell.
///
/// # Errors
/// The output is gone.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) -> anyhow::Result<()> {
    // Into memory first: the generator panics when the pipe breaks.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(out.write_all(&script)?)
}

/// Writes the manual page of `command`, or all its pages into a folder, which
/// is made if there is none.
///
/// # Errors
/// The output is gone, or the folder cannot be written.
pub fn man(command: Command, dir: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(out.write_all(&page)?);
    };
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder, dir={shown}"))?;
    clap_mangen::generate_to(command, dir)
        .with_context(|| format!("cannot write the manual pages, dir={shown}"))?;
    Ok(writeln!(out, "Wrote the manual pages into {shown}")?)
}
