//! What was measured: every figure with its round, the medians, and the machine; as text, CSV and JSON.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One figure of one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Which part of the experiment: a table of its own.
    pub(crate) part: &'static str,
    /// Who or what.
    pub(crate) row: String,
    /// The figure's name, with its unit.
    pub(crate) column: String,
    pub(crate) round: u32,
    pub(crate) value: f64,
    /// Whether the machine was not quiet in this round.
    pub(crate) disturbed: bool,
}

/// The middle of several figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Median {
    /// Of these; `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most, rounds) = (*values.first()?, *values.last()?, values.len());
        let value = values[(rounds - 1) / 2].midpoint(values[rounds / 2]);
        Some(Self { value, least, most, rounds })
    }
}

/// A run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    /// The machine and the settings, as lines.
    pub(crate) machine: Vec<String>,
    /// What was there, in which version, or how to get it.
    pub(crate) contestants: Vec<(String, String)>,
    /// What went wrong, and when the machine was not quiet.
    pub(crate) remarks: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

impl Record {
    /// The median of one cell.
    pub(crate) fn median(&self, part: &str, row: &str, column: &str) -> Option<Median> {
        let is_it = |sample: &&Sample| sample.part == part && sample.row == row && sample.column == column;
        Median::of(self.samples.iter().filter(is_it).map(|sample| sample.value).collect())
    }

    /// The samples of a part.
    fn part(&self, part: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.part == part)
    }

    /// The rows of a part, in the order of their first appearance.
    pub(crate) fn rows(&self, part: &str) -> Vec<&str> {
        distinct(self.part(part).map(|sample| sample.row.as_str()))
    }

    /// The columns of a part, in the order of the row that has most: others may lack some in the middle.
    pub(crate) fn columns(&self, part: &str) -> Vec<&str> {
        let of = |row: &str| {
            distinct(self.part(part).filter(|sample| sample.row == row).map(|sample| sample.column.as_str()))
        };
        let fullest = self.rows(part).into_iter().map(of).max_by_key(Vec::len).unwrap_or_default();
        distinct(fullest.into_iter().chain(self.part(part).map(|sample| sample.column.as_str())))
    }

    /// Every figure on a line.
    pub(crate) fn csv(&self) -> String {
        let mut out = "part,row,column,round,value,disturbed\n".to_owned();
        for Sample { part, row, column, round, value, disturbed } in &self.samples {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{part},{},{},{round},{value},{disturbed}", quoted(row), quoted(column));
        }
        out
    }

    /// Everything, with the medians.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let mut medians: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, Median>>> = BTreeMap::new();
        for Sample { part, row, column, .. } in &self.samples {
            if let Some(median) = self.median(part, row, column) {
                medians.entry(part).or_default().entry(row).or_default().insert(column, median);
            }
        }
        serde_json::to_string_pretty(&serde_json::json!({ "medians": medians, "run": self }))
    }
}

/// Each once, in the order of first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(row: &str, round: u32, value: f64) -> Sample {
        let (row, column) = (row.to_owned(), "Mb/s".to_owned());
        Sample { part: "tools", row, column, round, value, disturbed: false }
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(Median::of(vec![]), None);
        let expected = Median { value: 2.5, least: 1.0, most: 9.0, rounds: 4 };
        assert_eq!(Median::of(vec![9.0, 1.0, 3.0, 2.0]), Some(expected));
        assert_eq!(Median::of(vec![5.0, 1.0, 9.0]).map(|median| median.value), Some(5.0));
    }

    #[test]
    fn columns_stand_as_in_the_fullest_row() {
        let mut samples =
            vec![sample("raw", 1, 1.0), sample("tool", 1, 1.0), sample("tool", 1, 1.0), sample("raw", 1, 1.0)];
        for (sample, column) in samples.iter_mut().zip(["TCP", "TCP", "CPU", "ping"]) {
            sample.column = column.to_owned();
        }
        samples.push(Sample { column: "ping".to_owned(), ..sample("tool", 1, 1.0) });
        assert_eq!(Record { samples, ..Record::default() }.columns("tools"), ["TCP", "CPU", "ping"]);
    }

    #[test]
    fn rows_keep_their_order_and_commas_are_quoted() {
        let samples = vec![sample("ours, whole", 1, 2.0), sample("bare", 1, 4.0), sample("ours, whole", 2, 3.0)];
        let record = Record { samples, ..Record::default() };
        assert_eq!(record.rows("tools"), ["ours, whole", "bare"]);
        assert_eq!(record.median("tools", "ours, whole", "Mb/s").map(|median| median.value), Some(2.5));
        assert!(record.csv().contains("\ntools,\"ours, whole\",Mb/s,2,3,false\n"));
        assert!(record.json().is_ok_and(|text| text.contains("\"medians\"")));
    }
}
