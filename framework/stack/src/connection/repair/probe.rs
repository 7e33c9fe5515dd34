//! Tail loss probes: the last segment is sent again when its acknowledgement is late, before the retransmission timer.

use bytes::Bytes;
use ntmobile_proto::time::Instant;
use smoltcp::wire::TcpSeqNumber;
use std::time::Duration;

/// No acknowledgement is late before this: the other end may delay it.
const SHORTEST: Duration = Duration::from_millis(200);
/// The same where no round trip has been measured.
const UNMEASURED: Duration = Duration::from_millis(500);
/// How often a segment is sent again, each time after twice as long, before that is left to the retransmission timer: its waits
/// stay as long as earlier losses have made them.
const PROBES: u32 = 4;

/// What was sent last and is not acknowledged.
#[derive(Debug)]
struct Tail {
    /// Nothing where it only measures the round trip.
    segment: Option<Bytes>,
    /// The sequence number before it.
    start: TcpSeqNumber,
    /// The sequence number after it.
    end: TcpSeqNumber,
    sent: Instant,
    /// Whether it was sent more than once: then nobody knows which copy is acknowledged.
    repeated: bool,
    probes: u32,
    due: Instant,
}

/// The last segment of a connection, and how long its acknowledgement may take.
#[derive(Debug, Default)]
pub(super) struct TailLoss {
    tail: Option<Tail>,
    /// Everything before is acknowledged.
    acked: Option<TcpSeqNumber>,
    round_trip: Option<Duration>,
}

impl TailLoss {
    /// The connection is being opened, which is left to the retransmission timer; the answer tells the round trip.
    pub(super) fn opening(&mut self, end: TcpSeqNumber, now: Instant) {
        let repeated = self.tail.is_some();
        self.tail = Some(Tail { segment: None, start: end, end, sent: now, repeated, probes: PROBES, due: now });
    }

    /// A segment with content leaves. It is probed for where it alone is not acknowledged: among others, gaps are noticed by
    /// what comes after them, and probes would add duplicate acknowledgements to those.
    pub(super) fn sent(&mut self, segment: &Bytes, (start, end): (TcpSeqNumber, TcpSeqNumber), now: Instant) {
        // Before what was sent last, it fills a gap.
        if self.tail.as_ref().is_some_and(|tail| end < tail.end) {
            return;
        }
        let repeated = self.tail.as_ref().is_some_and(|tail| tail.end == end);
        let due = now + self.patience();
        self.tail = Some(Tail { segment: Some(segment.clone()), start, end, sent: now, repeated, probes: 0, due });
    }

    /// The other end has received everything before `number`.
    pub(super) fn acknowledged(&mut self, number: TcpSeqNumber, now: Instant) {
        if self.acked.is_none_or(|acked| acked < number) {
            self.acked = Some(number);
        }
        let Some(tail) = self.tail.take_if(|tail| tail.end <= number) else { return };
        if !tail.repeated {
            self.round_trip = Some(now.since(tail.sent));
        }
    }

    /// Nothing is to be sent any more.
    pub(super) fn forget(&mut self) {
        self.tail = None;
    }

    /// The segment, when it is time to send it again.
    pub(super) fn due(&mut self, now: Instant) -> Option<Bytes> {
        let patience = self.patience();
        self.deadline().filter(|due| *due <= now)?;
        let tail = self.tail.as_mut()?;
        tail.probes += 1;
        tail.repeated = true;
        tail.due = now + patience * (1 << tail.probes);
        tail.segment.clone()
    }

    /// When [`TailLoss::due`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_alone = |tail: &&Tail| self.acked.is_some_and(|acked| acked >= tail.start);
        self.tail.as_ref().filter(|tail| tail.probes < PROBES).filter(is_alone).map(|tail| tail.due)
    }

    fn patience(&self) -> Duration {
        self.round_trip.map_or(UNMEASURED, |round_trip| (round_trip * 2).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: TcpSeqNumber = TcpSeqNumber(100);

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn opened() -> TailLoss {
        let mut tail = TailLoss::default();
        tail.opening(TcpSeqNumber(1), at(0));
        tail.acknowledged(TcpSeqNumber(1), at(150));
        tail
    }

    #[test]
    fn a_late_acknowledgement_is_probed_for_and_then_left_to_the_timer() {
        let mut tail = opened();
        let segment = Bytes::from_static(b"segment");
        tail.sent(&segment, (TcpSeqNumber(1), END), at(1_000));
        assert_eq!(tail.due(at(1_299)), None);
        assert_eq!(tail.due(at(1_300)), Some(segment.clone()), "two round trips later");
        assert_eq!(tail.due(at(1_899)), None);
        assert_eq!(tail.due(at(1_900)), Some(segment.clone()));
        assert_eq!(tail.due(at(3_100)), Some(segment.clone()));
        assert_eq!(tail.due(at(5_500)), Some(segment));
        assert_eq!(tail.deadline(), None);
    }

    #[test]
    fn nothing_is_probed_for_that_is_acknowledged_or_over() {
        let mut tail = opened();
        tail.sent(&Bytes::new(), (TcpSeqNumber(1), END), at(0));
        tail.acknowledged(TcpSeqNumber(99), at(10));
        assert!(tail.deadline().is_some());
        tail.acknowledged(END, at(20));
        assert_eq!(tail.deadline(), None);
        tail.sent(&Bytes::new(), (END, END + 1), at(30));
        tail.forget();
        assert_eq!(tail.deadline(), None);
    }

    #[test]
    fn a_connection_that_is_being_opened_is_left_to_the_timer() {
        let mut tail = TailLoss::default();
        tail.opening(TcpSeqNumber(1), at(0));
        assert_eq!((tail.deadline(), tail.due(at(5_000))), (None, None));
    }
}
