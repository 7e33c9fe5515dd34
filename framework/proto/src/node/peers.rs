//! Which peers are none, building or built, and who waits for them.

use super::liveness::Probing;
use super::{Attempt, ConnectError, Connection, Cx, Due, Node, NodeEvent, Tag};
use crate::endpoint::{Path, Peer, Request, Retry};
use crate::machine::Effect;
use crate::packet::Tunnel;
use crate::policy::HandoverStep;
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::{NamedKey, PublicKey};
use ntmobile_wire::message::{
    DirectionReason, DirectionRequest, Keepalive, KeyAgreement, Message, PublicKeyOffer, Refusal, RefusalCode,
    TunnelEnd,
};
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Applications that may wait for one tunnel.
const WAITERS: usize = 1_024;
/// How long a direction may be owed before the DC is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_secs(3);
/// A keepalive that asks that: gives up after 13.5 s, far sooner than the Direction Request itself.
const PROBE_RETRY: Retry = Retry { first: Duration::from_millis(500), longest: Duration::from_secs(1), attempts: 14 };
/// A leg proved to the RS again: gives up after 6.9 s.
const LEG_RETRY: Retry = Retry { first: Duration::from_millis(300), longest: Duration::from_millis(550), attempts: 13 };
/// How long the winner of a glare may take before the loser asks again.
const SUPERSEDED_PATIENCE: Duration = Duration::from_secs(15);

/// What a node knows of a peer.
#[derive(Default)]
pub(super) struct PeerEntry {
    /// *Built*.
    pub(super) built: Option<Built>,
    /// *Building*, for the first time or again.
    pub(super) building: Option<Building>,
    /// Who waits.
    pub(super) waiters: Vec<u64>,
    /// The conversation's trace.
    pub(super) trace: Option<TraceContext>,
}

/// A tunnel that stands.
pub(super) struct Built {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) connection: Connection,
    pub(super) end: TunnelEnd,
    pub(super) negotiation: Negotiation,
    pub(super) agreement: KeyAgreement,
    pub(super) peer_public_key: Option<PublicKey>,
    pub(super) peer_session: Session,
    pub(super) k_tmp: NamedKey,
    pub(super) k_tun: Option<KeyId>,
    pub(super) k_mncn: KeyId,
    pub(super) spi_out: Spi,
    pub(super) idle: Duration,
    pub(super) since: Instant,
    pub(super) trace: Option<TraceContext>,
    pub(super) proved: bool,
    /// A rekey that waits for its response.
    pub(super) rekey: Option<(u8, NamedKey)>,
    /// Whether the peer is there is being asked.
    pub(super) probing: Option<Probing>,
    /// Since when the peer may be asked again.
    pub(super) probe_from: Instant,
    /// When the peer was asked for the sake of how long the answer takes.
    pub(super) measuring: Option<Instant>,
}

/// A tunnel that is being built.
pub(super) struct Building {
    /// Our Direction Request, until the Route Direction comes. `None` where the peer started.
    pub(super) asked: Option<Transaction>,
    /// The negotiation, once directed.
    pub(super) negotiation: Option<Negotiation>,
    pub(super) reason: DirectionReason,
    /// Since when.
    pub(super) since: Instant,
    /// What has been tried.
    pub(super) attempts: Vec<Attempt>,
    /// The span of building it: the conversation itself, or a handover within it.
    pub(super) span: Option<BuildingSpan>,
}

/// The span of building a tunnel that we started.
#[derive(Clone, Copy)]
pub(super) struct BuildingSpan {
    pub(super) context: TraceContext,
    parent: Option<[u8; 8]>,
    name: &'static str,
    started: Instant,
}

impl Building {
    /// Whether this end is the one that started.
    pub(super) fn is_ours(&self) -> bool {
        self.span.is_some()
    }
}

impl Node {
    /// The key that a peer is known by here: 0 stands for the application that answered for the device's default.
    pub(super) fn known_as(&self, peer: &Peer) -> Peer {
        if peer.application != ApplicationId(0) || self.peers.contains_key(peer) {
            return peer.clone();
        }
        self.defaults
            .get(&peer.name)
            .map_or_else(|| peer.clone(), |application| Peer { name: peer.name.clone(), application: *application })
    }

