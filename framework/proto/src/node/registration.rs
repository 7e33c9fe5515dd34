//! Where the node is: registration at the start and after every move, and keepalives in between.

use super::{Cx, Due, JoinError, Node, NodeEvent, Tag};
use crate::endpoint::{Path, Request, Retry};
use crate::machine::Effect;
use crate::policy::{Maintenance, Observation};
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::message::{Keepalive, Message, Refusal, RefusalCode, RegistrationRequest, RegistrationResponse};
use ntmobile_wire::trace_context::TraceContext;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The longest list of own addresses that a registration carries.
const REAL_ADDRESSES: usize = 8;

/// A registration that holds.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    /// The DC's address that it goes to.
    pub(super) coordinator: SocketAddr,
    /// Where the DC sees us.
    pub(super) outer: SocketAddr,
    /// Our own address on the way there.
    pub(super) real: SocketAddr,
    /// Our permanent addresses.
    pub(super) addresses: VirtualAddresses,
    /// What keeps us reachable.
    pub(super) maintenance: Maintenance,
}

impl Registered {
    /// Whether a NAT is between us and the DC, whose mappings must be kept alive.
    pub(super) fn is_translated(&self) -> bool {
        self.outer != self.real
    }
}

/// A registration under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registering {
    trace: TraceContext,
    started: Instant,
}

impl Registering {
    /// The registration's span.
    pub(super) fn trace(&self) -> TraceContext {
        self.trace
    }
}

/// A retransmission of keepalives that gives up before the next one is due: after 7 s.
const KEEPALIVE_RETRY: Retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(4), attempts: 3 };

/// After so many keepalives in a row that were not answered, the node registers again.
const LAPSED: u32 = 3;

impl Node {
    /// The way to the DC: its address of the family of our preferred address, or of another that we have.
    fn way_to_coordinator(&self) -> Option<(SocketAddr, SocketAddr)> {
        let coordinator = self.login.coordinator.as_ref()?;
        self.addresses.iter().find_map(|address| {
            let real = SocketAddr::new(*address, self.port);
            coordinator.signalling.matching(real).map(|to| (real, to))
        })
    }

    /// *Registration Request* from where the node is now.
    pub(super) fn register(&mut self, cx: &mut Cx<'_>) {
        self.deadlines.cancel(&Due::Register);
        if !self.is_wanted {
            return;
        }
        let Some(key) = self.login.key() else { return self.log_in(cx) };
        let Some((real, coordinator)) = self.way_to_coordinator() else {
            return self.join_failed(cx, JoinError::NoAddress);
        };
        self.epoch += 1;
        let mut reals = vec![real];
        reals.extend(self.addresses.iter().map(|address| SocketAddr::new(*address, self.port)).filter(|r| *r != real));
        reals.truncate(REAL_ADDRESSES);
        let message = RegistrationRequest {
            application: self.config.application,
            real: reals,
            reachability: self.config.strategies.reachability.wanted(),
            device_token: Vec::new(),
            epoch: self.epoch,
        };
        // On the move again, or the one under way has become hopeless.
        self.give_up_registering(cx, "begun again");
        let trace = TraceContext::root(cx.entropy);
        self.registering = Some(Registering { trace, started: cx.now });
        self.way = Some((real, coordinator));
        let request = Request::to(key, Path::Datagram(coordinator), message, Some(trace));
        self.endpoint.request(cx, request, Tag::Registration(self.epoch));
    }

    /// *Registration Response*, or a refusal.
    pub(super) fn registration_answered(&mut self, cx: &mut Cx<'_>, epoch: u32, result: Result<Message, Refusal>) {
        if epoch != self.epoch {
            return;
        }
        match result {
            Ok(Message::RegistrationResponse(response)) => self.granted_registration(cx, response),
            Ok(_) => {
                self.registration_failed(cx, JoinError::CoordinatorUnreachable("its answer makes no sense".into()))
            }
            Err(refusal) if refusal.code == RefusalCode::ServerUnreachable => {
                self.registration_failed(cx, JoinError::NotificationServerUnreachable(refusal.detail));
            }
            Err(refusal) if refusal.code == RefusalCode::StorageFailed => {
                self.registration_failed(cx, JoinError::StorageFailed(refusal.detail));
            }
            Err(refusal) => self.registration_failed(cx, JoinError::Refused(refusal)),
        }
    }

