//! What all measurements of a run come to: its rows of results.

use super::ledger::{Ledger, SetUp};
use super::measure::Measurement;
use super::topology::Topology;
use crate::record::Conversation;
use crate::scenario::Scenario;
use ntmobile_proto::time::Instant;
use std::time::Duration;

/// A row for each measurement, in their order. `moved` says who lost its old network when; the topology is the one in which
/// the measurements' ends have their standpoints.
pub(crate) fn conclude(
    scenario: &Scenario,
    topology: &Topology,
    rows: &[Measurement],
    moved: &[(String, Instant)],
) -> Vec<Conversation> {
    let finish = |(row, bound): (&Measurement, Option<Duration>)| {
        let (from, to, _) = row.ends();
        let handovers: Vec<Instant> =
            moved.iter().filter(|(who, _)| who == from || who == to).map(|(_, at)| *at).collect();
        row.finish(&handovers, bound)
    };
    rows.iter().zip(bounds(scenario, topology, rows)).map(finish).collect()
}

/// The least that each set-up can have taken, in the order of the rows.
fn bounds(scenario: &Scenario, topology: &Topology, rows: &[Measurement]) -> Vec<Option<Duration>> {
    let mut ledger = Ledger::new(scenario, topology);
    let mut in_time: Vec<usize> = (0..rows.len()).collect();
    in_time.sort_by_key(|index| rows[*index].ends().2);
    let mut bounds = vec![None; rows.len()];
    for index in in_time {
        let row = &rows[index];
        if let Some((mn, cn, path)) = row.standpoints() {
            bounds[index] = ledger.bound(&SetUp { mn, cn, start: row.ends().2, path });
        }
    }
    bounds
}
