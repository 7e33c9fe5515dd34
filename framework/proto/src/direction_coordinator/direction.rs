//! One tunnel as the DC of MN directs it: find CN's DC, ask what CN is, decide the path, direct the RS, CN and MN.

use super::config::seconds;
use super::delivery::Origin;
use super::registration::{addresses_of, not_registered};
use super::relays::{PlannedRelay, RelaySearch};
use super::servers::{ServerKind, Then};
use super::{Cx, DirectionCoordinator, DirectionCoordinatorEvent, Tag, Wait, refusal};
use crate::endpoint::{Peer, Request, Retry, Ticket};
use crate::machine::{Effect, Lookup, LookupFailure, ServerAddresses};
use crate::policy::{OuterKey, PathChoice, PathQuestion};
use crate::trace::{Span, SpanKind};
use ntmobile_wire::identifier::{KeyId, Negotiation, Spi};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{
    DirectionRequest, Message, NodeInformation, NodeInformationRequest, NodeInformationResponse, PublicKeyOffer,
    Refusal, RefusalCode, RelayHandshake, Route, RouteDirection, RouteDirectionAcknowledge, TunnelAction, TunnelEnd,
};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::trace_context::TraceContext;

/// How often SPIs are drawn again because one was in use.
const DRAWS: u32 = 4;

/// A tunnel that is being directed.
#[derive(Debug)]
pub(super) struct Direction {
    ticket: Ticket,
    request: DirectionRequest,
    pub(super) mn: NodeInformation,
    /// CN's DC; `None` where that is ourselves.
    pub(super) coordinator: Option<ServerAddresses>,
    pub(super) cn: Option<NodeInformation>,
    /// Whether the key with CN's DC was made anew already.
    renewed: bool,
    /// Which of our RSs have been tried.
    pub(super) relays: RelaySearch,
    /// Whether CN's DC may still be asked to lend one.
    pub(super) may_borrow: bool,
    draws: u32,
    pub(super) plan: Option<Plan>,
}

/// What has been decided and drawn for one attempt.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) negotiation: Negotiation,
    choice: PathChoice,
    /// The RS that it goes through.
    pub(super) relay: Option<PlannedRelay>,
    pub(super) k_tun: Option<NamedKey>,
    k_tmp: NamedKey,
    pub(super) spi_mn: Spi,
    pub(super) spi_cn: Spi,
    pub(super) handshake: RelayHandshake,
    cn_public_key: Option<PublicKeyOffer>,
}

impl Direction {
    pub(super) fn trace(&self) -> Option<TraceContext> {
        self.ticket.trace
    }

    /// The RS of the present attempt, once it is known.
    pub(super) fn relay(&self) -> Option<Fqdn> {
        self.plan.as_ref()?.relay.as_ref()?.name().cloned()
    }
}

impl DirectionCoordinator {
    /// *Direction Request*.
    pub(super) fn direction_requested(&mut self, cx: &mut Cx<'_>, ticket: Ticket, request: DirectionRequest) {
        self.refresh_leg(&ticket);
        let strategies = &self.config.strategies;
        if strategies.protection_of(request.protection).is_none()
            || strategies.agreement_of(request.agreement).is_none()
        {
            return self.refuse(
                cx,
                &ticket,
                RefusalCode::Unsupported,
                "this protection or agreement is not known here",
            );
        }
        if request.peer == ticket.sender().name {
            return self.refuse(cx, &ticket, RefusalCode::NotAllowed, "a node needs no tunnel to itself");
        }
        let Some(mn) = self.nodes.information(ticket.sender(), cx.now) else {
            return self.refuse(cx, &ticket, RefusalCode::NotRegistered, "register first");
        };
        if self.directions.len() >= self.config.directions {
            let detail = "too many tunnels at once; try again";
            let Some(leaving) = self.direction_shares.to_make_room_for(&ticket.sender().name) else {
                return self.refuse(cx, &ticket, RefusalCode::Overloaded, detail);
            };
            cx.count("dc.direction_gave_way");
            self.fail(cx, leaving, refusal(RefusalCode::Overloaded, detail, None));
        }
        let id = self.draw_id();
        self.direction_shares.add(&ticket.sender().name, id);
        let (peer, wanted, trace) = (request.peer.clone(), request.peer_application, ticket.trace);
        let direction = Direction {
            ticket,
            request,
            mn,
            coordinator: None,
            cn: None,
            renewed: false,
            relays: RelaySearch::default(),
            may_borrow: false,
            draws: 0,
            plan: None,
        };
        self.directions.insert(id, direction);
        if self.config.name.directs(&peer) {
            let cn = self.local_information(&peer, wanted, cx);
            self.learn_cn(cx, id, cn);
        } else {
            let call = self.calls.open(Wait::PeerCoordinator(id));
            cx.push(Effect::Resolve { call, lookup: Lookup::DirectionCoordinator(peer), trace });
        }
    }

