//! One negotiation of a tunnel: from the Route Direction to the Tunnel Response.

use super::peers::{Building, Built};
use super::{ConnectError, Connection, Cx, Due, Node, NodeEvent, Tag};
use crate::endpoint::{Association, Path, Peer, Request, Retry, Ticket};
use crate::packet::Tunnel;
use crate::policy::{Opening, OuterKey};
use crate::time::Instant;
use ntmobile_wire::identifier::Negotiation;
use ntmobile_wire::key::{NamedKey, PublicKey};
use ntmobile_wire::message::{
    DirectionReason, HolePunching, Message, PublicKeyOffer, Refusal, RefusalCode, RelayHandshake, Route,
    RouteDirection, RouteDirectionAcknowledge, TunnelAction, TunnelEnd, TunnelRequest, TunnelResponse,
};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Role};
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A Tunnel Request on a direct path: gives up after 4.9 s, so that the relay is asked for while applications still wait.
const DIRECT_RETRY: Retry =
    Retry { first: Duration::from_millis(400), longest: Duration::from_millis(500), attempts: 10 };
/// A Tunnel Request through a relay: gives up after 13.5 s. With its answer it has four links to get across, so it is sent
/// twice as often as others.
const RELAYED_RETRY: Retry =
    Retry { first: Duration::from_millis(500), longest: Duration::from_millis(500), attempts: 27 };
/// Hole Punching: gives up after 6.9 s, so that the DC can try another relay while applications still wait.
const PUNCH_RETRY: Retry =
    Retry { first: Duration::from_millis(300), longest: Duration::from_millis(550), attempts: 13 };
/// How long an end that awaits a Tunnel Request through a relay, or as the called end, keeps the negotiation.
const AWAIT_PATIENCE: Duration = Duration::from_secs(35);

/// A negotiation under way.
pub(super) struct Negotiating {
    pub(super) direction: RouteDirection,
    pub(super) peer: Peer,
    /// The Route Direction that is not acknowledged yet; `None` inside where it was pulled.
    unacknowledged: Option<Option<Ticket>>,
    pub(super) peer_public_key: Option<PublicKey>,
    pub(super) k_mncn: Option<NamedKey>,
    pub(super) tunnel: Option<Arc<Tunnel>>,
    pub(super) since: Instant,
    trace: Option<TraceContext>,
}

impl Negotiating {
    /// Our role under the keys, and the peer's.
    pub(super) fn roles(&self) -> (Role, Role) {
        match self.direction.end {
            TunnelEnd::Mn => (Role::Mn, Role::Cn),
            _ => (Role::Cn, Role::Mn),
        }
    }

    pub(super) fn relay(&self) -> Option<Fqdn> {
        match &self.direction.route {
            Route::Relayed { relay, .. } => Some(relay.clone()),
            Route::Direct { .. } => None,
        }
    }
}

impl Node {
    /// *Route Direction*, pushed (with its ticket) or pulled, and the span of having received it.
    pub(super) fn route_directed(
        &mut self,
        cx: &mut Cx<'_>,
        (ticket, trace): (Option<Ticket>, Option<TraceContext>),
        direction: RouteDirection,
    ) {
        let negotiation = direction.negotiation;
        let peer = Peer { name: direction.peer.clone(), application: direction.peer_application };
        let accepted = self.examine(cx, &direction, &peer);
        let peer_public_key = match accepted {
            Ok(key) => key,
            Err(refusal) => {
                cx.count("node.direction_refused");
                self.settle_direction(cx, ticket, refusal.clone().into(), trace);
                return self.give_up_refused(cx, peer, direction.end, refusal);
            }
        };
        self.take_over(cx, &peer, &direction);
        let building_trace = self.peers.get(&peer).and_then(|entry| entry.building.as_ref()?.span).map(|s| s.context);
        let negotiating = Negotiating {
            direction,
            peer,
            unacknowledged: Some(ticket),
            peer_public_key,
            k_mncn: None,
            tunnel: None,
            since: cx.now,
            trace: trace.or(building_trace),
        };
        self.hold_negotiation_keys(&negotiating);
        let keys = [negotiating.direction.k_tun.as_ref().map(|key| key.id), Some(negotiating.direction.k_tmp.id)];
        self.negotiations.insert(negotiation, negotiating);
        self.open_route(cx, negotiation);
        for key in keys.into_iter().flatten() {
            for (from, bytes) in self.early.take(cx.now, key) {
                self.datagram(cx, from, bytes);
            }
        }
    }

