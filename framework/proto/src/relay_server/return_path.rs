//! The way back of forwarded Tunnel Requests: their answers are sealed with K_mncn, which the RS does not hold, and are known
//! by where they come from and which transaction they answer.

use crate::deadlines::Deadlines;
use crate::time::Instant;
use ntmobile_wire::identifier::{KeyId, Transaction};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Answers awaited per tunnel; an honest end sends one Tunnel Request per negotiation.
const PER_RELAY: usize = 4;

/// Where an answer is awaited from, and which.
type Awaited = (SocketAddr, Transaction);

/// The answers awaited.
#[derive(Debug, Default)]
pub(super) struct ReturnPaths {
    relays: BTreeMap<Awaited, KeyId>,
    by_relay: BTreeMap<KeyId, Vec<Awaited>>,
    until: Deadlines<Awaited>,
}

impl ReturnPaths {
    /// An answer is awaited from `from`, for the relay known by its K_tun. A path that another relay has is left to it.
    pub(super) fn expect(&mut self, from: SocketAddr, transaction: Transaction, relay: KeyId, until: Instant) {
        let awaited = (from, transaction);
        match self.relays.get(&awaited) {
            Some(owner) if *owner != relay => return,
            Some(_) => {}
            None => {
                let own = self.by_relay.entry(relay).or_default();
                if own.len() >= PER_RELAY {
                    return;
                }
                own.push(awaited);
                self.relays.insert(awaited, relay);
            }
        }
        self.until.set(awaited, until);
    }

    /// How many are awaited.
    pub(super) fn len(&self) -> usize {
        self.relays.len()
    }

    /// The relay that a datagram from `from` with this transaction answers.
    pub(super) fn find(&self, from: SocketAddr, transaction: Transaction) -> Option<KeyId> {
        self.relays.get(&(from, transaction)).copied()
    }

    /// Forgets a relay's answers.
    pub(super) fn remove(&mut self, relay: KeyId) {
        for awaited in self.by_relay.remove(&relay).unwrap_or_default() {
            self.relays.remove(&awaited);
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
            let Some(relay) = self.relays.remove(&awaited) else { continue };
            if let Some(own) = self.by_relay.get_mut(&relay) {
                own.retain(|known| *known != awaited);
                if own.is_empty() {
                    self.by_relay.remove(&relay);
                }
            }
        }
    }
}
