//! Bringing a Route Direction to a node of ours, by the way that the node is reached, and its answer back to whoever
//! directs the tunnel.

use super::registration::{addresses_of, not_registered};
use super::servers::{ServerKind, Then};
use super::shares::Shares;
use super::{Cx, DirectionCoordinator, Due, Tag, refusal};
use crate::endpoint::{Path, Peer, Request, Retry, Ticket};
use ntmobile_wire::identifier::{KeyId, Negotiation, Transaction};
use ntmobile_wire::message::{
    Notification, NtmAck, Reachability, Refusal, RefusalCode, RouteDirection, RouteDirectionAcknowledge,
    RouteDirectionResponse, TunnelEnd,
};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::trace_context::TraceContext;
use std::time::Duration;

/// A Route Direction pushed to a node: gives up after 13.5 s, while the application at the other end still waits.
const PUSH_RETRY: Retry = Retry { first: Duration::from_millis(500), longest: Duration::from_secs(1), attempts: 14 };

/// Who wants to know how a delivery ended.
#[derive(Debug)]
pub(super) enum Origin {
    /// The DC of MN, which directs.
    Coordinator(Ticket),
    /// We direct ourselves: this direction.
    Direction(u64),
}

/// A Route Direction on its way to a node.
#[derive(Debug)]
pub(super) struct Delivery {
    to: Peer,
    direction: RouteDirection,
    origin: Origin,
    trace: Option<TraceContext>,
    /// The request that brings it, where it is pushed.
    pushed: Option<Transaction>,
    /// Whether the key with the Notification Server was made anew already.
    renewed: bool,
    /// Whether the node has fetched it, where it is not pushed.
    fetched: bool,
}

impl DirectionCoordinator {
    /// Another DC directs one of our nodes.
    pub(super) fn direction_for_node(&mut self, cx: &mut Cx<'_>, ticket: Ticket, direction: RouteDirection) {
        // A DC speaks for its own nodes only, and directs those of others as the called end.
        if !ticket.sender().name.directs(&direction.peer) || direction.end != TunnelEnd::Cn {
            return self.refuse(cx, &ticket, RefusalCode::NotAllowed, "the direction is not the sender's to give");
        }
        let trace = ticket.trace;
        self.deliver(cx, direction, Origin::Coordinator(ticket), trace);
    }

