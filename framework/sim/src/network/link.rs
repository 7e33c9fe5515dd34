//! Links: how long a packet takes over a wire, and whether it gets there.

use super::chance::Chance;
use super::counters::DropReason;
use ntmobile_proto::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkRecord {
    /// How long a bit is under way. Default 0.
    pub delay: Duration,
    /// Up to this much is added to each packet's delay, evenly distributed; packets keep their order. Default 0.
    pub jitter: Duration,
    /// The probability that a packet is lost on the way, from 0 to 1. Default 0.
    pub loss: f64,
    /// The probability that a packet arrives twice, from 0 to 1. Default 0.
    pub duplication: f64,
    /// The probability that a packet is held back so that others overtake it, from 0 to 1. Default 0.
    pub reordering: f64,
    /// How long such a packet is held back. Default 10 ms.
    pub reordering_hold: Duration,
    /// How many bits of IP packets the link carries each second; `None` for no limit. Default `None`.
    pub rate: Option<u64>,
    /// How many packets may wait for a link that has a rate. Default 1,000.
    pub queue_packets: usize,
    /// How many bytes may wait for a link that has a rate; `None` for no limit beside that on packets. Default `None`.
    pub queue_bytes: Option<usize>,
    /// The largest packet that the link carries, in bytes, IP header included. Default 1,500.
    pub mtu: usize,
}

impl Default for LinkRecord {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reordering_hold: Duration::from_millis(10),
            rate: None,
            queue_packets: 1_000,
            queue_bytes: None,
            mtu: 1_500,
        }
    }
}

/// Why a link record is none.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum LinkRecordError {
    /// Not a probability.
    #[error("the link's {0} of {1} is not a probability between 0 and 1")]
    Probability(&'static str, f64),
    /// Nothing would ever get through.
    #[error("a link's rate cannot be 0; leave it out for no limit")]
    Rate,
    /// Too small for what IPv4 asks of every link.
    #[error("a link's MTU of {0} is below the 68 bytes that IPv4 asks of every link")]
    Mtu(usize),
}

impl LinkRecord {
    /// A link with a delay and nothing else.
    pub fn with_delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Whether it makes sense.
    pub fn check(&self) -> Result<(), LinkRecordError> {
        let probabilities = [("loss", self.loss), ("duplication", self.duplication), ("reordering", self.reordering)];
        for (name, probability) in probabilities {
            if !(0.0..=1.0).contains(&probability) {
                return Err(LinkRecordError::Probability(name, probability));
            }
        }
        if self.rate == Some(0) {
            return Err(LinkRecordError::Rate);
        }
        if self.mtu < 68 {
            return Err(LinkRecordError::Mtu(self.mtu));
        }
        Ok(())
    }
}

/// Both directions of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// From the first end to the second, or from what is attached up to where it is attached.
    pub up: LinkRecord,
    /// Back.
    pub down: LinkRecord,
}

impl From<LinkRecord> for Link {
    fn from(record: LinkRecord) -> Self {
        Self { up: record, down: record }
    }
}

/// What a link does with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does not arrive.
    Dropped(DropReason),
    /// It arrives, possibly twice.
    Arrives { at: Instant, twice: bool },
}

/// A packet that waits for its transmission to begin.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    begins: Instant,
    bytes: usize,
}

/// The sending end of one direction.
///
/// Since nothing leaves a drop-tail queue but by its turn, when each packet leaves is known when it enters: the queue
/// needs no events of its own.
#[derive(Clone, Debug)]
pub(super) struct Transmitter {
    pub(super) record: LinkRecord,
    chance: Chance,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    free_at: Instant,
    last_arrival: Instant,
}

impl Transmitter {
    pub(super) fn new(record: LinkRecord, chance: Chance) -> Self {
        Self {
            record,
            chance,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            free_at: Instant::ORIGIN,
            last_arrival: Instant::ORIGIN,
        }
    }

    /// How many bytes wait at this moment.
    pub(super) fn backlog(&mut self, now: Instant) -> usize {
        while let Some(first) = self.waiting.front().filter(|first| first.begins <= now) {
            self.waiting_bytes -= first.bytes;
            self.waiting.pop_front();
        }
        self.waiting_bytes
    }

    /// Takes a packet of so many bytes.
    pub(super) fn offer(&mut self, now: Instant, bytes: usize) -> Fate {
        let sent = match self.record.rate {
            Some(rate) => match self.enqueue(now, bytes, rate) {
                Some(sent) => sent,
                None => return Fate::Dropped(DropReason::QueueFull),
            },
            None => now,
        };
        if self.chance.happens(self.record.loss) {
            return Fate::Dropped(DropReason::LinkLoss);
        }
        let jitter = self.chance.below(self.record.jitter.as_nanos() as u64);
        let on_time = sent + self.record.delay + Duration::from_nanos(jitter);
        let twice = self.chance.happens(self.record.duplication);
        let at = if self.chance.happens(self.record.reordering) {
            on_time.max(self.last_arrival) + self.record.reordering_hold
        } else {
            self.last_arrival = on_time.max(self.last_arrival);
            self.last_arrival
        };
        Fate::Arrives { at, twice }
    }