    fn granted_registration(&mut self, cx: &mut Cx<'_>, response: RegistrationResponse) {
        let Some((real, coordinator)) = self.way else { return };
        let maintenance = self.config.strategies.reachability.maintain(&response);
        self.keepalives_lost = 0;
        self.registered = Some(Registered {
            coordinator,
            outer: response.outer,
            real,
            addresses: response.addresses,
            maintenance: maintenance.clone(),
        });
        match (maintenance, response.notification) {
            (Maintenance::NotificationServer { .. }, Some(assignment)) => self.hold_notification(cx, assignment),
            (Maintenance::KeepaliveEvery(interval), _) => {
                self.deadlines.set(Due::Keepalive, cx.now + interval);
                self.send_keepalive_on_other_families(cx);
                self.registration_complete(cx);
            }
            _ => self.registration_complete(cx),
        }
    }

    /// The node can be reached: waiting applications go on.
    pub(super) fn registration_complete(&mut self, cx: &mut Cx<'_>) {
        let Some(registered) = self.registered.clone() else { return };
        cx.count("node.registered");
        if let Some(Registering { trace, started }) = self.registering.take() {
            let span = Span::new(trace, None, "Registration", SpanKind::Internal, (started, cx.now))
                .with("ntm.node", self.name().to_string())
                .with("ntm.reachability", self.config.strategies.reachability.name())
                .with("ntm.outer", registered.outer.to_string())
                .with("ntm.moved", self.moved_at.is_some());
            cx.push(Effect::Span(Box::new(span)));
        }
        if self.joining.take().is_some() {
            cx.event(NodeEvent::Joined { node: self.name(), addresses: registered.addresses });
        } else {
            cx.event(NodeEvent::Registered { outer: registered.outer });
        }
        let held = self.addresses_held.replace(registered.addresses);
        if let Some(before) = held.filter(|held| *held != registered.addresses) {
            cx.count("node.addresses_changed");
            cx.event(NodeEvent::AddressesChanged { before, now: registered.addresses });
        }
        if self.moved_at.is_some() {
            self.hand_over(cx);
        }
        self.ask_for_waiting(cx);
    }

    pub(super) fn registration_timed_out(&mut self, cx: &mut Cx<'_>, epoch: u32) {
        if epoch != self.epoch {
            return;
        }
        if self.login.is_believed() {
            self.login.doubt();
            self.registration_failed(cx, JoinError::CoordinatorUnreachable("Registration Request timed out".into()));
        } else {
            // The DC may have forgotten the key since, and then says nothing.
            self.forget_key(cx);
            self.log_in(cx);
        }
    }

    pub(super) fn registration_failed(&mut self, cx: &mut Cx<'_>, error: JoinError) {
        self.give_up_registering(cx, &error.to_string());
        self.join_failed(cx, error);
    }

    /// Ends the span of the registration under way, if there is one, without success.
    pub(super) fn give_up_registering(&mut self, cx: &mut Cx<'_>, why: &str) {
        if let Some(Registering { trace, started }) = self.registering.take() {
            let mut span = Span::new(trace, None, "Registration", SpanKind::Internal, (started, cx.now))
                .with("ntm.node", self.name().to_string());
            span.failure = Some(why.to_owned().into());
            cx.push(Effect::Span(Box::new(span)));
        }
    }

    /// The host's addresses have changed.
    pub(super) fn addresses_changed(&mut self, cx: &mut Cx<'_>, addresses: Vec<IpAddr>) {
        self.addresses = addresses;
        // Without any address there is nothing to register; the next change brings one.
        if !self.addresses.is_empty() {
            self.observe(cx, Observation::AddressesChanged);
        }
    }

    fn observe(&mut self, cx: &mut Cx<'_>, observation: Observation) {
        let is_known = self.is_wanted && (self.registered.is_some() || self.epoch > 0);
        if is_known && self.config.strategies.movement.has_moved(observation) {
            self.moved(cx);
        }
    }