    /// An application wants to talk.
    pub(super) fn connect(&mut self, cx: &mut Cx<'_>, waiter: u64, wanted: Peer) {
        let peer = self.known_as(&wanted);
        let joined = self.registered.is_some();
        if !joined && (self.epoch == 0 || self.joining.is_some() || !self.is_wanted) {
            return cx.event(NodeEvent::ConnectFailed { waiter, error: ConnectError::NotJoined });
        }
        let entry = self.peers.entry(peer.clone()).or_default();
        if let Some(built) = &entry.built {
            let connection = built.connection.clone();
            return cx.event(NodeEvent::Connected { waiter, connection });
        }
        if entry.waiters.len() >= WAITERS {
            let detail = "too many connections wait for this tunnel".to_owned();
            let refusal = Refusal { code: RefusalCode::Overloaded, detail, negotiation: None };
            return cx.event(NodeEvent::ConnectFailed { waiter, error: ConnectError::Refused(refusal) });
        }
        entry.waiters.push(waiter);
        if entry.building.is_none() && joined {
            self.ask_direction(cx, &peer, DirectionReason::NewTunnel);
        }
    }

    /// Asks for what applications began to wait for while the node was not registered.
    pub(super) fn ask_for_waiting(&mut self, cx: &mut Cx<'_>) {
        let waiting: Vec<Peer> = self
            .peers
            .iter()
            .filter(|(_, entry)| !entry.waiters.is_empty() && entry.building.is_none() && entry.built.is_none())
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in waiting {
            self.ask_direction(cx, &peer, DirectionReason::NewTunnel);
        }
    }

    /// Directions that were asked for under a key that is gone: they are asked for again after the next registration.
    pub(super) fn forget_directions(&mut self, cx: &mut Cx<'_>) {
        for peer in self.owed() {
            let building = self.peers.get_mut(&peer).and_then(|entry| entry.building.take());
            if let Some(building) = building {
                self.end_building_span(cx, &peer, building.span, building.reason, Err(&ConnectError::NotJoined));
            }
        }
    }

    /// Whoever waits is asked for once the node is registered again.
    fn put_off(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(building) = self.peers.get_mut(peer).and_then(|entry| entry.building.take()) else { return };
        self.end_building_span(cx, peer, building.span, building.reason, Err(&ConnectError::NotJoined));
        if let Some(asked) = building.asked {
            self.endpoint.complete(cx, asked);
        }
        if let Some(negotiation) = building.negotiation {
            self.drop_negotiation(negotiation);
        }
    }

    /// Hands every tunnel over, after the node has moved and registered.
    pub(super) fn hand_over(&mut self, cx: &mut Cx<'_>) {
        let tunnels: Vec<(Peer, bool)> = self
            .peers
            .iter()
            .filter_map(|(peer, entry)| Some((peer.clone(), entry.built.as_ref()?.connection.relay.is_some())))
            .collect();
        // What was begun at the old address does not come about there.
        let begun: Vec<Peer> = self
            .peers
            .iter()
            .filter(|(_, entry)| entry.built.is_none() && entry.building.as_ref().is_some_and(Building::is_ours))
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in begun {
            self.ask_direction(cx, &peer, DirectionReason::NewTunnel);
        }
        for (peer, relayed) in tunnels {
            match self.config.strategies.handover.step(relayed) {
                HandoverStep::Resignal => self.ask_direction(cx, &peer, DirectionReason::Handover),
            }
        }
        self.moved_at = None;
    }