    /// When the last bit of the packet is sent, if the queue takes it.
    fn enqueue(&mut self, now: Instant, bytes: usize, rate: u64) -> Option<Instant> {
        let waiting_bytes = self.backlog(now);
        let begins = self.free_at.max(now);
        if begins > now {
            let is_full = self.waiting.len() >= self.record.queue_packets
                || self.record.queue_bytes.is_some_and(|limit| waiting_bytes + bytes > limit);
            if is_full {
                return None;
            }
            self.waiting.push_back(Waiting { begins, bytes });
            self.waiting_bytes += bytes;
        }
        let nanoseconds = (bytes as u64 * 8 * 1_000_000_000).div_ceil(rate);
        self.free_at = begins + Duration::from_nanos(nanoseconds);
        Some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transmitter(record: LinkRecord) -> Transmitter {
        record.check().expect("a sensible link");
        Transmitter::new(record, Chance::new(7, "link"))
    }

    fn arrival(fate: Fate) -> Instant {
        match fate {
            Fate::Arrives { at, .. } => at,
            Fate::Dropped(reason) => panic!("dropped: {reason:?}"),
        }
    }

    #[test]
    fn a_link_without_a_rate_only_delays() {
        let mut link = transmitter(LinkRecord::with_delay(Duration::from_millis(5)));
        assert_eq!(arrival(link.offer(Instant(100), 1_000)), Instant(5_000_100));
        assert_eq!(arrival(link.offer(Instant(100), 1_000)), Instant(5_000_100));
    }

    #[test]
    fn a_rate_spaces_packets_and_the_queue_drops_its_tail() {
        let record = LinkRecord { rate: Some(8_000_000), queue_packets: 2, ..LinkRecord::default() };
        let mut link = transmitter(record);
        // 1,000 bytes take 1 ms at 8 Mbit/s; one is being sent, two wait, the fourth is too many.
        let fates: Vec<_> = (0..4).map(|_| link.offer(Instant(0), 1_000)).collect();
        let arrivals: Vec<_> = fates[..3].iter().map(|fate| arrival(*fate).0).collect();
        assert_eq!(arrivals, [1_000_000, 2_000_000, 3_000_000]);
        assert_eq!(fates[3], Fate::Dropped(DropReason::QueueFull));
        assert_eq!(link.backlog(Instant(1_000_000)), 1_000);
        assert_eq!(arrival(link.offer(Instant(1_000_000), 500)), Instant(3_500_000));
    }

    #[test]
    fn a_queue_in_bytes_counts_what_waits() {
        let record = LinkRecord { rate: Some(8_000), queue_bytes: Some(1_500), ..LinkRecord::default() };
        let mut link = transmitter(record);
        assert!(matches!(link.offer(Instant(0), 1_000), Fate::Arrives { .. }));
        assert!(matches!(link.offer(Instant(0), 1_000), Fate::Arrives { .. }));
        assert_eq!(link.offer(Instant(0), 501), Fate::Dropped(DropReason::QueueFull));
        assert!(matches!(link.offer(Instant(0), 500), Fate::Arrives { .. }));
    }

    #[test]
    fn jitter_is_within_its_bound_and_keeps_the_order() {
        let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(5));
        let mut link = transmitter(LinkRecord { delay, jitter, ..LinkRecord::default() });
        let mut last = Instant(0);
        let mut seen = std::collections::BTreeSet::new();
        for packet in 0..1_000u64 {
            let now = Instant(packet * 100_000);
            let at = arrival(link.offer(now, 100));
            assert!(at >= last && at >= now + delay && at < now + delay + jitter);
            seen.insert(at.since(now));
            last = at;
        }
        assert!(seen.len() > 100, "{} different delays in 1,000", seen.len());
    }

    #[test]
    fn loss_duplication_and_reordering_come_as_often_as_said() {
        let record = LinkRecord { loss: 0.1, duplication: 0.2, reordering: 0.3, ..LinkRecord::default() };
        let mut link = transmitter(record);
        let (mut lost, mut twice, mut held) = (0, 0, 0);
        for packet in 0..10_000 {
            match link.offer(Instant(packet * 1_000_000_000), 100) {
                Fate::Dropped(reason) => {
                    assert_eq!(reason, DropReason::LinkLoss);
                    lost += 1;
                }
                Fate::Arrives { at, twice: again } => {
                    twice += u32::from(again);
                    held += u32::from(at == Instant(packet * 1_000_000_000) + record.reordering_hold);
                }
            }
        }
        assert!((900..1_100).contains(&lost), "{lost} lost");
        assert!((1_650..1_950).contains(&twice), "{twice} twice");
        assert!((2_500..2_900).contains(&held), "{held} held back");
    }

    #[test]
    fn senseless_records_are_refused() {
        let check = |record: LinkRecord| record.check();
        assert!(check(LinkRecord { loss: 1.1, ..LinkRecord::default() }).is_err());
        assert!(check(LinkRecord { duplication: -0.1, ..LinkRecord::default() }).is_err());
        assert!(check(LinkRecord { reordering: f64::NAN, ..LinkRecord::default() }).is_err());
        assert_eq!(check(LinkRecord { rate: Some(0), ..LinkRecord::default() }), Err(LinkRecordError::Rate));
        assert_eq!(check(LinkRecord { mtu: 67, ..LinkRecord::default() }), Err(LinkRecordError::Mtu(67)));
    }
}