    /// The node has moved: it registers first, so that it stays reachable; then its tunnels are handed over.
    fn moved(&mut self, cx: &mut Cx<'_>) {
        cx.count("node.moved");
        self.moved_at.get_or_insert(cx.now);
        self.registered = None;
        self.deadlines.cancel(&Due::Keepalive);
        self.disconnect_notification(cx);
        self.register(cx);
    }

    /// *Keepalive* on every family, as often as the reachability strategy says.
    pub(super) fn send_keepalives(&mut self, cx: &mut Cx<'_>) {
        let Some(registered) = self.registered.clone() else { return };
        let Maintenance::KeepaliveEvery(interval) = registered.maintenance else { return };
        self.deadlines.set(Due::Keepalive, cx.now + interval);
        self.send_keepalive(cx, registered.real, registered.coordinator, true);
        self.send_keepalive_on_other_families(cx);
    }

    /// *Keepalive* to the DC where a Notification Server keeps the node reachable: the registration there ends without.
    pub(super) fn refresh_registration(&mut self, cx: &mut Cx<'_>) {
        if let Some(registered) = &self.registered {
            let (real, coordinator) = (registered.real, registered.coordinator);
            self.send_keepalive(cx, real, coordinator, true);
        }
    }

    /// A dual-stack node shows its DC the other family's leg too.
    fn send_keepalive_on_other_families(&mut self, cx: &mut Cx<'_>) {
        let (Some(registered), Some(server)) = (self.registered.clone(), self.login.coordinator.clone()) else {
            return;
        };
        let other = self.addresses.iter().find(|address| address.is_ipv4() != registered.real.is_ipv4());
        if let Some(real) = other.map(|address| SocketAddr::new(*address, self.port))
            && let Some(coordinator) = server.signalling.matching(real)
        {
            self.send_keepalive(cx, real, coordinator, false);
        }
    }

    fn send_keepalive(&mut self, cx: &mut Cx<'_>, real: SocketAddr, coordinator: SocketAddr, is_primary: bool) {
        let Some(key) = self.login.key() else { return };
        let message = Keepalive { application: self.config.application, real, epoch: self.epoch };
        let mut request = Request::to(key, Path::Datagram(coordinator), message, None);
        request.retry = KEEPALIVE_RETRY;
        self.endpoint.request(cx, request, Tag::Keepalive { epoch: self.epoch, is_primary });
    }

    /// The DC has answered a keepalive.
    pub(super) fn keepalive_answered(
        &mut self,
        cx: &mut Cx<'_>,
        epoch: u32,
        is_primary: bool,
        result: Result<Message, Refusal>,
    ) {
        if epoch != self.epoch {
            return;
        }
        self.keepalives_lost = 0;
        let observed = match result {
            Ok(Message::NtmAck(ack)) => ack.observed,
            Err(refusal) if refusal.code == RefusalCode::NotRegistered => return self.register(cx),
            _ => None,
        };
        let (Some(observed), Some(registered)) = (observed.filter(|_| is_primary), self.registered.as_mut()) else {
            return;
        };
        // Where a Notification Server keeps the node reachable, mappings towards the DC come and go.
        if !matches!(registered.maintenance, Maintenance::KeepaliveEvery(_)) {
            return;
        }
        if registered.outer != observed {
            registered.outer = observed;
            cx.count("node.outer_address_changed");
            self.observe(cx, Observation::OuterAddressChanged);
        }
    }

    /// A keepalive was not answered.
    pub(super) fn keepalive_lost(&mut self, cx: &mut Cx<'_>, epoch: u32, is_primary: bool) {
        if epoch == self.epoch && is_primary {
            self.keepalives_lost += 1;
            cx.count("node.keepalive_lost");
            self.observe(cx, Observation::KeepalivesLost(self.keepalives_lost));
            // Whether moved or not: by now the DC holds the registration for lapsed, if it knows of it at all.
            let is_standing = self.registered.is_some() && self.registering.is_none();
            // Where a Notification Server keeps the node reachable, the next one would be an hour away.
            let is_rare = !matches!(
                self.registered.as_ref().map(|registered| &registered.maintenance),
                Some(Maintenance::KeepaliveEvery(_))
            );
            if is_standing && (is_rare || self.keepalives_lost.is_multiple_of(LAPSED)) {
                cx.count("node.registration_lapsed");
                self.login.doubt();
                self.register(cx);
            }
        }
    }
}
