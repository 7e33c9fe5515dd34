//! Where nodes are: registration, keepalives, and the Notification Server of those that want one.

use super::config::{OwnServer, seconds};
use super::nodes::Registration;
use super::servers::{ServerKind, Then};
use super::{Cx, DirectionCoordinator, DirectionCoordinatorEvent, Due, Tag, Wait, records, refusal};
use crate::endpoint::{Path, Peer, Retry, Ticket};
use crate::machine::{Effect, ServerAddresses};
use crate::time::UnixTime;
use ntmobile_wire::address::Leg;
use ntmobile_wire::identifier::KeyId;
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{
    Keepalive, NotificationAssignment, NotificationDirection, NtmAck, Reachability, Refusal, RefusalCode,
    RegistrationRequest, RegistrationResponse,
};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::SocketAddr;

/// A registration that waits for the store or for a Notification Server.
#[derive(Debug)]
pub(super) struct RegistrationInProgress {
    ticket: Ticket,
    request: RegistrationRequest,
    from: SocketAddr,
    /// The Notification Server that is being tried and K_ntmns for it.
    server: Option<(OwnServer, NamedKey)>,
    /// The Notification Servers that have failed.
    tried: Vec<Fqdn>,
    /// Whether the key with the present one was made anew already.
    renewed: bool,
    /// What the node will be told, once it is stored.
    granted: Option<RegistrationResponse>,
}

