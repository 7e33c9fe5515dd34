//! Medians and worst times, as a table that a page of the book can hold.

use ntmobile_testbed::disturbance::Disturbance;
use ntmobile_testbed::site::Outcome;
use std::fmt;
use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

/// What came out so far, in the order in which it was tried.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
}

struct Row {
    disturbance: Disturbance,
    outcomes: Vec<Outcome>,
    failed: usize,
}

impl Figures {
    /// One more round; `None` if traffic did not come back.
    pub(crate) fn add(&mut self, disturbance: &Disturbance, outcome: Option<Outcome>) {
        if self.rows.last().is_none_or(|row| row.disturbance.name != disturbance.name) {
            self.rows.push(Row { disturbance: *disturbance, outcomes: Vec::new(), failed: 0 });
        }
        let Some(row) = self.rows.last_mut() else { return };
        match outcome {
            Some(outcome) => row.outcomes.push(outcome),
            None => row.failed += 1,
        }
    }

    /// Whether traffic always came back.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.failed == 0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what happens | through the relay | directly | longest silence | rounds |")?;
        writeln!(f, "| --- | --- | --- | --- | --- |")?;
        for Row { disturbance, outcomes, failed } in &self.rows {
            let relayed = times(outcomes.iter().map(|outcome| outcome.relayed.back));
            let direct = times(outcomes.iter().map(|outcome| outcome.direct.back));
            let silences = outcomes.iter().flat_map(|outcome| [outcome.relayed.silence, outcome.direct.silence]);
            let silence = silences.max().map_or_else(String::new, seconds);
            let rounds = match failed {
                0 => outcomes.len().to_string(),
                failed => format!("{}, and **{failed} did not come back**", outcomes.len()),
            };
            writeln!(f, "| {} | {relayed} | {direct} | {silence} | {rounds} |", disturbance.what)?;
        }
        Ok(())
    }
}

/// Median and worst.
fn times(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    match times.as_slice() {
        [] => String::new(),
        [only] => seconds(*only),
        [.., worst] => format!("{}, at worst {}", seconds(times[times.len() / 2]), seconds(*worst)),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// What else the machine had to do.
pub(crate) fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let processors = available_parallelism().map_or(1, usize::from);
    format!("{processors} processors; load of the last 1, 5 and 15 minutes: {load}")
}
