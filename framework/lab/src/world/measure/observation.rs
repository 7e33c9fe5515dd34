//! What one end has seen of a conversation, as the process of its node tells it to the lab.

use super::Measurement;
use crate::record::Path;
use ntmobile_proto::time::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One end's share of a measurement. All times are nanoseconds since the run began, durations nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Observation {
    started: u64,
    first_path: Option<Path>,
    path: Option<Path>,
    set_up: Option<u64>,
    sent: u64,
    received: u64,
    bytes: u64,
    arrivals: Vec<u64>,
    round_trips: Vec<u64>,
    transfer_began: Option<u64>,
    transferred: Option<u64>,
    failure: Option<String>,
}

/// Which end has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that started the conversation (MN).
    Caller,
    /// The one that was called (CN).
    Callee,
}

impl Measurement {
    /// What has been seen of it here.
    pub(crate) fn observed(&self) -> Observation {
        let nanoseconds = |times: &[Instant]| times.iter().map(|at| at.0).collect();
        Observation {
            started: self.start.0,
            first_path: self.first_path.clone(),
            path: self.path.clone(),
            set_up: self.set_up.map(nanos),
            sent: self.sent,
            received: self.received,
            bytes: self.bytes,
            arrivals: nanoseconds(&self.arrivals),
            round_trips: self.round_trips.iter().copied().map(nanos).collect(),
            transfer_began: self.transfer_began.map(|at| at.0),
            transferred: self.transferred.map(|at| at.0),
            failure: self.failure.clone(),
        }
    }

    /// Takes in what was seen at an end. What the caller has seen of the conversation as a whole counts, whichever end is
    /// heard first; what reached the callee is counted there alone.
    pub(crate) fn absorb(&mut self, seen: Observation, end: End) {
        if end == End::Caller {
            self.start = Instant(seen.started);
            self.set_up = seen.set_up.map(Duration::from_nanos);
            self.first_path = seen.first_path.or(self.first_path.take());
            self.path = seen.path.or(self.path.take());
            self.failure = seen.failure.or(self.failure.take());
        } else {
            self.first_path = self.first_path.take().or(seen.first_path);
            self.path = self.path.take().or(seen.path);
            self.failure = self.failure.take().or(seen.failure);
        }
        self.sent += seen.sent;
        self.received += seen.received;
        self.bytes += seen.bytes;
        self.arrivals.extend(seen.arrivals.into_iter().map(Instant));
        self.arrivals.sort_unstable();
        self.round_trips.extend(seen.round_trips.into_iter().map(Duration::from_nanos));
        self.transfer_began = self.transfer_began.or(seen.transfer_began.map(Instant));
        self.transferred = self.transferred.or(seen.transferred.map(Instant));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    /// A transfer from both ends, put together in either order.
    #[test]
    fn two_ends_make_one_measurement_whichever_is_heard_first() {
        let mut caller = Measurement::begin("alice", "bob", "tcp", at(0));
        caller.started(at(5));
        caller.connected(at(25));
        caller.path(Path::Relayed("rs1.u1.example".into()));
        caller.transfer_began(at(30));
        caller.path(Path::Direct);
        let mut callee = Measurement::begin("alice", "bob", "tcp", at(0));
        callee.path(Path::Direct);
        callee.streamed(at(40), 100);
        callee.streamed(at(50), 200);
        callee.transferred(at(50));

        let heard = [(caller.observed(), End::Caller), (callee.observed(), End::Callee)];
        for order in [[0, 1], [1, 0]] {
            let mut whole = Measurement::begin("alice", "bob", "tcp", at(0));
            for index in order {
                let (seen, end) = heard[index].clone();
                whole.absorb(seen, end);
            }
            let row = whole.finish(&[at(38)], None);
            assert_eq!((row.start, row.set_up), (at(5), Some(Duration::from_millis(20))));
            assert_eq!(
                (row.path.as_ref(), whole.first_path.as_ref().map(ToString::to_string).as_deref()),
                (Some(&Path::Direct), Some("relayed"))
            );
            assert_eq!((row.bytes, row.transfer), (300, Some(Duration::from_millis(20))));
            assert_eq!(row.gap, Some(Duration::from_millis(10)), "between the two arrivals");
        }
    }

    #[test]
    fn what_is_told_survives_its_way() {
        let mut row = Measurement::begin("alice", "bob", "udp", at(0));
        row.sent();
        row.answered(at(3), at(7), 64);
        row.failed("no more");
        let text = serde_json::to_string(&row.observed()).expect("plain values");
        assert_eq!(serde_json::from_str::<Observation>(&text).expect("it reads back"), row.observed());
    }
}
