//! Columns of text.

use std::io::{self, Write};

use super::printable;

/// Writes rows with each column as wide as its widest cell.
pub(super) fn write<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    let rows: Vec<_> = rows.iter().map(printable_row).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:width$}  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn printable_row<const N: usize>(row: &[String; N]) -> [String; N] {
    row.each_ref().map(|cell| printable::line(cell))
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

    #[test]
    fn cells_are_made_printable() {
        let rows = [["a\u{1b}[31m\nb", "c"]].map(|row| row.map(String::from));
        let mut out = Vec::new();
        write(&mut out, &rows).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "a[31m b  c\n");
    }
}
