//! What one conversation measures while it runs, and the row of results that it comes to.

pub(crate) mod observation;

use super::topology::Standpoint;
use crate::record::results::{Conversation, Path, RoundTrips};
use ntmobile_proto::time::Instant;
use std::time::Duration;

/// How long after a handover a silence can begin that is still its doing: what was on its way arrives first.
const AFTERMATH: Duration = Duration::from_secs(10);

/// One conversation under measurement.
#[derive(Clone, Debug)]
pub struct Measurement {
    from: String,
    to: String,
    kind: &'static str,
    start: Instant,
    standpoints: Option<(Standpoint, Standpoint)>,
    first_path: Option<Path>,
    set_up: Option<Duration>,
    path: Option<Path>,
    sent: u64,
    received: u64,
    bytes: u64,
    /// When something of the other end arrived.
    arrivals: Vec<Instant>,
    round_trips: Vec<Duration>,
    transfer_began: Option<Instant>,
    transferred: Option<Instant>,
    failure: Option<String>,
}

impl Measurement {
    /// A conversation that is about to look the other end up.
    pub fn begin(from: &str, to: &str, kind: &'static str, start: Instant) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            kind,
            start,
            standpoints: None,
            first_path: None,
            set_up: None,
            path: None,
            sent: 0,
            received: 0,
            bytes: 0,
            arrivals: Vec::new(),
            round_trips: Vec::new(),
            transfer_began: None,
            transferred: None,
            failure: None,
        }
    }

    /// It looks the other end up now.
    pub fn started(&mut self, at: Instant) {
        self.start = at;
    }

    /// The node that started, the node that was called, and when.
    pub fn ends(&self) -> (&str, &str, Instant) {
        (&self.from, &self.to, self.start)
    }

    /// Where its ends are when it begins.
    pub fn between(&mut self, mn: Standpoint, cn: Standpoint) {
        self.standpoints = Some((mn, cn));
    }

    /// Where its ends were when it began, and which way it went, if it came about.
    pub fn standpoints(&self) -> Option<(&Standpoint, &Standpoint, &Path)> {
        let (mn, cn) = self.standpoints.as_ref()?;
        self.set_up?;
        Some((mn, cn, self.first_path.as_ref()?))
    }

    /// The application can send.
    pub fn connected(&mut self, at: Instant) {
        self.set_up = Some(at.since(self.start));
    }

    /// Its packets go this way now.
    pub fn path(&mut self, path: Path) {
        self.first_path.get_or_insert_with(|| path.clone());
        self.path = Some(path);
    }

    /// A datagram is sent.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// The answer to what was sent at `sent` is here. Duplicates are the caller's to leave out.
    pub fn answered(&mut self, sent: Instant, at: Instant, bytes: u64) {
        self.received += 1;
        self.bytes += bytes;
        self.arrivals.push(at);
        self.round_trips.push(at.since(sent));
    }

    /// Bytes of a stream have arrived.
    pub fn streamed(&mut self, at: Instant, bytes: u64) {
        self.bytes += bytes;
        self.arrivals.push(at);
    }

    /// The connection of a stream stands, and sending begins.
    pub fn transfer_began(&mut self, at: Instant) {
        self.transfer_began = Some(at);
    }

    /// All bytes of a stream have arrived.
    pub fn transferred(&mut self, at: Instant) {
        self.transferred = Some(at);
    }

    /// It did not work.
    pub fn failed(&mut self, why: impl ToString) {
        self.failure = Some(why.to_string());
    }

    /// The longest silence that a handover at one of these times can have caused.
    fn gap(&self, handovers: &[Instant]) -> Option<Duration> {
        let caused = |(before, after): (Instant, Instant)| {
            handovers.iter().any(|moved| after > *moved && before <= *moved + AFTERMATH)
        };
        let silences = self.arrivals.windows(2).map(|pair| (pair[0], pair[1]));
        silences.filter(|silence| caused(*silence)).map(|(before, after)| after.since(before)).max()
    }

    /// What it comes to. `handovers` are those of either end, `bound` the least that the set-up can take.
    pub fn finish(&self, handovers: &[Instant], bound: Option<Duration>) -> Conversation {
        let one_way = self.standpoints.as_ref().and_then(|(mn, cn)| mn.one_way(cn));
        let round_trip = one_way.map(|delay| delay * 2).filter(|trip| !trip.is_zero());
        Conversation {
            from: self.from.clone(),
            to: self.to.clone(),
            kind: self.kind.to_owned(),
            start: self.start,
            path: self.path.clone(),
            set_up: self.set_up,
            bound,
            set_up_round_trips: self
                .set_up
                .zip(round_trip)
                .map(|(set_up, trip)| set_up.as_secs_f64() / trip.as_secs_f64()),
            sent: self.sent,
            received: self.received,
            bytes: self.bytes,
            transfer: self.transferred.zip(self.transfer_began).map(|(arrived, began)| arrived.since(began)),
            round_trip: RoundTrips::of(self.round_trips.clone()),
            gap: self.gap(handovers),
            failure: self.failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(millis * 1_000_000)
    }

    fn stream(arrivals: &[u64]) -> Measurement {
        let mut measurement = Measurement::begin("a", "b", "udp", at(0));
        for arrival in arrivals {
            measurement.sent();
            measurement.answered(at(arrival - 4), at(*arrival), 100);
        }
        measurement
    }

    #[test]
    fn the_gap_is_the_longest_silence_that_a_handover_can_have_caused() {
        let measurement = stream(&[10, 20, 30, 90, 100, 500]);
        assert_eq!(measurement.gap(&[at(25)]), Some(Duration::from_millis(400)), "it began within the aftermath");
        assert_eq!(measurement.gap(&[at(95)]), Some(Duration::from_millis(400)));
        assert_eq!(stream(&[10, 20, 30, 90, 100]).gap(&[at(31)]), Some(Duration::from_millis(60)));
        assert_eq!(measurement.gap(&[]), None);
        assert_eq!(measurement.gap(&[at(600)]), None, "nothing came after it");
        assert_eq!(stream(&[10, 20_000, 20_030]).gap(&[at(5)]), Some(Duration::from_millis(19_990)));
        assert_eq!(
            stream(&[10, 20, 20_000, 50_000]).gap(&[at(5)]),
            Some(Duration::from_millis(19_980)),
            "not later ones"
        );
    }

    #[test]
    fn what_was_measured_comes_to_a_row() {
        let mut measurement = stream(&[10, 20]);
        measurement.sent();
        measurement.connected(at(82));
        measurement.path(Path::Direct);
        let row = measurement.finish(&[], Some(Duration::from_millis(80)));
        assert_eq!((row.sent, row.received, row.lost(), row.bytes), (3, 2, 1, 200));
        assert_eq!(row.bound, Some(Duration::from_millis(80)));
        assert_eq!(row.round_trip.map(|trips| trips.median), Some(Duration::from_millis(4)));
    }
}
