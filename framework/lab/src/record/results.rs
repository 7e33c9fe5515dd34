//! What a run measured: one row for each conversation, and the CSV form of it.

use ntmobile_proto::time::Instant;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// What became of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// Who started.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// `udp`, `tcp` or `ping`.
    pub kind: String,
    /// When the name look-up began.
    pub start: Instant,
    /// Which way its packets went when it ended.
    pub path: Option<Path>,
    /// From the name look-up to the moment the application could send.
    pub set_up: Option<Duration>,
    /// The least that the sequence can take over these links, computed from topology and sequence alone.
    pub bound: Option<Duration>,
    /// Set-up time in round trips between the two ends.
    pub set_up_round_trips: Option<f64>,
    /// Application datagrams sent; segments of a stream are not counted.
    pub sent: u64,
    /// Application datagrams that came back.
    pub received: u64,
    /// Application bytes that reached the other end.
    pub bytes: u64,
    /// From the first byte to the last, of a transfer that came through.
    pub transfer: Option<Duration>,
    /// Round trips through the tunnel.
    pub round_trip: Option<RoundTrips>,
    /// The longest silence around a handover of either end.
    pub gap: Option<Duration>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Which way packets go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// End to end.
    Direct,
    /// Through this RS.
    Relayed(String),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relayed(_) => "relayed",
        })
    }
}

/// The distribution of round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// The shortest.
    pub least: Duration,
    /// The one in the middle.
    pub median: Duration,
    /// The longest.
    pub most: Duration,
}

impl RoundTrips {
    /// Of these; `None` if there are none.
    pub fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        Some(Self { least: *all.first()?, median: all[all.len() / 2], most: *all.last()? })
    }
}

impl Conversation {
    /// Datagrams that never came back.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

const COLUMNS: [&str; 19] = [
    "from",
    "to",
    "kind",
    "start_ms",
    "path",
    "relay",
    "set_up_ms",
    "set_up_round_trips",
    "bound_ms",
    "sent",
    "received",
    "lost",
    "bytes",
    "transfer_ms",
    "round_trip_least_ms",
    "round_trip_median_ms",
    "round_trip_most_ms",
    "gap_ms",
    "failure",
];

/// Writes results as CSV (RFC 4180), a header first. The same results give the same bytes.
pub fn to_csv(conversations: &[Conversation]) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for row in conversations {
        let relay = match &row.path {
            Some(Path::Relayed(relay)) => relay.as_str(),
            _ => "",
        };
        let cells = [
            row.from.clone(),
            row.to.clone(),
            row.kind.clone(),
            millis(Duration::from_nanos(row.start.0)),
            row.path.as_ref().map(Path::to_string).unwrap_or_default(),
            relay.to_owned(),
            row.set_up.map(millis).unwrap_or_default(),
            row.set_up_round_trips.map(|trips| format!("{trips:.3}")).unwrap_or_default(),
            row.bound.map(millis).unwrap_or_default(),
            row.sent.to_string(),
            row.received.to_string(),
            row.lost().to_string(),
            row.bytes.to_string(),
            row.transfer.map(millis).unwrap_or_default(),
            row.round_trip.map(|trips| millis(trips.least)).unwrap_or_default(),
            row.round_trip.map(|trips| millis(trips.median)).unwrap_or_default(),
            row.round_trip.map(|trips| millis(trips.most)).unwrap_or_default(),
            row.gap.map(millis).unwrap_or_default(),
            row.failure.clone().unwrap_or_default(),
        ];
        text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// Milliseconds with all their nanoseconds, exactly.
fn millis(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000)
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// Why a results file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CsvError {
    /// The header is not the one this version writes.
    #[error("the columns are not those this version writes; run the scenario again")]
    Columns,
    /// A row has another number of cells than the header.
    #[error("row {0} has the wrong number of cells")]
    Cells(usize),
    /// A cell cannot be read.
    #[error("row {row}: {cell:?} is not a value of column {column}")]
    Cell {
        /// Counted from 1, the header not included.
        row: usize,
        /// The column's name.
        column: &'static str,
        /// What is there.
        cell: String,
    },
}

/// Reads what [`to_csv`] has written.
pub fn from_csv(text: &str) -> Result<Vec<Conversation>, CsvError> {
    let mut rows = rows(text).into_iter();
    if rows.next().is_none_or(|header| header != COLUMNS) {
        return Err(CsvError::Columns);
    }
    rows.enumerate().map(|(index, cells)| Row { number: index + 1, cells }.read()).collect()
}

/// Splits RFC 4180 text into rows of cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut cell, mut in_quotes) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if in_quotes && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => row.push(std::mem::take(&mut cell)),
            '\r' if !in_quotes => {}
            '\n' if !in_quotes => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

struct Row {
    number: usize,
    cells: Vec<String>,
}

impl Row {
    fn read(self) -> Result<Conversation, CsvError> {
        if self.cells.len() != COLUMNS.len() {
            return Err(CsvError::Cells(self.number));
        }
        let path = match self.text(4) {
            "" => None,
            "direct" => Some(Path::Direct),
            "relayed" => Some(Path::Relayed(self.text(5).to_owned())),
            _ => return Err(self.wrong(4)),
        };
        let trips = (self.duration(14)?, self.duration(15)?, self.duration(16)?);
        Ok(Conversation {
            from: self.text(0).to_owned(),
            to: self.text(1).to_owned(),
            kind: self.text(2).to_owned(),
            start: Instant::ORIGIN + self.duration(3)?.unwrap_or_default(),
            path,
            set_up: self.duration(6)?,
            set_up_round_trips: self.optional(7)?,
            bound: self.duration(8)?,
            sent: self.optional(9)?.unwrap_or_default(),
            received: self.optional(10)?.unwrap_or_default(),
            bytes: self.optional(12)?.unwrap_or_default(),
            transfer: self.duration(13)?,
            round_trip: match trips {
                (Some(least), Some(median), Some(most)) => Some(RoundTrips { least, median, most }),
                _ => None,
            },
            gap: self.duration(17)?,
            failure: (!self.text(18).is_empty()).then(|| self.text(18).to_owned()),
        })
    }

