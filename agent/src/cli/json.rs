//! Values as JSON, for programs that read what a command writes.
//!
//! Made in memory first: an error of the output would hide in one of JSON, and
//! that its reader has gone would not be seen.

use std::io::Write;

use serde::Serialize;

/// Writes a value on lines of its own, for people too.
pub(super) fn pretty(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(writeln!(out, "{text}")?)
}

/// Writes a value on one line.
pub(super) fn line(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    Ok(writeln!(out, "{text}")?)
}