    /// Brings a direction to its node.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Cx<'_>,
        direction: RouteDirection,
        origin: Origin,
        trace: Option<TraceContext>,
    ) {
        let to = Peer { name: direction.node.clone(), application: direction.application };
        let id = self.draw_id();
        let delivery =
            Delivery { to: to.clone(), direction, origin, trace, pushed: None, renewed: false, fetched: false };
        let Some(record) = self.nodes.get_mut(&to) else {
            return self.settle(cx, delivery, Err(not_registered(&to)));
        };
        let key = record.key;
        let Some(registration) = record.registered(cx.now) else {
            return self.settle(cx, delivery, Err(not_registered(&to)));
        };
        let is_pushed = registration.reachability == Reachability::UdpKeepalive;
        if !(is_pushed || self.has_room_at_node(cx, &delivery)) || !self.has_room_in_all(cx, &delivery) {
            return self.settle(cx, delivery, Err(overloaded()));
        }
        let whose = self.whose(&delivery);
        self.delivery_shares.add(&whose, id);
        let Some(record) = self.nodes.get_mut(&to) else { return };
        let Some(registration) = record.registered(cx.now) else { return };
        if is_pushed {
            let paths = registration.legs.iter().map(|leg| Path::Datagram(leg.outer)).collect();
            let message = delivery.direction.clone().into();
            let retry = PUSH_RETRY;
            self.deliveries.insert(id, delivery);
            let request = Request { key, answer_keys: Vec::new(), paths, message, retry, trace };
            let pushed = self.endpoint.request(cx, request, Tag::Deliver(id));
            if let Some(delivery) = self.deliveries.get_mut(&id) {
                delivery.pushed = Some(pushed);
            }
            return;
        }
        record.waiting.push_back(id);
        self.deliveries.insert(id, delivery);
        self.deadlines.set(Due::Wake(id), cx.now + self.config.wake_patience);
        self.wake_through_server(cx, id);
    }

    /// Whose share of the table a delivery takes: that of the DC which directs.
    fn whose(&self, delivery: &Delivery) -> Fqdn {
        match &delivery.origin {
            Origin::Coordinator(ticket) => ticket.sender().name.clone(),
            Origin::Direction(_) => self.config.name.clone(),
        }
    }

    /// Whether there is room among all deliveries, once the DC with the most of them has made some.
    fn has_room_in_all(&mut self, cx: &mut Cx<'_>, delivery: &Delivery) -> bool {
        if self.deliveries.len() < self.config.deliveries {
            return true;
        }
        let leaving = self.delivery_shares.to_make_room_for(&self.whose(delivery));
        self.make_room(cx, leaving)
    }

    /// The same among those that wait for the node to wake.
    fn has_room_at_node(&mut self, cx: &mut Cx<'_>, delivery: &Delivery) -> bool {
        let Some(record) = self.nodes.get(&delivery.to) else { return false };
        if record.waiting.len() < self.config.waiting {
            return true;
        }
        let mut shares = Shares::default();
        for (id, waiting) in record.waiting.iter().filter_map(|id| Some((*id, self.deliveries.get(id)?))) {
            shares.add(&self.whose(waiting), id);
        }
        let leaving = shares.to_make_room_for(&self.whose(delivery));
        self.make_room(cx, leaving)
    }

    fn make_room(&mut self, cx: &mut Cx<'_>, leaving: Option<u64>) -> bool {
        if let Some(id) = leaving {
            cx.count("dc.delivery_gave_way");
            if let Some(pushed) = self.deliveries.get(&id).and_then(|delivery| delivery.pushed) {
                self.endpoint.complete(cx, pushed);
            }
            self.delivered(cx, id, Err(overloaded()));
        }
        leaving.is_some()
    }

    /// A node has registered: what is being pushed to it goes to where it is now.
    pub(super) fn follow(&mut self, cx: &mut Cx<'_>, node: &Peer) {
        let Some(registration) = self.nodes.get(node).and_then(|record| record.registered(cx.now)) else { return };
        let paths: Vec<_> = registration.legs.iter().map(|leg| Path::Datagram(leg.outer)).collect();
        let pushed = self.deliveries.values().filter(|delivery| delivery.to == *node);
        for transaction in pushed.filter_map(|delivery| delivery.pushed).collect::<Vec<_>>() {
            self.endpoint.redirect(cx, transaction, paths.clone());
        }
    }

    fn wake_through_server(&mut self, cx: &mut Cx<'_>, id: u64) {
        let Some(delivery) = self.deliveries.get(&id) else { return };
        let trace = delivery.trace;
        let assigned = self.nodes.get(&delivery.to).and_then(|record| record.notification.as_ref());
        let server = assigned.and_then(|(assignment, _)| {
            self.config.notification_servers.iter().find(|server| server.name == assignment.server)
        });
        match server.map(addresses_of) {
            Some(server) => self.with_server_key(cx, ServerKind::Notification, &server, trace, Then::Wake(id)),
            None => {
                self.delivered(cx, id, Err(refusal(RefusalCode::PeerAsleep, "it has no Notification Server", None)))
            }
        }
    }

    /// *Notification* to the Notification Server, once there is a key.
    pub(super) fn wake(&mut self, cx: &mut Cx<'_>, id: u64, key: Result<KeyId, Refusal>) {
        let Some(delivery) = self.deliveries.get(&id) else { return };
        let key = match key {
            Ok(key) => key,
            Err(refused) => return self.delivered(cx, id, Err(refused)),
        };
        let assigned = self.nodes.get(&delivery.to).and_then(|record| record.notification.as_ref());
        let server = assigned.and_then(|(assignment, _)| {
            self.config.notification_servers.iter().find(|server| server.name == assignment.server)
        });
        let Some(addresses) = server.map(|server| server.signalling) else { return };
        let message = Notification { node: delivery.to.name.clone(), application: delivery.to.application };
        let how = (Retry::between_servers(), delivery.trace);
        self.request_server(cx, (key, addresses), message, how, Tag::Wake(id));
    }

    /// The Notification Server has woken the node, or could not. A woken node pulls; [`Due::Wake`] watches over that.
    pub(super) fn woken(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<(), Refusal>) {
        let Err(refused) = result else { return };
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        // A node that fetches is awake, whatever became of the Notification's answer.
        if delivery.fetched {
            return;
        }
        if refused.code == RefusalCode::ServerUnreachable && !delivery.renewed {
            delivery.renewed = true;
            let assigned = self.nodes.get(&delivery.to).and_then(|record| record.notification.as_ref());
            if let Some(server) = assigned.map(|(assignment, _)| assignment.server.clone()) {
                self.forget_server_key(cx, ServerKind::Notification, &server);
                return self.wake_through_server(cx, id);
            }
        }
        self.delivered(cx, id, Err(refused));
    }

    /// A woken node has not fetched what waits for it, or not answered what it has fetched.
    pub(super) fn not_fetched(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.delivered(cx, id, Err(refusal(RefusalCode::PeerAsleep, "it was woken but did not answer", None)));
    }

    /// A woken node asks what there is for it.
    pub(super) fn pulled(&mut self, cx: &mut Cx<'_>, ticket: &Ticket) {
        self.refresh_leg(ticket);
        let Some(record) = self.nodes.sender_mut(ticket) else { return };
        let mut next = None;
        while let Some(id) = record.waiting.pop_front() {
            if let Some(delivery) = self.deliveries.get_mut(&id) {
                delivery.fetched = true;
                next = Some((delivery.direction.clone(), delivery.trace));
                // From here on it is as if it had been pushed.
                self.deadlines.set(Due::Wake(id), cx.now + PUSH_RETRY.patience());
                break;
            }
        }
        let waiting = u8::try_from(record.waiting.len()).unwrap_or(u8::MAX);
        // What waited belongs to the conversation that it waited for, which need not be the one that woke the node.
        let trace = next.as_ref().map_or(ticket.trace, |(_, trace)| *trace);
        let response = RouteDirectionResponse { direction: next.map(|(direction, _)| Box::new(direction)), waiting };
        self.endpoint.answer_within(cx, ticket, trace, response);
    }

    /// A node that pulled a direction has accepted or refused it.
    pub(super) fn pulled_direction_settled(
        &mut self,
        cx: &mut Cx<'_>,
        ticket: &Ticket,
        negotiation: Negotiation,
        result: Result<RouteDirectionAcknowledge, Refusal>,
    ) {
        let found = self
            .deliveries
            .iter()
            .find(|(_, delivery)| delivery.direction.negotiation == negotiation && delivery.to == *ticket.sender());
        let found = found.map(|(id, _)| *id);
        self.endpoint.answer(cx, ticket, NtmAck::default());
        match found {
            Some(id) => self.delivered(cx, id, result),
            None => cx.count("dc.late_acknowledge"),
        }
    }

    /// The node has answered, or will not.
    pub(super) fn delivered(&mut self, cx: &mut Cx<'_>, id: u64, result: Result<RouteDirectionAcknowledge, Refusal>) {
        self.deadlines.cancel(&Due::Wake(id));
        if let Some(delivery) = self.deliveries.remove(&id) {
            let whose = self.whose(&delivery);
            self.delivery_shares.remove(&whose, id);
            if let Some(record) = self.nodes.get_mut(&delivery.to) {
                record.waiting.retain(|waiting| *waiting != id);
            }
            self.settle(cx, delivery, result);
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>, delivery: Delivery, result: Result<RouteDirectionAcknowledge, Refusal>) {
        match (delivery.origin, result) {
            (Origin::Coordinator(ticket), Ok(acknowledge)) => self.endpoint.answer(cx, &ticket, acknowledge),
            (Origin::Coordinator(ticket), Err(refused)) => self.endpoint.answer(cx, &ticket, refused),
            (Origin::Direction(id), result) => self.cn_directed(cx, id, result),
        }
    }
}

fn overloaded() -> Refusal {
    refusal(RefusalCode::Overloaded, "too many tunnels at once; try again", None)
}
