//! What a middlebox remembers of a conversation: since when it is quiet, and in which state its TCP connection is.

use super::packet::tcp_flag;
use ntmobile_proto::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// Which way a packet passes a middlebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the inside to the outside.
    Outbound,
    /// From the outside to the inside.
    Inbound,
}

/// Which packets keep a UDP mapping alive (RFC 4787 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refresh {
    /// Those going out.
    Outbound,
    /// Those coming in; what RFC 4787 forbids (REQ-6).
    Inbound,
    /// Both.
    #[default]
    Both,
}

/// How long a middlebox remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timers {
    pub(super) udp: Duration,
    pub(super) refresh: Refresh,
    pub(super) tcp_established: Duration,
    pub(super) tcp_transitory: Duration,
}

impl Timers {
    /// Whether a UDP packet in this direction keeps its mapping alive.
    pub(super) fn is_refreshed_by(&self, direction: Direction) -> bool {
        match self.refresh {
            Refresh::Both => true,
            Refresh::Outbound => direction == Direction::Outbound,
            Refresh::Inbound => direction == Direction::Inbound,
        }
    }
}

/// The flags of TCP segments seen in each direction that decide in which state a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TcpSeen {
    opened: [bool; 2],
    finished: [bool; 2],
    reset: bool,
}

impl TcpSeen {
    fn observe(&mut self, direction: Direction, flags: u8) {
        let side = usize::from(direction == Direction::Inbound);
        let is_over = self.reset || self.finished == [true; 2];
        if flags & tcp_flag::SYN != 0 {
            if is_over && flags & tcp_flag::ACK == 0 {
                *self = Self::default();
            }
            self.opened[side] = true;
        }
        self.finished[side] |= flags & tcp_flag::FIN != 0;
        self.reset |= flags & tcp_flag::RST != 0;
    }

    fn is_established(self) -> bool {
        self.opened == [true; 2] && self.finished == [false; 2] && !self.reset
    }
}

/// One conversation with one endpoint outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// When it is forgotten.
    pub(super) deadline: Instant,
    tcp: TcpSeen,
}

impl Session {
    /// A conversation that begins with a packet in this direction.
    pub(super) fn begin(now: Instant, direction: Direction, tcp_flags: Option<u8>, timers: &Timers) -> Self {
        let mut session = Self { deadline: now + timers.udp, tcp: TcpSeen::default() };
        session.observe(now, direction, tcp_flags, timers);
        session
    }

    /// Takes note of a packet; `tcp_flags` are `None` for UDP.
    pub(super) fn observe(&mut self, now: Instant, direction: Direction, tcp_flags: Option<u8>, timers: &Timers) {
        match tcp_flags {
            Some(flags) => {
                self.tcp.observe(direction, flags);
                let lifetime = if self.tcp.is_established() { timers.tcp_established } else { timers.tcp_transitory };
                self.deadline = now + lifetime;
            }
            None if timers.is_refreshed_by(direction) => self.deadline = now + timers.udp,
            None => {}
        }
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        now < self.deadline
    }
}

/// In which order a table's entries are forgotten, without an event for any of them.
///
/// An entry is queued for a time not after its deadline. When that time comes and its deadline has moved on, it is
/// queued again; so a packet that refreshes an entry costs nothing here.
#[derive(Clone, Debug)]
pub(super) struct Expiry<K>(BTreeSet<(Instant, K)>);

impl<K> Default for Expiry<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Expiry<K> {
    /// Queues a new entry; returns what is to be kept as its `queued`.
    pub(super) fn add(&mut self, key: K, deadline: Instant) -> Instant {
        self.0.insert((deadline, key));
        deadline
    }

    /// Makes sure that an entry is looked at no later than its deadline.
    pub(super) fn hasten(&mut self, key: K, queued: &mut Instant, deadline: Instant) {
        if deadline < *queued {
            self.0.remove(&(*queued, key));
            *queued = self.add(key, deadline);
        }
    }

    pub(super) fn remove(&mut self, key: K, queued: Instant) {
        self.0.remove(&(queued, key));
    }

    /// The next entry whose time has come, no longer queued.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcp_flag::{ACK, FIN, RST, SYN};

    const TIMERS: Timers = Timers {
        udp: Duration::from_secs(30),
        refresh: Refresh::Outbound,
        tcp_established: Duration::from_secs(7_440),
        tcp_transitory: Duration::from_secs(240),
    };

    fn lifetime(steps: &[(Direction, u8)]) -> Duration {
        let mut session = Session::begin(Instant(0), steps[0].0, Some(steps[0].1), &TIMERS);
        for (direction, flags) in &steps[1..] {
            session.observe(Instant(0), *direction, Some(*flags), &TIMERS);
        }
        session.deadline.since(Instant(0))
    }

    #[test]
    fn a_connection_lives_long_once_both_sides_have_opened_it() {
        use Direction::{Inbound, Outbound};
        let open = [(Outbound, SYN), (Inbound, SYN | ACK), (Outbound, ACK)];
        let after = |more: &[(Direction, u8)]| lifetime(&[&open, more].concat());
        assert_eq!(lifetime(&open[..1]), TIMERS.tcp_transitory);
        assert_eq!(after(&[]), TIMERS.tcp_established);
        assert_eq!(after(&[(Inbound, FIN | ACK)]), TIMERS.tcp_transitory);
        assert_eq!(after(&[(Inbound, RST)]), TIMERS.tcp_transitory);
        let again = [(Outbound, RST), (Outbound, SYN), (Inbound, SYN | ACK)];
        assert_eq!(after(&again), TIMERS.tcp_established);
        assert_eq!(lifetime(&[(Outbound, ACK)]), TIMERS.tcp_transitory);
    }

    #[test]
    fn entries_come_due_at_their_latest_deadline() {
        let mut expiry = Expiry::default();
        let mut queued = expiry.add('a', Instant(10));
        expiry.add('b', Instant(20));
        expiry.hasten('a', &mut queued, Instant(30));
        assert_eq!(expiry.pop(Instant(9)), None);
        assert_eq!(expiry.pop(Instant(10)), Some('a'));
        let mut queued = expiry.add('a', Instant(30));
        expiry.hasten('a', &mut queued, Instant(15));
        assert_eq!(expiry.pop(Instant(19)), Some('a'));
        assert_eq!(expiry.pop(Instant(20)), Some('b'));
        assert_eq!(expiry.pop(Instant(u64::MAX)), None);
    }
}