    /// *Direction Request* to our DC.
    pub(super) fn ask_direction(&mut self, cx: &mut Cx<'_>, peer: &Peer, reason: DirectionReason) {
        let (Some(key), Some(registered), Some(granted)) =
            (self.login.key(), self.registered.clone(), &self.login.granted)
        else {
            return self.put_off(cx, peer);
        };
        let offer = PublicKeyOffer { voucher: granted.response.voucher.clone() };
        let agreement = self.config.strategies.agreement;
        let needs_key = self.config.strategies.agreement_of(agreement).is_some_and(|a| a.needs_public_keys());
        let message = DirectionRequest {
            peer: peer.name.clone(),
            application: self.config.application,
            peer_application: peer.application,
            reason,
            agreement,
            protection: self.config.strategies.protection,
            suite: self.config.suite,
            public_key: needs_key.then_some(offer),
        };
        let moved_at = self.moved_at;
        let entry = self.peers.entry(peer.clone()).or_default();
        if let Some(asked) = entry.building.as_ref().and_then(|building| building.asked) {
            self.endpoint.complete(cx, asked);
        }
        let previous = entry.building.take();
        if let Some(old) = previous.as_ref().and_then(|building| building.negotiation) {
            self.drop_negotiation(old);
        }
        let entry = self.peers.entry(peer.clone()).or_default();
        let (span, attempts) = previous.map_or((None, Vec::new()), |building| (building.span, building.attempts));
        let span = match (span, reason, entry.trace) {
            // The same wish, by another way or from another place.
            (Some(span), ..) => span,
            (_, DirectionReason::Handover, Some(conversation)) => BuildingSpan {
                context: conversation.child(cx.entropy),
                parent: Some(conversation.span),
                name: "Handover",
                started: moved_at.unwrap_or(cx.now),
            },
            _ => BuildingSpan {
                context: TraceContext::root(cx.entropy),
                parent: None,
                name: "Conversation",
                started: cx.now,
            },
        };
        if span.parent.is_none() {
            entry.trace = Some(span.context);
        }
        let path = Path::Datagram(registered.coordinator);
        let mut request = Request::to(key, path, message, Some(span.context));
        request.retry = Retry::patient();
        let asked = self.endpoint.request(cx, request, Tag::Direction(peer.clone()));
        if !self.deadlines.contains(&Due::Probe) {
            self.deadlines.set(Due::Probe, cx.now + PROBE_AFTER);
        }
        if let Some(entry) = self.peers.get_mut(peer) {
            let (asked, negotiation, span, since) = (Some(asked), None, Some(span), span.started);
            entry.building = Some(Building { asked, negotiation, reason, since, attempts, span });
        }
    }

    /// The DC has answered a Direction Request: only a refusal comes that way.
    pub(super) fn direction_refused(&mut self, cx: &mut Cx<'_>, peer: &Peer, result: Result<Message, Refusal>) {
        match result {
            Err(refusal) if refusal.code == RefusalCode::Superseded => {
                cx.count("node.superseded");
                if let Some(entry) = self.peers.get_mut(peer) {
                    if let Some(building) = entry.building.as_mut() {
                        building.asked = None;
                    }
                    self.deadlines.set(Due::Superseded(peer.clone()), cx.now + SUPERSEDED_PATIENCE);
                }
            }
            Err(refusal) if refusal.code == RefusalCode::NotRegistered => {
                // The DC has lost our registration: once it is made anew, whoever waits is asked for again.
                let is_handover = self.peers.get(peer).is_some_and(|entry| entry.built.is_some());
                self.put_off(cx, peer);
                if is_handover {
                    self.moved_at.get_or_insert(cx.now);
                }
                if self.registering.is_none() {
                    self.register(cx);
                }
            }
            Err(refusal) => {
                let error = ConnectError::from_refusal(&peer.name, refusal);
                self.connect_failed(cx, peer, error);
            }
            // A peer whose DC answers otherwise is broken; the request's own patience has ended with the answer.
            Ok(message) => {
                let detail = format!("{} in answer to Direction Request", message.label());
                self.connect_failed(cx, peer, ConnectError::ServerUnreachable(detail));
            }
        }
    }

    fn owed(&self) -> Vec<Peer> {
        let is_owed = |entry: &PeerEntry| entry.building.as_ref().is_some_and(|building| building.asked.is_some());
        self.peers.iter().filter(|(_, entry)| is_owed(entry)).map(|(peer, _)| peer.clone()).collect()
    }

