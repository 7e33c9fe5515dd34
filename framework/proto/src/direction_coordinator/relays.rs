//! The RS of a tunnel that we direct: one of ours, told by *Relay Direction*, or one that CN's DC lends us and tells itself.
//!
//! Ours come first. The other DC is asked once all of ours have failed or are known not to answer, and before any of those is asked
//! again: a question to it costs a round trip, one to a dead RS ten seconds.

use super::config::{OwnServer, seconds};
use super::servers::{ServerKind, Servers};
use super::{Cx, DirectionCoordinator, Tag};
use crate::endpoint::Retry;
use crate::time::Instant;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::message::{Message, Refusal, RefusalCode, RelayAssignment, RelayDirection, RelayHandshake, Route};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::time::Duration;

/// How many relays are asked again under a fresh key, before the node that waits gives up.
const RENEWALS: usize = 2;
/// *Relay Direction* to CN's DC: gives up after 23.5 s. That is enough for one RS there that has lost its key.
const BORROW_RETRY: Retry = Retry { first: Duration::from_millis(500), longest: Duration::from_secs(1), attempts: 24 };

/// The RS of one attempt.
#[derive(Clone, Debug)]
pub(super) enum PlannedRelay {
    /// One of ours, and the key under which it is told.
    Own { server: OwnServer, key: Option<KeyId> },
    /// One that CN's DC lends, once it has said which.
    Borrowed(Option<RelayAssignment>),
}

impl PlannedRelay {
    pub(super) fn name(&self) -> Option<&Fqdn> {
        match self {
            Self::Own { server, .. } => Some(&server.name),
            Self::Borrowed(assignment) => assignment.as_ref().map(|assignment| &assignment.relay),
        }
    }
}

/// Which of our RSs have been tried for a tunnel.
#[derive(Debug, Default)]
pub(super) struct RelaySearch {
    /// Those that have failed.
    tried: Vec<Fqdn>,
    /// Those of them that did not answer under a key that they may have lost, and have not been tried under another.
    silent: Vec<Fqdn>,
    /// How many have been tried under another.
    renewed: usize,
}

impl RelaySearch {
    /// The RS of the next attempt.
    pub(super) fn plan(
        &mut self,
        own: &[OwnServer],
        servers: &Servers,
        may_borrow: bool,
        now: Instant,
    ) -> Option<PlannedRelay> {
        let untried = servers.prefer(own.iter(), &self.tried, now);
        if may_borrow && untried.is_none_or(|server| servers.is_resting(server, now)) {
            return Some(PlannedRelay::Borrowed(None));
        }
        self.next(own, servers, now).map(|server| PlannedRelay::Own { server, key: None })
    }

    /// The next one of ours: once all have been tried, those that did not answer are asked again under a fresh key.
    pub(super) fn next(&mut self, own: &[OwnServer], servers: &Servers, now: Instant) -> Option<OwnServer> {
        let untried = servers.prefer(own.iter(), &self.tried, now);
        untried.or_else(|| own.iter().find(|relay| self.renews(&relay.name))).cloned()
    }

    /// Whether a relay that was silent under an old key is to be asked under a fresh one; that is done once.
    fn renews(&mut self, relay: &Fqdn) -> bool {
        let waiting = self.silent.len();
        self.silent.retain(|silent| silent != relay);
        let renews = self.silent.len() < waiting;
        self.renewed += usize::from(renews);
        renews
    }

    /// This one is of no use.
    fn failed(&mut self, relay: Fqdn) {
        self.tried.push(relay);
    }

    /// This one does not answer under a key that it may have lost.
    fn is_silent(&mut self, relay: Fqdn) {
        if self.renewed < RENEWALS {
            self.silent.push(relay);
        }
    }
}

impl DirectionCoordinator {
    /// Notes that an RS of ours has failed.
    pub(super) fn note_failed_relay(
        &mut self,
        cx: &mut Cx<'_>,
        search: &mut RelaySearch,
        (relay, is_shared): (Fqdn, bool),
        refused: &Refusal,
    ) {
        cx.count("dc.relay_failed");
        // A relay that was restarted without its store does not know the key: the next contact makes a new one.
        if refused.code == RefusalCode::ServerUnreachable {
            if is_shared {
                search.is_silent(relay.clone());
            }
            self.servers.rest(relay.clone(), cx.now);
            self.forget_server_key(cx, ServerKind::Relay, &relay);
        }
        search.failed(relay);
    }

