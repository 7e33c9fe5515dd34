//! The way back of forwarded Tunnel Requests: their answers are sealed with K_mncn, which the RS does not hold, and are known
//! by where they come from and which transaction they answer.

use crate::deadlines::Deadlines;
use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::identifier::{KeyId, Transaction};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Answers awaited per tunnel; an honest end sends one Tunnel Request per negotiation.
const PER_RELAY: usize = 4;

/// Where an answer is awaited from, and which.
type Awaited = (SocketAddr, Transaction);

/// One way back.
#[derive(Debug)]
struct ReturnPath {
    relay: KeyId,
    /// What last came back on it.
    answer: Option<Bytes>,
}

/// The answers awaited.
#[derive(Debug, Default)]
pub(super) struct ReturnPaths {
    paths: BTreeMap<Awaited, ReturnPath>,
    by_relay: BTreeMap<KeyId, Vec<Awaited>>,
    until: Deadlines<Awaited>,
}

impl ReturnPaths {
    /// An answer is awaited from `from`, for the relay known by its K_tun. A path that another relay has is left to it.
    /// Returns what has come back on it before.
    pub(super) fn expect(
        &mut self,
        from: SocketAddr,
        transaction: Transaction,
        relay: KeyId,
        until: Instant,
    ) -> Option<Bytes> {
        let awaited = (from, transaction);
        let before = match self.paths.get(&awaited) {
            Some(path) if path.relay != relay => return None,
            Some(path) => path.answer.clone(),
            None => {
                let own = self.by_relay.entry(relay).or_default();
                if own.len() >= PER_RELAY {
                    return None;
                }
                own.push(awaited);
                self.paths.insert(awaited, ReturnPath { relay, answer: None });
                None
            }
        };
        self.until.set(awaited, until);
        before
    }

    /// How many are awaited.
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The relay that a datagram from `from` with this transaction answers. The answer is kept as long as the path.
    pub(super) fn take(&mut self, from: SocketAddr, transaction: Transaction, answer: &Bytes) -> Option<KeyId> {
        let path = self.paths.get_mut(&(from, transaction))?;
        path.answer = Some(answer.clone());
        Some(path.relay)
    }

    /// Forgets a relay's answers.
    pub(super) fn remove(&mut self, relay: KeyId) {
        for awaited in self.by_relay.remove(&relay).unwrap_or_default() {
            self.paths.remove(&awaited);
            self.until.cancel(&awaited);
        }
    }

    /// When the first is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.next()
    }

    /// Forgets what has been awaited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(awaited) = self.until.pop_due(now) {
            let Some(ReturnPath { relay, .. }) = self.paths.remove(&awaited) else { continue };
            if let Some(own) = self.by_relay.get_mut(&relay) {
                own.retain(|known| *known != awaited);
                if own.is_empty() {
                    self.by_relay.remove(&relay);
                }
            }
        }
    }
}
