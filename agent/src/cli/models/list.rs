//! What `ginnel models ls` shows.

use std::io::Write;

use ginnel_daemon::quantity::bytes;

use super::plain;
use crate::api::knowledge::artifacts::view::{ArtifactView, Artifacts};
use crate::cli::table;

pub(super) fn write(all: &Artifacts, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows: Vec<_> = all.artifacts.iter().map(row).collect();
    table::write(out, &rows)?;
    for stray in &all.strays {
        let (path, reason) = (plain(&stray.path), plain(&stray.reason));
        writeln!(out, "not a model: {path}: {reason}")?;
    }
    if all.artifacts.is_empty() {
        writeln!(out, "There are no models in {}", plain(&all.folder))?;
        writeln!(out, "hint: ginnel models import --list")?;
    }
    Ok(())
}

fn row(one: &ArtifactView) -> [String; 5] {
    let notes = [
        (one.pinned, "pinned"),
        (one.in_use, "in use"),
        (one.shared, "shared"),
        (one.touched, "written to since it was read"),
        (one.damaged, "damaged"),
    ];
    let notes = notes.into_iter().filter(|(is_so, _)| *is_so);
    let notes: Vec<&str> = notes.map(|(_, note)| note).collect();
    [
        one.name.clone(),
        one.state.clone(),
        bytes(one.bytes),
        one.format.clone().unwrap_or_default(),
        notes.join(", "),
    ]
}