    /// What an RS, or the DC that lends one, is told of the present attempt.
    fn relay_direction(&self, id: u64) -> Option<RelayDirection> {
        let direction = self.directions.get(&id)?;
        let (plan, cn) = (direction.plan.as_ref()?, direction.cn.as_ref()?);
        Some(RelayDirection {
            negotiation: plan.negotiation,
            handshake: plan.handshake,
            k_tun: plan.k_tun.clone()?,
            spi_mn: plan.spi_mn,
            spi_cn: plan.spi_cn,
            mn_session: direction.mn.session,
            cn_session: cn.session,
            idle_s: seconds(self.config.tunnel_idle),
        })
    }

    /// *Relay Direction* to an RS of ours, once there is a key.
    pub(super) fn direct_relay(&mut self, cx: &mut Cx<'_>, id: u64, shared: Result<KeyId, Refusal>) {
        let shared = match shared {
            Ok(key) => key,
            Err(refused) => return self.relay_directed(cx, id, Err(refused)),
        };
        let Some(message) = self.relay_direction(id) else { return };
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let how = (Retry::between_servers(), direction.trace());
        let Some(PlannedRelay::Own { server, key }) = direction.plan.as_mut().and_then(|plan| plan.relay.as_mut())
        else {
            return;
        };
        *key = Some(shared);
        let addresses = server.signalling;
        self.request_server(cx, (shared, addresses), message, how, Tag::RelayDirection(id));
    }

    /// The RS is ready, or refuses, or is silent: then the next one is tried.
    pub(super) fn relay_directed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(), Refusal>) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let Some(PlannedRelay::Own { server, key }) = direction.plan.as_ref().and_then(|plan| plan.relay.as_ref())
        else {
            return;
        };
        let (relay, is_shared) = (server.name.clone(), key.is_some());
        match result {
            Ok(()) => {
                self.decided(cx, id, Some(relay));
                self.direct_cn(cx, id);
            }
            Err(refused) if refused.code == RefusalCode::SpiInUse => self.draw_again(cx, id),
            Err(refused) => {
                let mut search = std::mem::take(&mut direction.relays);
                self.note_failed_relay(cx, &mut search, (relay, is_shared), &refused);
                if let Some(direction) = self.directions.get_mut(&id) {
                    direction.relays = search;
                }
                self.decide(cx, id);
            }
        }
    }

    /// *Relay Direction* to CN's DC: none of our RSs is left.
    pub(super) fn borrow_relay(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(message) = self.relay_direction(id) else { return };
        let Some(direction) = self.directions.get(&id) else { return };
        let Some(server) = &direction.coordinator else { return };
        let how = (BORROW_RETRY, direction.trace());
        let Some(key) = self.servers.key_of(ServerKind::Coordinator, &server.name) else {
            return self.peer_coordinator_silent(cx, id);
        };
        cx.count("dc.relay_asked_for");
        self.request_server(cx, (key, server.signalling), message, how, Tag::BorrowRelay(id));
    }

    /// CN's DC lends an RS, or does not.
    pub(super) fn relay_borrowed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<Message, Refusal>) {
        let Some(plan) = self.directions.get_mut(&id).and_then(|direction| direction.plan.as_mut()) else { return };
        let Some(PlannedRelay::Borrowed(borrowed)) = plan.relay.as_mut() else { return };
        match result {
            Ok(Message::RelayAssignment(assignment)) if assignment.negotiation == plan.negotiation => {
                let relay = assignment.relay.clone();
                *borrowed = Some(assignment);
                self.decided(cx, id, Some(relay));
                self.direct_cn(cx, id);
            }
            Err(refused) if refused.code == RefusalCode::SpiInUse => self.draw_again(cx, id),
            _ => self.relay_failed(cx, id),
        }
    }

    /// The RS of the present attempt is of no use to CN, or none is lent: another one is tried.
    pub(super) fn relay_failed(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let Some(relay) = direction.plan.as_ref().and_then(|plan| plan.relay.as_ref()) else { return };
        cx.count("dc.relay_failed");
        match relay {
            PlannedRelay::Own { server, .. } => direction.relays.failed(server.name.clone()),
            PlannedRelay::Borrowed(_) => {
                direction.may_borrow = false;
                // To ask the other DC may have taken as long as to ask an RS under a fresh key.
                direction.relays.renewed += 1;
            }
        }
        self.decide(cx, id);
    }

    /// The route through an RS that is ready.
    pub(super) fn route_through(&self, relay: &PlannedRelay, handshake: RelayHandshake) -> Option<Route> {
        let (relay, addresses, session) = match relay {
            PlannedRelay::Own { server, key } => {
                let session = self.endpoint.association((*key)?)?.session_of(Role::Rs)?;
                (server.name.clone(), server.signalling, session)
            }
            PlannedRelay::Borrowed(assignment) => {
                let assignment = assignment.as_ref()?;
                (assignment.relay.clone(), assignment.addresses, assignment.session)
            }
        };
        Some(Route::Relayed { relay, addresses, session, handshake })
    }
}