    /// A direction takes long: others may have to be asked for it, or our DC is gone.
    pub(super) fn probe_coordinator(&mut self, cx: &mut Cx<'_>) {
        let (Some(key), Some(registered)) = (self.login.key(), &self.registered) else { return };
        if self.owed().is_empty() {
            return;
        }
        let message = Keepalive { application: self.config.application, real: registered.real, epoch: self.epoch };
        let request = Request::to(key, Path::Datagram(registered.coordinator), message, None);
        self.endpoint.request(cx, Request { retry: PROBE_RETRY, ..request }, Tag::Probe(self.epoch));
    }

    /// Our DC is there.
    pub(super) fn probe_answered(&mut self, cx: &mut Cx<'_>, epoch: u32, result: Result<Message, Refusal>) {
        if !self.owed().is_empty() {
            self.deadlines.set(Due::Probe, cx.now + PROBE_AFTER);
        }
        self.keepalive_answered(cx, epoch, true, result);
    }

    /// Our DC is gone: nobody needs to wait for its directions.
    pub(super) fn coordinator_silent(&mut self, cx: &mut Cx<'_>, epoch: u32) {
        if epoch == self.epoch {
            let detail = format!("the Direction Coordinator of {}", self.config.account.domain());
            for peer in self.owed() {
                self.connect_failed(cx, &peer, ConnectError::ServerUnreachable(detail.clone()));
            }
            // Or it has forgotten us, and then says nothing either.
            if self.registered.is_some() && self.registering.is_none() {
                self.login.doubt();
                self.register(cx);
            }
        }
    }

    /// There is no registration to ask for directions with: whoever waits is told.
    pub(super) fn tell_waiting(&mut self, cx: &mut Cx<'_>, error: &ConnectError) {
        let waits = |entry: &PeerEntry| !entry.waiters.is_empty() && entry.built.is_none();
        let waiting: Vec<_> =
            self.peers.iter().filter(|(_, entry)| waits(entry)).map(|(peer, _)| peer.clone()).collect();
        for peer in waiting {
            self.connect_failed(cx, &peer, error.clone());
        }
    }

    /// The winner of a glare has not come about.
    pub(super) fn superseded_too_long(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let waits =
            entry.building.as_ref().is_some_and(|building| building.asked.is_none() && building.negotiation.is_none());
        if waits {
            let reason = entry.building.as_ref().map_or(DirectionReason::NewTunnel, |building| building.reason);
            self.ask_direction(cx, peer, reason);
        }
    }

    /// A tunnel did not come about: everybody who waits is told why.
    pub(super) fn connect_failed(&mut self, cx: &mut Cx<'_>, peer: &Peer, error: ConnectError) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        self.deadlines.cancel(&Due::Superseded(peer.clone()));
        let building = entry.building.take();
        let waiters = std::mem::take(&mut entry.waiters);
        let stands = entry.built.is_some();
        if !stands {
            self.peers.remove(peer);
        }
        cx.count("node.tunnel_failed");
        if let Some(mut building) = building {
            let attempts = std::mem::take(&mut building.attempts);
            cx.event(NodeEvent::TunnelFailed { peer: peer.clone(), error: error.clone(), attempts });
            self.end_building_span(cx, peer, building.span, building.reason, Err(&error));
            if let Some(asked) = building.asked {
                self.endpoint.complete(cx, asked);
            }
            if let Some(negotiation) = building.negotiation {
                self.drop_negotiation(negotiation);
            }
            if stands && building.reason == DirectionReason::Handover && building.is_ours() {
                // The old path is of no use where we are now.
                self.close_tunnel(cx, peer, "handover failed");
            }
        }
        for waiter in waiters {
            cx.event(NodeEvent::ConnectFailed { waiter, error: error.clone() });
        }
    }

