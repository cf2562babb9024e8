//! What `ginnel models show` shows.

use std::io::Write;

use ginnel_daemon::quantity::bytes;

use super::plain;
use crate::api::knowledge::artifacts::view::{ArtifactView, HeaderView, TensorView};
use crate::cli::table;

pub(super) fn write(found: &ArtifactView, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut rows = vec![
        row("name", &found.name),
        row("state", &found.state),
        row("file", &found.path),
        row("size", &bytes(found.bytes)),
    ];
    let optional = [
        ("format", &found.format),
        ("blake3", &found.blob),
        ("problem", &found.problem),
    ];
    for (name, value) in optional {
        rows.extend(value.as_ref().map(|value| row(name, value)));
    }
    if let Some(remote) = &found.remote {
        let size = bytes(remote.bytes);
        rows.push(row("published", &format!("{size}, {}", remote.blob)));
    }
    let notes = [
        (found.pinned, "pinned"),
        (found.in_use, "in use"),
        (found.shared, "shared with another program"),
        (found.touched, "written to since it was read"),
        (found.damaged, "damaged"),
    ];
    for (_, note) in notes.into_iter().filter(|(is_so, _)| *is_so) {
        rows.push(row("note", note));
    }
    if let Some(header) = &found.header {
        rows.extend(of_header(header));
    }
    table::write(out, &rows)?;
    if let Some(header) = &found.header {
        writeln!(out)?;
        let tensors: Vec<_> = header.tensors.iter().map(tensor).collect();
        table::write(out, &tensors)?;
    }
    Ok(())
}

fn of_header(header: &HeaderView) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    if let Some(architecture) = &header.architecture {
        rows.push(row("architecture", architecture));
    }
    rows.push(row("parameters", &count(header.parameters)));
    if let Some(quantization) = &header.quantization {
        rows.push(row("quantization", quantization));
    }
    if let Some(length) = header.context_length {
        rows.push(row("context length", &format!("{length} tokens")));
    }
    rows.push(row("tensors", &header.tensors.len().to_string()));
    rows
}

fn tensor(tensor: &TensorView) -> [String; 4] {
    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    [
        plain(&tensor.name),
        plain(&tensor.kind),
        shape.join(" × "),
        bytes(tensor.bytes),
    ]
}

fn row(name: &str, value: &str) -> [String; 2] {
    [name.to_owned(), plain(value)]
}

/// A number as people say it: `22.7 M`, and in full.
fn count(number: u64) -> String {
    const UNITS: [(u64, &str); 3] = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "B"),
        (1_000_000, "M"),
    ];
    for (unit, name) in UNITS {
        if number >= unit {
            let tenths = number / (unit / 10);
            return format!("{}.{} {name} ({number})", tenths / 10, tenths % 10);
        }
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_as_people_do() {
        for (number, shown) in [
            (0, "0"),
            (999_999, "999999"),
            (22_713_216, "22.7 M (22713216)"),
            (8_030_261_248, "8.0 B (8030261248)"),
            (1_000_000_000_000, "1.0 T (1000000000000)"),
        ] {
            assert_eq!(count(number), shown);
        }
    }
}
