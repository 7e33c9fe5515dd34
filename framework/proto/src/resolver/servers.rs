//! What is known of name servers: how soon each answers, and which did not lately.

use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The wait for an answer of a server that has not answered before.
const FIRST_WAIT: Duration = Duration::from_millis(400);
/// The shortest wait: a server may be busy for a moment.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait. It bounds how many tries a look-up has: where three of ten datagrams are lost every other one brings an
/// answer back, and a question needs more than a dozen to be answered nearly always.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a server that did not answer is asked last.
const SILENCE: Duration = Duration::from_secs(60);
/// Servers remembered; the one heard of longest ago goes first.
const MOST: usize = 256;

/// One server.
#[derive(Debug, Default)]
struct Acquaintance {
    /// Smoothed round trip and its mean deviation.
    round_trip: Option<(Duration, Duration)>,
    silent_until: Option<Instant>,
    age: u64,
}

/// The servers that were asked lately.
#[derive(Debug, Default)]
pub(super) struct Servers {
    known: BTreeMap<SocketAddr, Acquaintance>,
    count: u64,
}

impl Servers {
    /// How long to wait for an answer of this server, in the given round of tries: what RFC 6298 makes of the round trips seen,
    /// and half as long again each time.
    pub(super) fn wait(&self, server: &SocketAddr, round: usize) -> Duration {
        let seen = self.known.get(server).and_then(|known| known.round_trip);
        let first = seen.map_or(FIRST_WAIT, |(smoothed, deviation)| (smoothed + 4 * deviation).max(SHORTEST_WAIT));
        (0..round.min(8)).fold(first, |wait, _| wait * 3 / 2).min(LONGEST_WAIT)
    }

    /// A server has answered, after this time where it was asked but once.
    pub(super) fn answered(&mut self, server: SocketAddr, after: Option<Duration>) {
        let known = self.entry(server);
        known.silent_until = None;
        if let Some(after) = after {
            known.round_trip = Some(match known.round_trip {
                None => (after, after / 2),
                Some((smoothed, deviation)) => {
                    ((smoothed * 7 + after) / 8, (deviation * 3 + smoothed.abs_diff(after)) / 4)
                }
            });
        }
    }

    /// A server has not answered in time.
    pub(super) fn fell_silent(&mut self, server: SocketAddr, now: Instant) {
        self.entry(server).silent_until = Some(now + SILENCE);
    }

    /// Whether a server did not answer lately.
    pub(super) fn is_silent(&self, server: &SocketAddr, now: Instant) -> bool {
        self.known.get(server).and_then(|known| known.silent_until).is_some_and(|until| until > now)
    }

    /// The host has moved: what was seen was seen on other paths.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    fn entry(&mut self, server: SocketAddr) -> &mut Acquaintance {
        if self.known.len() >= MOST && !self.known.contains_key(&server) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.age).map(|(address, _)| *address);
            oldest.and_then(|address| self.known.remove(&address));
        }
        self.count += 1;
        let known = self.known.entry(server).or_default();
        known.age = self.count;
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn waits_follow_the_round_trips_seen_and_grow_to_a_second() {
        let mut servers = Servers::default();
        assert_eq!(servers.wait(&server(1), 0), FIRST_WAIT);
        assert_eq!(servers.wait(&server(1), 1), FIRST_WAIT * 3 / 2);
        assert_eq!(servers.wait(&server(1), 100), LONGEST_WAIT);
        for _ in 0..50 {
            servers.answered(server(1), Some(Duration::from_millis(250)));
            servers.answered(server(2), Some(Duration::from_millis(4)));
        }
        let wait = servers.wait(&server(1), 0);
        assert!(wait >= Duration::from_millis(250) && wait < Duration::from_millis(300), "{wait:?}");
        assert_eq!(servers.wait(&server(2), 0), SHORTEST_WAIT);
        servers.answered(server(1), Some(Duration::from_millis(600)));
        assert!(servers.wait(&server(1), 0) > FIRST_WAIT, "one late answer makes it patient");
    }

    #[test]
    fn silence_is_remembered_for_a_minute_or_until_an_answer() {
        let mut servers = Servers::default();
        let now = Instant::ORIGIN;
        servers.fell_silent(server(1), now);
        servers.fell_silent(server(2), now);
        servers.answered(server(2), None);
        assert!(servers.is_silent(&server(1), now + Duration::from_secs(59)));
        assert!(!servers.is_silent(&server(1), now + SILENCE));
        assert!(!servers.is_silent(&server(2), now));
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut servers = Servers::default();
        for number in 0..1_000 {
            servers.fell_silent(server(number), Instant::ORIGIN);
        }
        assert_eq!(servers.known.len(), MOST);
        assert!(!servers.is_silent(&server(0), Instant::ORIGIN));
        assert!(servers.is_silent(&server(999), Instant::ORIGIN));
    }
}
