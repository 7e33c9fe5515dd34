//! Tunnel Requests that come before the direction that explains them.
//!
//! The end that sends a Tunnel Request on a direct path is directed before the end that awaits it, so the request often
//! overtakes the other end's Route Direction. It is kept for a moment instead of costing a retransmission. What is kept is not
//! authenticated yet: the space is small, and garbage can at worst push a good request out, which is then repeated.

use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::identifier::KeyId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How many are kept at most.
const CAPACITY: usize = 32;
/// How long one is kept: longer than two directions of one negotiation lie apart on earthly links.
const MEMORY: Duration = Duration::from_secs(2);

struct Early {
    until: Instant,
    key: KeyId,
    from: SocketAddr,
    bytes: Bytes,
}

/// What came too early.
#[derive(Default)]
pub(super) struct EarlyRequests {
    kept: VecDeque<Early>,
}

impl EarlyRequests {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keeps a request under a key that is not known yet; the oldest makes room.
    pub(super) fn keep(&mut self, now: Instant, key: KeyId, from: SocketAddr, bytes: Bytes) {
        if self.kept.len() >= CAPACITY {
            self.kept.pop_front();
        }
        self.kept.push_back(Early { until: now + MEMORY, key, from, bytes });
    }

    /// Takes what came under a key that has become known.
    pub(super) fn take(&mut self, now: Instant, key: KeyId) -> Vec<(SocketAddr, Bytes)> {
        self.kept.retain(|early| early.until > now);
        let (fitting, rest) = std::mem::take(&mut self.kept).into_iter().partition(|early| early.key == key);
        self.kept = rest;
        let fitting: VecDeque<Early> = fitting;
        fitting.into_iter().map(|early| (early.from, early.bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_for_its_key_and_for_a_moment() {
        let from: SocketAddr = "192.0.2.1:4500".parse().expect("an address");
        let mut early = EarlyRequests::default();
        early.keep(Instant::ORIGIN, KeyId(1), from, Bytes::from_static(b"one"));
        early.keep(Instant::ORIGIN, KeyId(2), from, Bytes::from_static(b"two"));
        assert_eq!(early.take(Instant::ORIGIN, KeyId(2)), vec![(from, Bytes::from_static(b"two"))]);
        assert_eq!(early.take(Instant::ORIGIN, KeyId(2)), vec![]);
        assert_eq!(early.take(Instant::ORIGIN + MEMORY, KeyId(1)), vec![]);
    }

    #[test]
    fn garbage_takes_no_more_than_its_space() {
        let from: SocketAddr = "192.0.2.1:4500".parse().expect("an address");
        let mut early = EarlyRequests::default();
        for key in 0..1_000 {
            early.keep(Instant::ORIGIN, KeyId(key), from, Bytes::new());
        }
        assert_eq!(early.kept.len(), CAPACITY);
    }
}