    fn text(&self, column: usize) -> &str {
        &self.cells[column]
    }

    fn wrong(&self, column: usize) -> CsvError {
        CsvError::Cell { row: self.number, column: COLUMNS[column], cell: self.cells[column].clone() }
    }

    fn optional<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>, CsvError> {
        let text = self.text(column);
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| self.wrong(column)) }
    }

    /// Reads what [`millis`] writes, exactly.
    fn duration(&self, column: usize) -> Result<Option<Duration>, CsvError> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let nanos = text.split_once('.').filter(|(_, fraction)| fraction.len() == 6).and_then(|(whole, fraction)| {
            whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
        });
        nanos.map(|nanos| Some(Duration::from_nanos(nanos))).ok_or_else(|| self.wrong(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Conversation {
        Conversation {
            from: "alice".into(),
            to: "bob".into(),
            kind: "udp".into(),
            start: Instant(2_000_000_000),
            path: Some(Path::Relayed("rs1.u1.example".into())),
            set_up: Some(Duration::from_nanos(82_000_001)),
            bound: Some(Duration::from_millis(82)),
            set_up_round_trips: Some(3.0),
            sent: 500,
            received: 498,
            bytes: 99_600,
            transfer: None,
            round_trip: RoundTrips::of(vec![
                Duration::from_millis(3),
                Duration::from_millis(1),
                Duration::from_millis(2),
            ]),
            gap: Some(Duration::from_millis(41)),
            failure: None,
        }
    }

    #[test]
    fn what_is_written_reads_back_to_the_nanosecond() {
        let failed = Conversation {
            path: None,
            set_up: None,
            bound: None,
            set_up_round_trips: None,
            round_trip: None,
            gap: None,
            failure: Some("no relay, \"really\"\nnone".into()),
            ..full()
        };
        let all = vec![full(), failed];
        assert_eq!(from_csv(&to_csv(&all)), Ok(all));
    }

    #[test]
    fn a_row_says_what_was_lost() {
        let text = to_csv(&[full()]);
        let row = text.lines().nth(1).expect("a header and a row");
        assert!(
            row.starts_with("alice,bob,udp,2000.000000,relayed,rs1.u1.example,82.000001,3.000,82.000000,500,498,2,"),
            "{row}"
        );
    }

    #[test]
    fn a_file_of_another_version_or_a_broken_one_is_refused() {
        assert_eq!(from_csv("a,b\r\n"), Err(CsvError::Columns));
        let text = to_csv(&[full()]);
        assert_eq!(from_csv(&text.replace(",498,", ",")), Err(CsvError::Cells(1)));
        let wrong = from_csv(&text.replace("82.000001", "soon")).expect_err("no time");
        assert_eq!(wrong.to_string(), "row 1: \"soon\" is not a value of column set_up_ms");
    }

    #[test]
    fn round_trips_are_ordered_before_the_middle_is_taken() {
        let trips = full().round_trip.expect("there are three");
        assert_eq!((trips.least.as_millis(), trips.median.as_millis(), trips.most.as_millis()), (1, 2, 3));
        assert_eq!(RoundTrips::of(Vec::new()), None);
    }
}
