//! Text in columns.

use std::io::{self, Write};

/// Rows of cells that line up when they are written.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell: its text, and how wide that is without escape sequences.
#[derive(Debug)]
struct Cell {
    text: String,
    width: usize,
    right: bool,
}

impl Table {
    /// Adds a row; each cell is text, and whether it is a number to be aligned on the right.
    pub fn row<const N: usize>(&mut self, cells: [(String, bool); N]) {
        let cells = cells.into_iter().map(|(text, right)| Cell { width: width(&text), text, right });
        self.rows.push(cells.collect());
    }

    /// Writes it, indented by two, columns two apart. Columns in which nothing stands are left out.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| Some(row.get(column)?.width)).max().unwrap_or_default())
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
                let padding = " ".repeat(width - cell.width);
                line.push_str("  ");
                line.push_str(&if cell.right { padding + &cell.text } else { cell.text.clone() + &padding });
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// How many characters are seen.
fn width(text: &str) -> usize {
    let mut seen = 0;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '\x1b' => escaped = true,
            'm' if escaped => escaped = false,
            _ if escaped => {}
            _ => seen += 1,
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_coloured() {
        let mut table = Table::default();
        table.row([("alice".into(), false), (String::new(), false), ("7".into(), true)]);
        table.row([("\x1b[1mbo\x1b[0m".into(), false), (String::new(), false), ("12".into(), true)]);
        let mut out = Vec::new();
        table.write(&mut out).expect("memory takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "  alice   7\n  \x1b[1mbo\x1b[0m     12\n");
    }
}
