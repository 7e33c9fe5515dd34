//! The ways to a peer that were tried, for whoever asks why its packets go the way they go.

use super::ConnectError;
use super::negotiation::Negotiating;
use super::peers::Building;
use crate::time::Instant;
use ntmobile_wire::message::{DirectionReason, Route, TunnelAction};
use ntmobile_wire::name::Fqdn;
use std::net::SocketAddr;
use std::time::Duration;

/// So many attempts at one tunnel are remembered.
const ATTEMPTS: usize = 8;

/// One way to a peer that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Why the tunnel was asked for.
    pub reason: DirectionReason,
    /// The relay, where the DC directed through one.
    pub relay: Option<Fqdn>,
    /// Where the next hop was to be found, best first.
    pub candidates: Vec<SocketAddr>,
    /// Whether it was for this end to begin.
    pub is_ours: bool,
    /// How long it took.
    pub took: Duration,
    /// The candidate that answered or called, or why none did.
    pub outcome: Result<SocketAddr, ConnectError>,
}

impl Negotiating {
    /// What was tried here.
    pub(super) fn attempt(&self, now: Instant, outcome: Result<SocketAddr, ConnectError>) -> Attempt {
        let candidates = match &self.direction.route {
            Route::Relayed { addresses, .. } => {
                [addresses.v6.map(SocketAddr::V6), addresses.v4.map(SocketAddr::V4)].into_iter().flatten().collect()
            }
            Route::Direct { candidates } => candidates.clone(),
        };
        Attempt {
            reason: self.direction.reason,
            relay: self.relay(),
            candidates,
            is_ours: self.direction.action == TunnelAction::Send,
            took: now.since(self.since),
            outcome,
        }
    }
}

impl Building {
    /// Takes note of a way that was tried; who has been on the move for long remembers the newest.
    pub(super) fn note(&mut self, attempt: Attempt) {
        if self.attempts.len() >= ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }
}
