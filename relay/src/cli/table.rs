//! Tables as aligned text.

use std::io::{self, Write};

/// Which side of its column a cell is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For texts.
    Left,
    /// For numbers.
    Right,
}

/// Rows under a header.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    columns: [(&'static str, Align); COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: [(&'static str, Align); COLUMNS]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.map(|cell| printable(&cell)));
    }

    /// Writes the header and the rows, columns two spaces apart.
    ///
    /// # Errors
    /// The output is gone.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = self.columns.map(|(name, _)| name.to_owned());
        let width = |column: usize| {
            let rows = self.rows.iter().chain([&header]);
            let cells = rows.filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for row in [&header].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).zip(self.columns);
            let padded = cells.map(|((cell, width), (_, align))| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text with what could steer a terminal taken out: devices and callers
/// choose some of what is shown.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("COUNT", Align::Right),
            ("X", Align::Left),
        ]);
        table.push(["é".into(), "1234567".into(), String::new()]);
        table.push(["longer".into(), "8".into(), "y\u{1b}[2J".into()]);
        let mut out = Vec::new();
        table.write(&mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "NAME      COUNT  X\n\
             é       1234567\n\
             longer        8  y?[2J\n"
        );
    }
}
