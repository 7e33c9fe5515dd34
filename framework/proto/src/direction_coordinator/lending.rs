//! Lending an RS to another DC, which directs a tunnel to a node of ours and has none: we direct one of ours in its stead.
//!
//! The other DC draws the keys and SPIs as it would for an RS of its own, so ours learns nothing that it would not learn otherwise, and
//! neither do we: K_tun comes to us with Route Direction anyhow.

use super::config::{OwnServer, seconds};
use super::registration::addresses_of;
use super::relays::RelaySearch;
use super::servers::{ServerKind, Then};
use super::{Cx, DirectionCoordinator, Tag, refusal};
use crate::endpoint::{Retry, Ticket};
use crate::time::Instant;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::message::{Refusal, RefusalCode, RelayAssignment, RelayDirection};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A relay that another DC has asked for.
#[derive(Debug)]
pub(super) struct Loan {
    ticket: Ticket,
    direction: RelayDirection,
    relays: RelaySearch,
    /// The RS that is being asked, and the key under which it is.
    relay: Option<(OwnServer, Option<KeyId>)>,
}

/// How many relays each DC was lent lately.
#[derive(Debug, Default)]
pub(super) struct Lent {
    given: VecDeque<(Instant, Fqdn)>,
    counts: BTreeMap<Fqdn, usize>,
}

impl Lent {
    /// Counts one more for this DC, unless it had as many within this time.
    fn count(&mut self, coordinator: &Fqdn, limit: usize, within: Duration, now: Instant) -> bool {
        while let Some((_, old)) = self.given.pop_front_if(|(at, _)| now.since(*at) >= within) {
            if let Some(count) = self.counts.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&old);
                }
            }
        }
        let count = self.counts.get(coordinator).copied().unwrap_or_default();
        let has_room = count < limit;
        if has_room {
            self.counts.insert(coordinator.clone(), count + 1);
            self.given.push_back((now, coordinator.clone()));
        }
        has_room
    }
}

impl DirectionCoordinator {
    /// *Relay Direction* from the DC of MN.
    pub(super) fn relay_requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, mut direction: RelayDirection) {
        if self.config.relays.is_empty() {
            return self.refuse(cx, &ticket, RefusalCode::NoRelay, "this domain has no Relay Server either");
        }
        let (limit, within) = (self.config.lent_relays, self.config.tunnel_idle);
        if !self.lent.count(&ticket.sender().name, limit, within, cx.now) {
            let detail = "this domain lends no more relays to one Direction Coordinator";
            return self.refuse(cx, &ticket, RefusalCode::Overloaded, detail);
        }
        direction.idle_s = direction.idle_s.min(seconds(within));
        let id = self.draw_id();
        self.loans.insert(id, Loan { ticket, direction, relays: RelaySearch::default(), relay: None });
        self.lend(cx, id);
    }

    fn lend(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(loan) = self.loans.get_mut(&id) else { return };
        match loan.relays.next(&self.config.relays, &self.servers, cx.now) {
            Some(server) => {
                let (addresses, trace) = (addresses_of(&server), loan.ticket.trace);
                loan.relay = Some((server, None));
                self.with_server_key(cx, ServerKind::Relay, &addresses, trace, Then::LendRelay(id));
            }
            None => {
                let refused = refusal(RefusalCode::NoRelay, "no Relay Server of the peer's domain answers", None);
                self.end_loan(cx, id, &refused);
            }
        }
    }

    fn end_loan(&mut self, cx: &mut Cx<'_>, id: u64, refused: &Refusal) {
        if let Some(Loan { ticket, .. }) = self.loans.remove(&id) {
            self.refuse(cx, &ticket, refused.code, refused.detail.clone());
        }
    }

    /// *Relay Direction* to the RS that is lent, once there is a key.
    pub(super) fn direct_lent_relay(&mut self, cx: &mut Cx<'_>, id: u64, shared: Result<KeyId, Refusal>) {
        let shared = match shared {
            Ok(key) => key,
            Err(refused) => return self.lent_relay_directed(cx, id, Err(refused)),
        };
        let Some(loan) = self.loans.get_mut(&id) else { return };
        let Some((server, key)) = loan.relay.as_mut() else { return };
        *key = Some(shared);
        let (addresses, message, how) =
            (server.signalling, loan.direction.clone(), (Retry::between_servers(), loan.ticket.trace));
        self.request_server(cx, (shared, addresses), message, how, Tag::LendRelay(id));
    }

    /// The RS is ready, or refuses, or is silent: then the next one is tried.
    pub(super) fn lent_relay_directed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(), Refusal>) {
        let Some(loan) = self.loans.get_mut(&id) else { return };
        let Some((server, key)) = loan.relay.take() else { return };
        let session = key.and_then(|key| self.endpoint.association(key)?.session_of(Role::Rs));
        let refused = match (result, session) {
            (Ok(()), Some(session)) => {
                let Some(Loan { ticket, direction, .. }) = self.loans.remove(&id) else { return };
                cx.count("dc.relay_lent");
                let message = RelayAssignment {
                    negotiation: direction.negotiation,
                    relay: server.name,
                    addresses: server.signalling,
                    session,
                };
                return self.endpoint.answer(cx, &ticket, message);
            }
            (Ok(()), None) => refusal(RefusalCode::ServerUnreachable, "the key with it has ended", None),
            // Whoever has drawn the SPI draws again.
            (Err(refused), _) if refused.code == RefusalCode::SpiInUse => return self.end_loan(cx, id, &refused),
            (Err(refused), _) => refused,
        };
        let mut relays = std::mem::take(&mut loan.relays);
        self.note_failed_relay(cx, &mut relays, (server.name, key.is_some()), &refused);
        if let Some(loan) = self.loans.get_mut(&id) {
            loan.relays = relays;
        }
        self.lend(cx, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_coordinator_has_its_own_share_and_has_it_again_later() {
        let [one, other] = ["dc.u1.example", "dc.u2.example"].map(|name| Fqdn::parse(name).expect("a sound name"));
        let (within, start) = (Duration::from_secs(300), Instant::ORIGIN);
        let mut lent = Lent::default();
        assert!((0..3).all(|_| lent.count(&one, 3, within, start)));
        assert!(!lent.count(&one, 3, within, start + Duration::from_secs(299)));
        assert!(lent.count(&other, 3, within, start + Duration::from_secs(299)));
        assert!(lent.count(&one, 3, within, start + within));
        assert_eq!((lent.given.len(), lent.counts.len()), (2, 2));
    }
}