    /// Our own start cannot be followed, and drawing or asking again would not help: who waits is told why.
    fn give_up_refused(&mut self, cx: &mut Cx<'_>, peer: Peer, end: TunnelEnd, refusal: Refusal) {
        let error = match refusal.code {
            RefusalCode::SpiInUse | RefusalCode::Superseded | RefusalCode::PeerNotRegistered => return,
            RefusalCode::NotAllowed => ConnectError::KeyAgreement(refusal.detail),
            _ => ConnectError::from_refusal(&peer.name, refusal),
        };
        if end == TunnelEnd::Mn {
            let entry = if self.peers.contains_key(&peer) { peer } else { Peer::named(peer.name) };
            self.connect_failed(cx, &entry, error);
        }
    }

    /// Makes this negotiation the one that the peer's entry waits for.
    fn take_over(&mut self, cx: &mut Cx<'_>, peer: &Peer, direction: &RouteDirection) {
        let default = Peer::named(peer.name.clone());
        if !self.peers.contains_key(peer)
            && self.peers.get(&default).is_some_and(|entry| entry.built.is_none())
            && let Some(entry) = self.peers.remove(&default)
        {
            self.defaults.insert(peer.name.clone(), peer.application);
            self.peers.insert(peer.clone(), entry);
        }
        let entry = self.peers.entry(peer.clone()).or_default();
        let mut dropped = None;
        let is_mn = direction.end == TunnelEnd::Mn;
        if let Some(building) = entry.building.as_mut() {
            dropped = building.negotiation.replace(direction.negotiation);
            if let Some(asked) = building.asked.take() {
                self.endpoint.complete(cx, asked);
            }
            if !is_mn {
                // Our own start has lost; who waits joins the winner.
                building.reason = direction.reason;
            }
        } else {
            entry.building = Some(Building {
                asked: None,
                negotiation: Some(direction.negotiation),
                reason: direction.reason,
                since: cx.now,
                attempts: Vec::new(),
                span: None,
            });
        }
        self.deadlines.cancel(&Due::Superseded(peer.clone()));
        if let Some(negotiation) = dropped {
            self.drop_negotiation(negotiation);
        }
    }

    /// K_tun, and K_tmp where it seals Tunnel Request itself.
    fn hold_negotiation_keys(&mut self, negotiating: &Negotiating) {
        let (own, other) = negotiating.roles();
        let direction = &negotiating.direction;
        let session = self.endpoint.session();
        let speaker = (other, Some(direction.peer_session));
        let associate = |key: &NamedKey, kind| {
            Association::new(key.clone(), kind, (own, session), speaker, negotiating.peer.clone())
        };
        if let Some(k_tun) = &direction.k_tun {
            let mut association = associate(k_tun, KeyKind::Tun);
            if let Route::Relayed { session, .. } = &direction.route {
                association = association.with_speaker(Role::Rs, Some(*session));
            }
            self.endpoint.add(association);
        }
        if self.outer_key(direction) == OuterKey::KTmp {
            self.endpoint.add(associate(&direction.k_tmp, KeyKind::Tmp));
        }
    }