    pub(super) fn end_building_span(
        &self,
        cx: &mut Cx<'_>,
        peer: &Peer,
        span: Option<BuildingSpan>,
        reason: DirectionReason,
        outcome: Result<&Connection, &ConnectError>,
    ) {
        let Some(BuildingSpan { context, parent, name, started }) = span else { return };
        let reason = match reason {
            DirectionReason::Handover => "handover",
            DirectionReason::DirectFailed => "direct-failed",
            DirectionReason::NewTunnel | DirectionReason::Unknown(_) => "new-tunnel",
        };
        let mut span = Span::new(context, parent, name, SpanKind::Internal, (started, cx.now))
            .with("ntm.node", self.name().to_string())
            .with("ntm.peer", peer.name.to_string())
            .with("ntm.reason", reason);
        match outcome {
            Ok(connection) => {
                let route = connection.relay.as_ref().map_or("direct".to_owned(), |relay| format!("through {relay}"));
                span = span.with("ntm.route", route);
            }
            Err(error) => span.failure = Some(error.to_string().into()),
        }
        cx.push(Effect::Span(Box::new(span)));
    }

    /// Ends a tunnel here.
    pub(super) fn close_tunnel(&mut self, cx: &mut Cx<'_>, peer: &Peer, reason: &'static str) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let Some(built) = entry.built.take() else { return };
        if entry.building.is_none() && entry.waiters.is_empty() {
            self.peers.remove(peer);
        }
        self.release(&built);
        for due in [Due::Idle, Due::NatKeepalive, Due::Rekey, Due::Liveness] {
            self.deadlines.cancel(&due(peer.clone()));
        }
        cx.count("node.tunnel_closed");
        cx.event(NodeEvent::TunnelClosed { peer: peer.clone(), reason });
    }

    /// Forgets a tunnel's keys and table entry.
    pub(super) fn release(&mut self, built: &Built) {
        self.tunnels.remove(&built.tunnel);
        for key in built.k_tun.into_iter().chain([built.k_mncn]) {
            self.endpoint.remove(key);
        }
    }

    /// *Source Unknown*: a tunnel whose packets with this SPI the RS does not take from where they come, or which the peer
    /// does not have. Nothing of it is authentic.
    pub(super) fn source_unknown(&mut self, cx: &mut Cx<'_>, from: SocketAddr, spi: Spi) {
        let found = self.peers.iter().find_map(|(peer, entry)| {
            let built = entry.built.as_ref()?;
            let fits = built.spi_out.identifier() == spi.identifier() && built.tunnel.next_hop() == from;
            fits.then(|| (peer.clone(), built))
        });
        let Some((peer, built)) = found else { return cx.count("node.source_unknown_ignored") };
        let leg = built.k_tun.filter(|_| built.connection.relay.is_some());
        let (negotiation, spi_in, trace) = (built.negotiation, built.tunnel.settings().spi_in, built.trace);
        let Some(key) = leg else { return self.doubt_peer(cx, &peer) };
        let message = ntmobile_wire::message::HolePunching { negotiation, spi_in };
        self.prove_leg(cx, &peer, Request::to(key, Path::Datagram(from), message, trace));
    }

    /// Proves a leg to the RS. One proof under way is enough: Source Unknown, which may ask for it, is not authenticated.
    pub(super) fn prove_leg(&mut self, cx: &mut Cx<'_>, peer: &Peer, request: Request) {
        if self.endpoint.outstanding().any(|(_, tag)| *tag == Tag::ProveLeg(peer.clone())) {
            return cx.count("node.leg_being_proved");
        }
        cx.count("node.leg_proved_again");
        self.endpoint.request(cx, Request { retry: LEG_RETRY, ..request }, Tag::ProveLeg(peer.clone()));
    }

    /// The RS does not answer: it is gone, or has forgotten the tunnel. A new one is asked for; should there be none, the old
    /// one stays, for the RS may come back.
    pub(super) fn relay_lost(&mut self, cx: &mut Cx<'_>, peer: &Peer) {
        let is_standing = |entry: &PeerEntry| entry.built.is_some() && entry.building.is_none();
        if self.registered.is_some() && self.peers.get(peer).is_some_and(is_standing) {
            cx.count("node.relay_lost");
            self.ask_direction(cx, peer, DirectionReason::NewTunnel);
        }
    }
}