    fn local_information(
        &self,
        node: &Fqdn,
        wanted: ntmobile_wire::identifier::ApplicationId,
        cx: &Cx<'_>,
    ) -> Result<NodeInformation, Refusal> {
        let Some((peer, _)) = self.nodes.find(node, wanted, cx.now) else {
            let detail = format!("{node} is no node of {}", self.config.domain);
            return Err(refusal(RefusalCode::NoSuchName, detail, None));
        };
        self.nodes.information(peer, cx.now).ok_or_else(|| not_registered(peer))
    }

    /// *Node Information Request* from the DC of MN.
    pub(super) fn information_requested(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, request: &NodeInformationRequest) {
        match self.local_information(&request.peer, request.peer_application, cx) {
            Ok(node) => self.endpoint.answer(cx, ticket, NodeInformationResponse { node }),
            Err(refused) => self.endpoint.answer(cx, ticket, refused),
        }
    }

    /// CN's DC was looked up.
    pub(super) fn peer_coordinator_found(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        result: Result<ServerAddresses, LookupFailure>,
    ) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let peer = &direction.request.peer;
        match result {
            // DNS, which named it, is not authenticated; its certificate is, and bears that name.
            Ok(server) if server.name == self.config.name || !server.name.directs(peer) => {
                let detail = format!("{peer} is not a name of this network");
                self.fail(cx, id, refusal(RefusalCode::NoSuchName, detail, None));
            }
            Ok(server) => {
                direction.coordinator = Some(server.clone());
                direction.may_borrow = true;
                let trace = direction.trace();
                self.with_server_key(cx, ServerKind::Coordinator, &server, trace, Then::Inform(id));
            }
            Err(failure) => {
                let code = match failure {
                    LookupFailure::NoSuchName => RefusalCode::NoSuchName,
                    LookupFailure::TimedOut | LookupFailure::Broken => RefusalCode::ServerUnreachable,
                };
                let detail = format!("{peer}: {failure}");
                self.fail(cx, id, refusal(code, detail, None));
            }
        }
    }

    /// *Node Information Request* to CN's DC, once there is a key.
    pub(super) fn inform(&mut self, cx: &mut Cx<'_>, id: u64, key: Result<KeyId, Refusal>) {
        let Some(direction) = self.directions.get(&id) else { return };
        let (key, server) = match (key, &direction.coordinator) {
            (Ok(key), Some(server)) => (key, server),
            (Err(refused), _) => return self.fail(cx, id, refused),
            (_, None) => return,
        };
        let message = NodeInformationRequest {
            peer: direction.request.peer.clone(),
            peer_application: direction.request.peer_application,
            requester: direction.mn.node.clone(),
        };
        let (addresses, how) = (server.signalling, (Retry::between_servers(), direction.trace()));
        self.request_server(cx, (key, addresses), message, how, Tag::NodeInformation(id));
    }

    /// CN's DC does not answer under the key that we have: it may have lost it.
    pub(super) fn peer_coordinator_silent(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let Some(server) = direction.coordinator.clone() else { return };
        if direction.renewed {
            let detail = format!("{} does not answer", server.name);
            return self.fail(cx, id, refusal(RefusalCode::ServerUnreachable, detail, None));
        }
        direction.renewed = true;
        let trace = direction.trace();
        self.forget_server_key(cx, ServerKind::Coordinator, &server.name);
        self.with_server_key(cx, ServerKind::Coordinator, &server, trace, Then::Inform(id));
    }

    /// CN's DC has told what CN is.
    pub(super) fn informed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<Message, Refusal>) {
        let cn = match result {
            Ok(Message::NodeInformationResponse(response)) => {
                let asked = self.directions.get(&id).map(|direction| &direction.request.peer);
                if asked == Some(&response.node.node) {
                    Ok(response.node)
                } else {
                    Err(refusal(RefusalCode::ServerUnreachable, "the peer's DC told of another node", None))
                }
            }
            Ok(message) => {
                let detail = format!("the peer's DC answered with {}", message.label());
                Err(refusal(RefusalCode::ServerUnreachable, detail, None))
            }
            Err(refused) => Err(refused),
        };
        self.learn_cn(cx, id, cn);
    }

    fn learn_cn(&mut self, cx: &mut Cx<'_>, id: u64, cn: Result<NodeInformation, Refusal>) {
        match cn {
            Ok(cn) => {
                if let Some(direction) = self.directions.get_mut(&id) {
                    direction.cn = Some(cn);
                }
                self.decide(cx, id);
            }
            Err(refused) => self.fail(cx, id, refused),
        }
    }

    /// Decides the path and draws keys and SPIs for one attempt.
    pub(super) fn decide(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        let Some(cn) = &direction.cn else { return };
        let question = PathQuestion { mn: &direction.mn, cn, reason: direction.request.reason };
        let choice = self.config.strategies.path.choose(question);
        let is_relayed = matches!(choice, PathChoice::Relayed { .. });
        let own = self.config.relays.as_slice();
        let may_borrow = direction.may_borrow;
        let relay = is_relayed.then(|| direction.relays.plan(own, &self.servers, may_borrow, cx.now)).flatten();
        let because = match &choice {
            PathChoice::Direct { because, .. } | PathChoice::Relayed { because } => *because,
        };
        let protection = self.config.strategies.protection_of(direction.request.protection);
        let needs_k_tun = is_relayed || protection.is_some_and(|variant| variant.outer_when_direct() == OuterKey::KTun);
        let plan = Plan {
            negotiation: Negotiation::draw(cx.entropy),
            choice,
            relay: relay.clone(),
            k_tun: needs_k_tun.then(|| NamedKey::draw(cx.entropy)),
            k_tmp: NamedKey::draw(cx.entropy),
            spi_mn: Spi::draw(cx.entropy),
            spi_cn: Spi::draw(cx.entropy),
            handshake: self.config.strategies.relay_handshake,
            cn_public_key: None,
        };
        direction.plan = Some(plan);
        let trace = direction.trace();
        if let Some(trace) = trace {
            let route = match &relay {
                None => "direct".to_owned(),
                Some(PlannedRelay::Own { server, .. }) => format!("through {}", server.name),
                Some(PlannedRelay::Borrowed(_)) => "through a relay of the peer's domain".to_owned(),
            };
            let context = trace.child(cx.entropy);
            let span = Span::new(context, Some(trace.span), "Path Decision", SpanKind::Internal, (cx.now, cx.now))
                .with("ntm.route", route)
                .with("ntm.because", because);
            cx.push(Effect::Span(Box::new(span)));
        }
        if !is_relayed {
            self.decided(cx, id, None);
            return self.direct_cn(cx, id);
        }
        match relay {
            Some(PlannedRelay::Own { server, .. }) => {
                self.with_server_key(cx, ServerKind::Relay, &addresses_of(&server), trace, Then::DirectRelay(id));
            }
            Some(PlannedRelay::Borrowed(_)) => self.borrow_relay(cx, id),
            None => {
                let detail = "the path needs a relay, and no Relay Server of either domain answers";
                self.fail(cx, id, refusal(RefusalCode::NoRelay, detail, None));
            }
        }
    }

    pub(super) fn decided(&mut self, cx: &mut Cx<'_>, id: u64, relay: Option<Fqdn>) {
        let Some(direction) = self.directions.get(&id) else { return };
        let Some(plan) = &direction.plan else { return };
        let because = match &plan.choice {
            PathChoice::Direct { because, .. } | PathChoice::Relayed { because } => *because,
        };
        let (mn, cn) = (direction.mn.node.clone(), direction.request.peer.clone());
        cx.event(DirectionCoordinatorEvent::Decided { mn, cn, relay, because });
    }

    /// *Route Direction* to CN, through its DC where that is not ourselves.
    pub(super) fn direct_cn(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get(&id) else { return };
        let Some(message) = self.route_direction(direction, TunnelEnd::Cn) else { return };
        let trace = direction.trace();
        match &direction.coordinator {
            None => self.deliver(cx, message, Origin::Direction(id), trace),
            Some(server) => {
                let key = self.servers.key_of(ServerKind::Coordinator, &server.name);
                let Some(key) = key else { return self.peer_coordinator_silent(cx, id) };
                // CN may have to be woken first; both ways of reaching it are given up before this is.
                let (addresses, how) = (server.signalling, (Retry::default(), trace));
                self.request_server(cx, (key, addresses), message, how, Tag::RouteToCn(id));
            }
        }
    }

    /// CN has its direction, or does not take it.
    pub(super) fn cn_directed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<RouteDirectionAcknowledge, Refusal>) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        match result {
            Ok(acknowledge) => {
                let Some(plan) = direction.plan.as_mut() else { return };
                if acknowledge.negotiation != plan.negotiation {
                    let detail = "the peer acknowledged another negotiation";
                    return self.fail(cx, id, refusal(RefusalCode::Unsupported, detail, None));
                }
                plan.cn_public_key = acknowledge.public_key;
                self.direct_mn(cx, id);
            }
            Err(refused) if refused.code == RefusalCode::SpiInUse => self.draw_again(cx, id),
            // The RS is there for us, or for CN's DC, and not for CN.
            Err(refused) if refused.code == RefusalCode::NoRelay && direction.relay().is_some() => {
                self.relay_failed(cx, id);
            }
            Err(refused) => self.fail(cx, id, refused),
        }
    }

    /// *Route Direction* to MN: what its Direction Request waits for.
    fn direct_mn(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get(&id) else { return };
        let Some(message) = self.route_direction(direction, TunnelEnd::Mn) else { return };
        let request = Request::to(direction.ticket.key, direction.ticket.path, message, direction.trace());
        self.endpoint.request(cx, request, Tag::RouteToMn(id));
    }

    /// MN has its direction: the DC's part is done.
    pub(super) fn mn_directed(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(), Refusal>) {
        match result {
            Err(refused) if refused.code == RefusalCode::SpiInUse => self.draw_again(cx, id),
            _ => {
                if let Some(direction) = self.take_direction(id) {
                    cx.count("dc.directed");
                    self.endpoint.finish(cx, &direction.ticket);
                }
            }
        }
    }

    pub(super) fn draw_again(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(direction) = self.directions.get_mut(&id) else { return };
        direction.draws += 1;
        cx.count("dc.spi_drawn_again");
        if direction.draws < DRAWS {
            self.decide(cx, id);
        } else {
            self.fail(cx, id, refusal(RefusalCode::SpiInUse, "every SPI drawn was in use", None));
        }
    }

    fn take_direction(&mut self, id: u64) -> Option<Direction> {
        let direction = self.directions.remove(&id)?;
        self.direction_shares.remove(&direction.ticket.sender().name, id);
        Some(direction)
    }

    fn fail(&mut self, cx: &mut Cx<'_>, id: u64, refused: Refusal) {
        if let Some(direction) = self.take_direction(id) {
            cx.count("dc.direction_failed");
            let (mn, cn) = (direction.mn.node.clone(), direction.request.peer.clone());
            let (code, detail) = (refused.code, refused.detail.clone());
            cx.event(DirectionCoordinatorEvent::DirectionFailed { mn, cn, code, detail });
            self.endpoint.answer(cx, &direction.ticket, refused);
        }
    }

    /// What one end is told.
    fn route_direction(&self, direction: &Direction, end: TunnelEnd) -> Option<RouteDirection> {
        let plan = direction.plan.as_ref()?;
        let cn = direction.cn.as_ref()?;
        let is_mn = end == TunnelEnd::Mn;
        let (own, other) = if is_mn { (&direction.mn, cn) } else { (cn, &direction.mn) };
        let own_peer = Peer { name: own.node.clone(), application: own.application };
        let (action, route) = match &plan.choice {
            PathChoice::Direct { sender, candidates, .. } if *sender == end => {
                (TunnelAction::Send, Route::Direct { candidates: candidates.clone() })
            }
            PathChoice::Direct { .. } => {
                let candidates = other.legs.iter().map(|leg| leg.outer).collect();
                (TunnelAction::Await, Route::Direct { candidates })
            }
            PathChoice::Relayed { .. } => {
                let sends = is_mn || plan.handshake == RelayHandshake::Rendezvous;
                let route = self.route_through(plan.relay.as_ref()?, plan.handshake)?;
                (if sends { TunnelAction::Send } else { TunnelAction::Await }, route)
            }
        };
        let request = &direction.request;
        Some(RouteDirection {
            negotiation: plan.negotiation,
            end,
            action,
            node: own_peer.name,
            application: own_peer.application,
            peer: other.node.clone(),
            peer_application: other.application,
            peer_addresses: other.addresses,
            peer_session: other.session,
            route,
            reason: request.reason,
            protection: request.protection,
            agreement: request.agreement,
            suite: request.suite,
            k_tun: plan.k_tun.clone(),
            k_tmp: plan.k_tmp.clone(),
            peer_public_key: if is_mn { plan.cn_public_key.clone() } else { request.public_key.clone() },
            spi_in: if is_mn { plan.spi_mn } else { plan.spi_cn },
            spi_out: if is_mn { plan.spi_cn } else { plan.spi_mn },
            idle_s: seconds(self.config.tunnel_idle),
        })
    }
}
