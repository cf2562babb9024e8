//! Columns of text.

use std::io::{self, Write};

/// Writes rows with each column as wide as its widest cell.
pub(super) fn write<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:width$}  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = [["a", "b", ""], ["long", "ä", "c"]].map(|row| row.map(String::from));
        let mut out = Vec::new();
        write(&mut out, &rows).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "a     b\nlong  ä  c\n");
    }
}
