//! The tables of a run: one for each part, medians only.

use crate::record::{Median, Record};
use std::fmt::Write;

/// All tables, as text that is Markdown too.
pub(crate) fn tables(record: &Record, titles: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (part, title) in titles {
        let (rows, columns) = (record.rows(part), record.columns(part));
        if rows.is_empty() {
            continue;
        }
        let mut lines =
            vec![std::iter::once(String::new()).chain(columns.iter().map(|&c| c.to_owned())).collect::<Vec<_>>()];
        for row in rows {
            let cells = columns.iter().map(|column| record.median(part, row, column).map_or("–".to_owned(), cell));
            lines.push(std::iter::once(row.to_owned()).chain(cells).collect());
        }
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "\n{title}\n");
        aligned(&lines, &mut out);
    }
    let _ = writeln!(out);
    for (name, version) in &record.contestants {
        let _ = writeln!(out, "{name}: {version}");
    }
    for line in record.machine.iter().chain(&record.remarks) {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn cell(median: Median) -> String {
    number(median.value)
}

/// Three significant digits at least, no more than help.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

fn aligned(lines: &[Vec<String>], out: &mut String) {
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    for (number, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            let _ = if column == 0 { write!(out, "| {cell:<width$} |") } else { write!(out, " {cell:>width$} |") };
        }
        out.push('\n');
        if number == 0 {
            for column in 0..line.len() {
                let dashes = "-".repeat(width(column).unwrap_or(0));
                let _ = if column == 0 { write!(out, "| {dashes} |") } else { write!(out, " {dashes} |") };
            }
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;

    #[test]
    fn numbers_have_as_many_digits_as_help() {
        assert_eq!([0.0496, 1.234, 45.67, 7_457.3].map(number), ["0.050", "1.23", "45.7", "7,457"]);
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let sample = |row: &str, column: &str, value| Sample {
            part: "tools",
            row: row.to_owned(),
            column: column.to_owned(),
            round: 1,
            value,
            disturbed: false,
        };
        let samples = vec![sample("a", "x", 1.0), sample("bb", "x", 20.0), sample("bb", "y", 3.0)];
        let text = tables(&Record { samples, ..Record::default() }, &[("tools", "Tools"), ("none", "None")]);
        assert_eq!(
            text.trim_end(),
            "\nTools\n\n|    |    x |    y |\n| -- | ---- | ---- |\n| a  | 1.00 |    – |\n| bb | 20.0 | 3.00 |"
        );
    }
}