impl DirectionCoordinator {
    /// *Registration Request*.
    pub(super) fn registration_requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: RegistrationRequest) {
        let Path::Datagram(from) = ticket.path else { return };
        if !matches!(request.reachability, Reachability::UdpKeepalive | Reachability::TcpNs) {
            let detail = "this DC offers udp-keepalive and tcp-ns";
            return self.refuse(cx, &ticket, RefusalCode::Unsupported, detail);
        }
        let stale = self.nodes.sender_mut(&ticket).is_none_or(|record| {
            record
                .registration
                .as_ref()
                .is_some_and(|known| known.session == ticket.session && known.epoch > request.epoch)
        });
        if stale {
            return self.refuse(cx, &ticket, RefusalCode::NotAllowed, "a newer registration is known");
        }
        self.supersede(cx, ticket.sender());
        if self.registrations.len() >= self.config.registrations {
            return self.refuse(cx, &ticket, RefusalCode::Overloaded, "too many nodes register at once; try again");
        }
        let Some((index, is_new)) = self.nodes.allot(&ticket.sender().name) else {
            return self.refuse(cx, &ticket, RefusalCode::Overloaded, "the domain's virtual prefix is full");
        };
        let id = self.draw_id();
        let name = ticket.sender().name.clone();
        let registration = RegistrationInProgress {
            ticket,
            request,
            from,
            server: None,
            tried: Vec::new(),
            renewed: false,
            granted: None,
        };
        self.registrations.insert(id, registration);
        if is_new {
            let call = self.calls.open(Wait::AddressStored(id));
            cx.push(Effect::Persist { call, writes: vec![records::address_write(name.as_str(), index)] });
        } else {
            self.record_registration(cx, id);
        }
    }

    /// A node that registers once more has done with what it asked before.
    fn supersede(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let older: Vec<u64> = self
            .registrations
            .iter()
            .filter(|(_, registration)| registration.ticket.sender() == peer)
            .map(|(id, _)| *id)
            .collect();
        for RegistrationInProgress { ticket, .. } in older.iter().filter_map(|id| self.registrations.remove(id)) {
            cx.count("dc.registration_superseded");
            self.endpoint.finish(cx, &ticket);
        }
    }

    /// The node's new address is on stable storage.
    pub(super) fn address_stored(&mut self, cx: &mut Cx<'_>, id: u64, failure: Option<String>) {
        match failure {
            None => {
                if let Some(registration) = self.registrations.get(&id) {
                    self.nodes.address_is_stored(&registration.ticket.sender().name);
                }
                self.record_registration(cx, id);
            }
            Some(failure) => {
                if let Some(registration) = self.registrations.remove(&id) {
                    self.refuse(cx, &registration.ticket, RefusalCode::StorageFailed, failure);
                }
            }
        }
    }

    /// From now on the node is found where the request came from.
    fn record_registration(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(RegistrationInProgress { ticket, request, from, .. }) = self.registrations.get(&id) else { return };
        let lifetime = self.registration_lifetime(request.reachability);
        let real = request.real.iter().copied().find(|real| real.is_ipv4() == from.is_ipv4()).unwrap_or(*from);
        let leg = Leg { real, outer: *from };
        let (wants_notification, peer) = (request.reachability == Reachability::TcpNs, ticket.sender().clone());
        let registration = Registration {
            legs: vec![leg],
            real: request.real.clone(),
            reachability: request.reachability,
            epoch: request.epoch,
            session: ticket.session,
            until: cx.now + lifetime,
        };
        let Some(record) = self.nodes.get_mut(&peer) else { return };
        record.key = ticket.key;
        self.deadlines.set(Due::Lapse(peer), cx.now + lifetime);
        let before = record.registration.replace(registration);
        // A node that has not moved and registers again has lost its connection: its Notification Server may have lost
        // the key, or be gone.
        let is_again = before.is_some_and(|before| {
            before.session == ticket.session && before.legs.iter().any(|known| known.outer == leg.outer)
        });
        if is_again {
            record.notification = None;
        }
        let assigned = record.notification.as_ref().is_some_and(|(_, until)| *until > cx.now + lifetime);
        if wants_notification && !assigned {
            self.assign_notification_server(cx, id);
        } else {
            self.complete_registration(cx, id);
        }
    }

    /// Picks a Notification Server; nodes are spread by their name, and the next one is taken where one fails.
    fn assign_notification_server(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        let servers = &self.config.notification_servers;
        let name = registration.ticket.sender().name.as_str();
        let first = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let (before, from) = servers.split_at(first.checked_rem(servers.len()).unwrap_or_default());
        let server = self.servers.prefer(from.iter().chain(before), &registration.tried, cx.now).cloned();
        let Some(server) = server else {
            let RegistrationInProgress { ticket, .. } = self.registrations.remove(&id).expect("it was just found");
            let detail = "no Notification Server answers; register with udp-keepalive or try again";
            return self.refuse(cx, &ticket, RefusalCode::ServerUnreachable, detail);
        };
        registration.server = Some((server.clone(), NamedKey::draw(cx.entropy)));
        registration.renewed = false;
        let trace = registration.ticket.trace;
        let addresses = addresses_of(&server);
        self.with_server_key(cx, ServerKind::Notification, &addresses, trace, Then::AnnounceNode(id));
    }

    /// *Notification Direction* to the Notification Server.
    pub(super) fn announce_node(&mut self, cx: &mut Cx<'_>, id: u64, key: Result<KeyId, Refusal>) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        let (Ok(server_key), Some((server, key))) = (key, &registration.server) else {
            return self.notification_server_failed(cx, id, true);
        };
        let message = NotificationDirection {
            node: registration.ticket.sender().name.clone(),
            application: registration.ticket.sender().application,
            key: key.clone(),
            lifetime_s: seconds(self.config.server_key_lifetime),
            node_session: registration.ticket.session,
        };
        let how = (Retry::between_servers(), registration.ticket.trace);
        let to = (server_key, server.signalling);
        self.request_server(cx, to, message, how, Tag::NotificationDirection(id));
    }

    /// The Notification Server knows the node, or refuses.
    pub(super) fn notification_directed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(), Refusal>) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        let (Ok(()), Some((server, key))) = (result, registration.server.clone()) else {
            return self.notification_server_failed(cx, id, false);
        };
        let server_key = self.servers.key_of(ServerKind::Notification, &server.name);
        let server_session = server_key
            .and_then(|key| self.endpoint.association(key))
            .and_then(|association| association.session_of(Role::Ns));
        let until = cx.now + self.config.server_key_lifetime;
        let peer = registration.ticket.sender().clone();
        if let (Some(server_session), Some(record)) = (server_session, self.nodes.get_mut(&peer)) {
            let event = DirectionCoordinatorEvent::Assigned { node: peer.clone(), server: server.name.clone() };
            cx.event(event);
            let assignment = NotificationAssignment {
                server: server.name,
                addresses: server.notification,
                key,
                server_session,
                keepalive_s: seconds(self.config.notification_keepalive),
            };
            record.notification = Some((assignment, until));
        }
        self.complete_registration(cx, id);
    }

    /// The Notification Server does not answer under the key that we have: it may have lost it.
    pub(super) fn notification_server_silent(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        let Some((server, _)) = &registration.server else { return };
        let server = server.clone();
        if registration.renewed {
            return self.notification_server_failed(cx, id, true);
        }
        registration.renewed = true;
        let trace = registration.ticket.trace;
        self.forget_server_key(cx, ServerKind::Notification, &server.name);
        let addresses = addresses_of(&server);
        self.with_server_key(cx, ServerKind::Notification, &addresses, trace, Then::AnnounceNode(id));
    }

    /// The next Notification Server is tried. One that is silent is asked last by others, too.
    fn notification_server_failed(&mut self, cx: &mut Cx<'_>, id: u64, is_silent: bool) {
        let Some(registration) = self.registrations.get_mut(&id) else { return };
        let Some((server, _)) = registration.server.take() else { return };
        registration.tried.push(server.name.clone());
        if is_silent {
            self.servers.rest(server.name, cx.now);
        }
        self.assign_notification_server(cx, id);
    }

    /// Everything is known that the node is to be told: it is stored first, so that a DC that starts again still finds the
    /// node, above all one that waits at a Notification Server and will not speak for an hour.
    fn complete_registration(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(waiting) = self.registrations.get_mut(&id) else { return };
        let peer = waiting.ticket.sender();
        let (Some(addresses), Some(record)) = (self.nodes.addresses(&peer.name), self.nodes.get(peer)) else { return };
        let Some(registration) = &record.registration else { return };
        let notified = registration.reachability == Reachability::TcpNs;
        let lifetime =
            if notified { self.config.notified_registration_lifetime } else { self.config.registration_lifetime };
        let response = RegistrationResponse {
            addresses,
            outer: waiting.from,
            lifetime_s: seconds(lifetime),
            keepalive_s: if notified { 0 } else { seconds(self.config.keepalive) },
            notification: record.notification.as_ref().filter(|_| notified).map(|(assignment, _)| assignment.clone()),
            prefix_lengths: (self.config.virtual_v4.1, 64),
        };
        let left = record.notification.as_ref().map_or(0, |(_, ends)| ends.since(cx.now).as_secs());
        let key_ends = UnixTime(cx.wall.0.saturating_add(left));
        let write = records::registration_write(peer, (record.key, registration), &response, key_ends);
        waiting.granted = Some(response);
        let call = self.calls.open(Wait::RegistrationStored(id));
        cx.push(Effect::Persist { call, writes: vec![write] });
    }

    /// The registration is on stable storage. Where the store fails it is granted all the same: without it a restart would only
    /// be noticed later, by the node's next keepalive.
    pub(super) fn registration_stored(&mut self, cx: &mut Cx<'_>, id: u64, is_stored: bool) {
        let Some(RegistrationInProgress { ticket, granted, .. }) = self.registrations.remove(&id) else { return };
        let Some(granted) = granted else { return };
        if !is_stored {
            cx.count("dc.registration_not_stored");
        }
        let peer = ticket.sender().clone();
        cx.count("dc.registered");
        cx.event(DirectionCoordinatorEvent::Registered { node: peer.clone() });
        self.endpoint.answer(cx, &ticket, granted);
        self.follow(cx, &peer);
    }

    /// *Keepalive*: refreshes the registration and the leg it came on.
    pub(super) fn kept_alive(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, keepalive: &Keepalive) {
        let Path::Datagram(from) = ticket.path else { return };
        let now = cx.now;
        let lifetimes = [Reachability::UdpKeepalive, Reachability::TcpNs]
            .map(|reachability| self.registration_lifetime(reachability));
        let current = self
            .nodes
            .sender_mut(ticket)
            .and_then(|record| record.registration.as_mut())
            .filter(|known| known.session == ticket.session && known.epoch == keepalive.epoch);
        let Some(registration) = current else {
            // The DC was restarted, or the registration is from before the node's last move.
            return self.refuse(cx, ticket, RefusalCode::NotRegistered, "register again");
        };
        registration.set_leg(Leg { real: keepalive.real, outer: from });
        let lifetime = lifetimes[usize::from(registration.reachability == Reachability::TcpNs)];
        registration.until = now + lifetime;
        self.endpoint.answer(cx, ticket, NtmAck { observed: Some(from) });
    }

    /// A request from a node shows where its present leg is, whatever it asks.
    pub(super) fn refresh_leg(&mut self, ticket: &Ticket) {
        let Path::Datagram(from) = ticket.path else { return };
        let Some(registration) = self.nodes.sender_mut(ticket).and_then(|record| record.registration.as_mut()) else {
            return;
        };
        let known = registration.legs.iter().find(|leg| leg.outer.is_ipv4() == from.is_ipv4());
        if let Some(leg) = known.copied() {
            registration.set_leg(Leg { real: leg.real, outer: from });
        }
    }
}

/// Where one of our own servers is.
pub(super) fn addresses_of(server: &OwnServer) -> ServerAddresses {
    ServerAddresses { name: server.name.clone(), signalling: server.signalling, tls: server.tls }
}

/// Why a node cannot be reached.
pub(super) fn not_registered(peer: &Peer) -> Refusal {
    let detail = format!("{} is not registered now", peer.name);
    refusal(RefusalCode::PeerNotRegistered, detail, None)
}