    pub(super) fn relay_address(&self, addresses: &ntmobile_wire::address::DualStack) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|own| addresses.matching(SocketAddr::new(*own, 0)))
    }

    /// The first step on the route: punch, send or await.
    fn open_route(&mut self, cx: &mut Cx<'_>, id: Negotiation) {
        let Some(negotiating) = self.negotiations.get(&id) else { return };
        let direction = negotiating.direction.clone();
        let opening = match &direction.route {
            Route::Relayed { handshake, .. } => {
                let strategy = self.config.strategies.relay_handshake_of(*handshake);
                strategy.map_or(Opening::PunchThenAwait, |strategy| strategy.opening(direction.end))
            }
            Route::Direct { .. } if direction.action == TunnelAction::Send => Opening::SendKey,
            Route::Direct { .. } => {
                let patience = self.await_patience(&direction);
                self.deadlines.set(Due::Negotiation(id), cx.now + patience);
                return self.acknowledge(cx, id);
            }
        };
        match opening {
            Opening::PunchThenAwait => self.punch(cx, id, &direction),
            Opening::SendKey => {
                self.acknowledge(cx, id);
                self.send_tunnel_request(cx, id, true);
            }
            Opening::SendPresence => {
                self.acknowledge(cx, id);
                self.send_tunnel_request(cx, id, false);
            }
        }
    }

    /// The end that started and awaits a direct Tunnel Request asks for the relay before applications give up.
    fn await_patience(&self, direction: &RouteDirection) -> Duration {
        match (&direction.route, direction.end) {
            (Route::Direct { .. }, TunnelEnd::Mn) => self.config.direct_patience,
            _ => AWAIT_PATIENCE,
        }
    }

    /// *Hole Punching* towards the RS.
    fn punch(&mut self, cx: &mut Cx<'_>, id: Negotiation, direction: &RouteDirection) {
        let trace = self.negotiations.get(&id).and_then(|negotiating| negotiating.trace);
        let (Some(relay), Some(k_tun)) = (self.next_hop(direction), &direction.k_tun) else { return };
        let message = HolePunching { negotiation: id, spi_in: direction.spi_in };
        let request = Request::to(k_tun.id, Path::Datagram(relay), message, trace);
        self.endpoint.request(cx, Request { retry: PUNCH_RETRY, ..request }, Tag::HolePunching(id));
    }

    pub(super) fn next_hop(&self, direction: &RouteDirection) -> Option<SocketAddr> {
        match &direction.route {
            Route::Relayed { addresses, .. } => self.relay_address(addresses),
            Route::Direct { candidates } => candidates.first().copied(),
        }
    }

    /// The RS has taken our leg.
    pub(super) fn leg_opened(&mut self, cx: &mut Cx<'_>, id: Negotiation, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                self.deadlines.set(Due::Negotiation(id), cx.now + AWAIT_PATIENCE);
                self.acknowledge(cx, id);
            }
            Err(refusal) => self.negotiation_failed(cx, id, ConnectError::Refused(refusal)),
        }
    }

    fn acknowledge(&mut self, cx: &mut Cx<'_>, id: Negotiation) {
        let Some(negotiating) = self.negotiations.get_mut(&id) else { return };
        let Some(ticket) = negotiating.unacknowledged.take() else { return };
        let trace = negotiating.trace;
        let needs_key = self.config.strategies.agreement_of(negotiating.direction.agreement);
        let needs_key = needs_key.is_some_and(|agreement| agreement.needs_public_keys());
        let voucher = self.login.granted.as_ref().map(|granted| granted.response.voucher.clone());
        let public_key = voucher.filter(|_| needs_key).map(|voucher| PublicKeyOffer { voucher });
        let message = RouteDirectionAcknowledge { negotiation: id, public_key };
        self.settle_direction(cx, ticket, message.into(), trace);
    }

    fn settle_direction(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: Option<Ticket>,
        message: Message,
        trace: Option<TraceContext>,
    ) {
        match ticket {
            Some(ticket) => self.endpoint.answer(cx, &ticket, message),
            None => self.acknowledge_pulled(cx, message, trace),
        }
    }

    /// *Tunnel Request*, with K_mncn or, in `rendezvous`, without.
    fn send_tunnel_request(&mut self, cx: &mut Cx<'_>, id: Negotiation, with_key: bool) {
        let mut wrapped_key = Vec::new();
        let mut answer_keys = Vec::new();
        if with_key {
            let key = NamedKey::draw(cx.entropy);
            match self.wrap_key(cx, id, &key) {
                Ok(wrapped) => wrapped_key = wrapped,
                Err(error) => return self.negotiation_failed(cx, id, error),
            }
            if !self.is_met_by_relay(id) {
                // The RS and the DCs hold what seals the request: that the peer has the key, only that key shows.
                answer_keys.push(key.id);
            }
            if let Err(error) = self.learn_key(cx, id, key) {
                return self.negotiation_failed(cx, id, error);
            }
        }
        let Some(negotiating) = self.negotiations.get(&id) else { return };
        let direction = &negotiating.direction;
        let (paths, retry) = match &direction.route {
            Route::Direct { candidates } => (candidates.iter().copied().map(Path::Datagram).collect(), DIRECT_RETRY),
            Route::Relayed { .. } => {
                (self.next_hop(direction).map(Path::Datagram).into_iter().collect(), RELAYED_RETRY)
            }
        };
        let key = match (self.outer_key(direction), &direction.k_tun) {
            (OuterKey::KTun, Some(k_tun)) => k_tun.id,
            _ => direction.k_tmp.id,
        };
        let message = TunnelRequest { negotiation: id, end: direction.end, wrapped_key }.into();
        let request = Request { key, answer_keys, paths, message, retry, trace: negotiating.trace };
        self.endpoint.request(cx, request, Tag::TunnelRequest(id));
    }

    /// Whether the RS answers in the peer's place (`rendezvous`): then the first packet shows that the peer has the key.
    fn is_met_by_relay(&self, id: Negotiation) -> bool {
        let route = self.negotiations.get(&id).map(|negotiating| &negotiating.direction.route);
        matches!(route, Some(Route::Relayed { handshake: RelayHandshake::Rendezvous, .. }))
    }

    /// *Tunnel Request* from the peer.
    pub(super) fn tunnel_requested(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, request: &TunnelRequest) {
        let id = request.negotiation;
        let fits = self.negotiations.get(&id).is_some_and(|negotiating| {
            negotiating.roles().1 == ticket.role && negotiating.peer == *ticket.sender() && negotiating.tunnel.is_none()
        });
        let Path::Datagram(from) = ticket.path else { return };
        if !fits {
            cx.count("node.stray_tunnel_request");
            return self.refuse(cx, ticket, RefusalCode::NotAllowed, "no tunnel is awaited", Some(id));
        }
        let learnt = self.unwrap_key(id, &request.wrapped_key).and_then(|key| {
            let key_id = key.id;
            self.learn_key(cx, id, key).map(|()| key_id)
        });
        match learnt {
            Ok(key) => {
                // What the response is sealed with shows that the key was understood.
                let response = TunnelResponse { negotiation: id, wrapped_key: Vec::new() };
                self.endpoint.answer_under(cx, ticket, key, response);
                self.built(cx, id, Some(from));
            }
            Err(error) => {
                self.refuse(cx, ticket, RefusalCode::NotAllowed, error.to_string(), Some(id));
                self.negotiation_failed(cx, id, error);
            }
        }
    }

    /// *Tunnel Response*, from the peer or, in `rendezvous`, from the RS.
    pub(super) fn tunnel_answered(
        &mut self,
        cx: &mut Cx<'_>,
        id: Negotiation,
        result: Result<Message, Refusal>,
        path: Path,
    ) {
        let response = match result {
            Ok(Message::TunnelResponse(response)) if response.negotiation == id => response,
            Ok(_) => return self.negotiation_failed(cx, id, ConnectError::KeyAgreement("a strange answer".into())),
            Err(refusal) => return self.negotiation_failed(cx, id, ConnectError::Refused(refusal)),
        };
        let Some(negotiating) = self.negotiations.get(&id) else { return };
        if negotiating.tunnel.is_none() {
            let learnt = self.unwrap_key(id, &response.wrapped_key).and_then(|key| self.learn_key(cx, id, key));
            if let Err(error) = learnt {
                return self.negotiation_failed(cx, id, error);
            }
        }
        let Path::Datagram(from) = path else { return };
        self.built(cx, id, Some(from));
    }

    /// The tunnel stands: packets go out through it, and whoever waited is told.
    fn built(&mut self, cx: &mut Cx<'_>, id: Negotiation, from: Option<SocketAddr>) {
        let Some(negotiating) = self.negotiations.remove(&id) else { return };
        self.deadlines.cancel(&Due::Negotiation(id));
        let relay = negotiating.relay();
        let remote = from.or_else(|| Some(negotiating.tunnel.as_ref()?.next_hop()));
        let attempt = remote.map(|remote| negotiating.attempt(cx.now, Ok(remote)));
        let Negotiating { direction, peer, peer_public_key, k_mncn, tunnel, trace, .. } = negotiating;
        let (Some(tunnel), Some(k_mncn)) = (tunnel, k_mncn) else { return };
        if let Some(from) = from
            && tunnel.next_hop() != from
        {
            tunnel.move_to(from);
        }
        self.tunnels.activate(&tunnel);
        if self.outer_key(&direction) == OuterKey::KTmp {
            // Our response may be lost: the request is repeated under this key and must be answered again.
            self.endpoint.expire_at(direction.k_tmp.id, cx.now + AWAIT_PATIENCE);
        }
        let mut addresses = direction.peer_addresses;
        addresses.v4 = tunnel.settings().alias.unwrap_or(addresses.v4);
        let connection = Connection { peer: peer.clone(), addresses, relay, remote: tunnel.next_hop() };
        let entry = self.peers.entry(peer.clone()).or_default();
        let building = entry.building.take();
        let waiters = std::mem::take(&mut entry.waiters);
        entry.trace = entry.trace.or(trace);
        let conversation = building.as_ref().and_then(|building| building.span).map(|span| span.context);
        let idle = Duration::from_secs(u64::from(direction.idle_s));
        let previous = entry.built.replace(Built {
            tunnel,
            connection: connection.clone(),
            end: direction.end,
            negotiation: id,
            agreement: direction.agreement,
            peer_public_key,
            peer_session: direction.peer_session,
            k_tmp: direction.k_tmp,
            k_tun: direction.k_tun.map(|key| key.id),
            k_mncn: k_mncn.id,
            spi_out: direction.spi_out,
            idle,
            since: cx.now,
            trace: conversation.or(trace),
            proved: false,
            rekey: None,
            probing: None,
            probe_from: cx.now,
            measuring: None,
        });
        let handover = previous.is_some();
        if let Some(previous) = previous {
            self.retire(cx, previous);
        }
        let mut attempts = Vec::new();
        let mut since = cx.now;
        if let Some(mut building) = building {
            attempt.into_iter().for_each(|attempt| building.note(attempt));
            (attempts, since) = (building.attempts, building.since);
            self.end_building_span(cx, &peer, building.span, building.reason, Ok(&connection));
        }
        self.watch(cx, &peer, direction.end, idle);
        cx.count("node.tunnel_built");
        for waiter in waiters {
            cx.event(NodeEvent::Connected { waiter, connection: connection.clone() });
        }
        cx.event(NodeEvent::TunnelBuilt { connection, handover, took: cx.now.since(since), attempts });
    }

    /// A negotiation has come to nothing. The end that started asks for the relay where a direct path was tried.
    pub(super) fn negotiation_failed(&mut self, cx: &mut Cx<'_>, id: Negotiation, error: ConnectError) {
        let Some(negotiating) = self.negotiations.get(&id) else { return };
        let peer = negotiating.peer.clone();
        let was_direct = matches!(negotiating.direction.route, Route::Direct { .. });
        let is_mn = negotiating.direction.end == TunnelEnd::Mn;
        let attempt = negotiating.attempt(cx.now, Err(error.clone()));
        cx.count("node.negotiation_failed");
        self.refuse_unacknowledged(cx, id, &error);
        self.drop_negotiation(id);
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let Some(building) = entry.building.as_mut().filter(|building| building.negotiation == Some(id)) else {
            return;
        };
        building.note(attempt);
        if !is_mn {
            // The end that started will try again or give up; whoever waits here waits no longer for that.
            if !entry.waiters.is_empty() {
                return self.ask_direction(cx, &peer, DirectionReason::NewTunnel);
            }
            let building = entry.building.take();
            if entry.built.is_none() {
                self.peers.remove(&peer);
            }
            if let Some(Building { span, reason, .. }) = building {
                // Our own start had given way to this one.
                self.end_building_span(cx, &peer, span, reason, Err(&error));
            }
            return;
        }
        let may_relay = was_direct && building.reason != DirectionReason::DirectFailed;
        if may_relay {
            cx.count("node.direct_failed");
            self.ask_direction(cx, &peer, DirectionReason::DirectFailed);
        } else {
            self.connect_failed(cx, &peer, error);
        }
    }

    /// Tells the DC of a negotiation that failed before it could be acknowledged.
    fn refuse_unacknowledged(&mut self, cx: &mut Cx<'_>, id: Negotiation, error: &ConnectError) {
        let Some(negotiating) = self.negotiations.get_mut(&id) else { return };
        let Some(ticket) = negotiating.unacknowledged.take() else { return };
        let trace = negotiating.trace;
        let code = match negotiating.direction.route {
            Route::Relayed { .. } => RefusalCode::NoRelay,
            Route::Direct { .. } => RefusalCode::NotAllowed,
        };
        let refusal = Refusal { code, detail: error.to_string(), negotiation: Some(id) };
        self.settle_direction(cx, ticket, refusal.into(), trace);
    }

    /// Forgets a negotiation and whatever it has put into the tables.
    pub(super) fn drop_negotiation(&mut self, id: Negotiation) {
        let Some(negotiating) = self.negotiations.remove(&id) else { return };
        self.deadlines.cancel(&Due::Negotiation(id));
        if let Some(tunnel) = &negotiating.tunnel {
            self.tunnels.remove(tunnel);
        }
        let direction = &negotiating.direction;
        let keys = [direction.k_tun.as_ref(), Some(&direction.k_tmp), negotiating.k_mncn.as_ref()];
        for key in keys.into_iter().flatten() {
            self.endpoint.remove(key.id);
        }
    }
}
